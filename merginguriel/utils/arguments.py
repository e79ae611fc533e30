"""One argument parser for all commands: both spellings of every flag, errors in one line."""

import argparse
import logging
import shlex
import sys
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils import naming
from merginguriel.utils.locales import check_locale

log = logging.getLogger(__name__)
DEFAULT_DATASET = "AmazonScience/massive"
DEFAULT_BASE_MODEL = "xlm-roberta-base"


class ArgumentParser(argparse.ArgumentParser):
    """argparse, with `--a_b` read as `--a-b`, no abbreviations and one-line errors.

    After parsing, `args.explicit` is the set of the destinations that the user gave, so that a
    command can tell a default from a choice (presets, flags without effect in a mode), and
    `args.command` a line for a shell that gives the same arguments.
    """

    def __init__(self, **kwargs):
        kwargs.setdefault("formatter_class", HelpFormatter)
        kwargs.setdefault("usage", "%(prog)s [options]")
        super().__init__(allow_abbrev=False, **kwargs)

    def add_argument(self, *names, **kwargs):
        # The destination stays the long flag's, whichever spelling it was declared in.
        return super().add_argument(*(_kebab(name) for name in names), **kwargs)

    def parse_args(self, argv=None, namespace=None):
        argv = [_kebab(str(token)) for token in (sys.argv[1:] if argv is None else argv)]
        if "" in argv:
            self.error("an argument is empty; give it a value or leave its flag out")
        unset = object()
        actions = [action for action in self._actions if action.dest not in ("help", argparse.SUPPRESS)]
        args = super().parse_args(argv, argparse.Namespace(**{action.dest: unset for action in actions}))
        args.explicit = {action.dest for action in actions if getattr(args, action.dest) is not unset}
        for action in actions:
            if getattr(args, action.dest) is unset:
                setattr(args, action.dest, action.default)
        args.command = shlex.join(["python", f"merginguriel/{self.prog}", *argv])
        return args

    def error(self, message):
        self.exit(2, f"error: {message}; see --help\n")


def parse_with_config(parser: ArgumentParser, argv=None):
    """The arguments, with those of a YAML file of flags, `--config FILE`, before the ones on the command line."""
    parser.add_argument("--config", type=Path, metavar="YAML",
                        help="flags by name, e.g. num_languages: [3, 5]; those of the command line count more")
    return parser.parse_args(with_config(parser, argv, "--config"))


def with_config(parser: ArgumentParser, argv, flag: str) -> list[str]:
    """`argv` after the flags in the YAML or JSON file that `flag` names there, if it does."""
    argv = [_kebab(str(token)) for token in (sys.argv[1:] if argv is None else argv)]
    files = [argv[place + 1] if token == flag else token.partition("=")[2] for place, token in enumerate(argv)
             if token.startswith(f"{flag}=") or (token == flag and place + 1 < len(argv))]
    return (_flags_of(parser, Path(files[-1])) if files else []) + argv


def flags_given(tokens: list[str]) -> dict:
    """What a command line says, as `with_config` can read it from a file: the last value of every flag."""
    given = {}
    for token in tokens:
        if token.startswith("--"):
            name, equals, value = token[2:].partition("=")
            name = name.replace("-", "_")
            given[name] = [value] if equals else []
        else:
            given[name].append(token)
    return {name: values[0] if len(values) == 1 else values or True for name, values in given.items()}


def _flags_of(parser: ArgumentParser, file: Path) -> list[str]:
    """The flags in a YAML file as a command line has them."""
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise InputError(f"no file {file}; check the path") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is no YAML: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{file} does not map flags to values, as in num_languages: 3")
    tokens = []
    for name, value in content.items():
        flag = "--" + str(name).replace("_", "-")
        action = parser._option_string_actions.get(flag)
        if action is None or flag in ("--config", "--config-file", "--help"):
            raise InputError(f"{file}: no flag {flag}; see --help")
        if isinstance(value, bool) != (action.nargs == 0):
            raise InputError(f"{file}: {name} is {value!r}; a switch, and only that, is true or false")
        if isinstance(value, dict) or value is None:
            raise InputError(f"{file}: {name} is {value!r}, not a value or a list of values")
        values = value if isinstance(value, list) else [value]
        tokens += [] if value is False else [flag] if value is True else [flag, *map(str, values)]
    return tokens


class PrintAndStop(argparse.Action):
    """A flag that prints `text` and ends the command, whatever else is required."""

    def __init__(self, option_strings, dest, text, **kwargs):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, **kwargs)
        self.text = text

    def __call__(self, parser, namespace, values, option_string=None):
        print(self.text)
        parser.exit()


class HelpFormatter(argparse.HelpFormatter):
    """Shows defaults, where there is one to show, and keeps paragraphs and indented lines apart."""

    def _fill_text(self, text, width, indent):
        paragraphs = text.strip().split("\n\n")
        return "\n\n".join(part if "\n  " in part else super(HelpFormatter, self)._fill_text(part, width, indent)
                           for part in paragraphs)

    def _get_help_string(self, action):
        shown = action.help or ""
        unsaid = action.default is None or isinstance(action.default, bool) or action.default is argparse.SUPPRESS
        if unsaid or "default" in shown:
            return shown
        default = " ".join(action.default) if isinstance(action.default, list) else "%(default)s"
        return f"{shown} (default: {default})".lstrip()


def _kebab(token: str) -> str:
    if not token.startswith("--"):
        return token
    flag, equals, value = token.partition("=")
    return flag.replace("_", "-") + equals + value


ArgumentTypeError = argparse.ArgumentTypeError


def positive_int(text: str) -> int:
    return _whole_number(text, 1)


def whole_number(text: str) -> int:
    return _whole_number(text, 0)


def positive_ints(text: str) -> list[int]:
    """A comma list, e.g. 3,5."""
    return [positive_int(part.strip()) for part in text.split(",")]


def seed(text: str) -> int:
    return _whole_number(text, 0, 2**32 - 1)


def _whole_number(text: str, low: int, high: int | None = None) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text}") from None
    if value < low or (high is not None and value > high):
        raise argparse.ArgumentTypeError(f"must be at least {low}, not {text}" if value < low else
                                         f"must be at most {high}, not {text}")
    return value


def bounded_float(low: float, high: float):
    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a number, not {text}") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be between {low:g} and {high:g}, not {text}")
        return value
    return number


def true_or_false(text: str) -> bool:
    """The value of an HF-style switch, `--do_train` or `--do_train false`."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"must be true or false, not {text}")
    return text.lower() == "true"


def locale(text: str) -> str:
    try:
        return check_locale(text.strip())
    except InputError as error:
        raise argparse.ArgumentTypeError(error) from None


def locale_list(text: str) -> list[str]:
    """One locale or a comma list, each checked, none twice."""
    locales = [locale(part) for part in text.split(",")]
    if len(set(locales)) < len(locales):
        raise argparse.ArgumentTypeError(f"a locale stands twice in {text!r}")
    return locales


def locale_weights(text: str) -> dict[str, float]:
    """`af-ZA=0.6,nl-NL=0.4` as a dict."""
    weights = {}
    for part in text.split(","):
        name, _, weight = part.strip().partition("=")
        try:
            value = float(weight)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{part.strip()!r} is not locale=weight, as in nl-NL=0.6") from None
        if name in weights:
            raise argparse.ArgumentTypeError(f"{name} stands twice in {text!r}")
        weights[locale(name)] = value
    return weights


def add_data(parser, *, text_column: bool = True) -> None:
    group = parser.add_argument_group("data")
    group.add_argument("--dataset-name", default=DEFAULT_DATASET, metavar="NAME",
                       help="Hub id, folder of MASSIVE's JSONL or parquet files, or 'mini' (shipped)")
    if text_column:
        group.add_argument("--text-column", default="utt", metavar="NAME", help="column with the utterance")
        group.add_argument("--label-column", default="intent", metavar="NAME", help="column with the intent")


def add_base_model(parser, flag: str = "--base-model") -> None:
    parser.add_argument(flag, default=None, metavar="NAME",
                        help=f"Hub id or folder of the base model (default: {DEFAULT_BASE_MODEL}; "
                             "'mini' with --dataset-name mini)")


class LocaleLists(argparse.Action):
    """Collects the lists of a flag with nargs="+" and type=locale_list: words, commas or both."""

    def __call__(self, parser, namespace, values, option_string=None):
        locales = [locale for part in values for locale in part]
        if len(set(locales)) < len(locales):
            parser.error(f"argument {option_string}: a locale stands twice")
        setattr(namespace, self.dest, locales)


def add_locales(parser, flag: str, **kwargs) -> None:
    parser.add_argument(flag, nargs="+", type=locale_list, action=LocaleLists, metavar="LOC", **kwargs)


def add_sources(parser, *, selection_help: str = "", several: bool = False, names: tuple = ("--sources",)) -> None:
    """Flags that choose the sources; `idle_source_flags`, then `similarity_options` read them.

    `several`: for several numbers and selections, and without --sources, as a sweep has them. `names` of --sources.
    """
    sources, many = parser.add_argument_group("sources"), {"nargs": "+"} if several else {}
    sources.add_argument("--num-languages", type=positive_int, default=[5] if several else 5, metavar="N", **many,
                         help="the N most similar languages that have a model" + (" (default: 5)" if several else ""))
    if several:
        parser.set_defaults(sources=None)
    else:
        sources.add_argument(*names, dest="sources", type=locale_list, metavar="LOC,LOC,…",
                             help="these languages instead")
    sources.add_argument("--selection", choices=["sinkhorn", "cosine", "real"], **many,
                         help="rank by Sinkhorn shares, which penalise hubs, by plain cosine, or by measured transfer "
                              f"(default: sinkhorn{selection_help})")
    sources.add_argument("--similarity-type", type=str.upper, choices=["URIEL", "REAL"],
                         help="REAL: the same as --selection real; URIEL: one of the others")
    sources.add_argument("--nxn-matrix", type=Path, metavar="PATH",
                         help="for --selection real: folder or evaluation_matrix.csv of a validation run of "
                              "run_nxn_evaluation.py")
    sources.add_argument("--similarity-source", choices=["sparse", "dense"], default="sparse",
                         help="sparse: the shipped Sinkhorn matrix; dense: top-k and Sinkhorn now")
    sources.add_argument("--similarity-matrix", type=Path, metavar="CSV", help="another matrix file")
    sources.add_argument("--top-k", type=positive_int, default=20, metavar="K",
                         help="neighbours kept per row, with --similarity-source dense")
    sources.add_argument("--sinkhorn-iters", type=positive_int, default=20, metavar="N",
                         help="Sinkhorn iterations, with --similarity-source dense")


def idle_source_flags(args) -> list[str]:
    """The flags of `add_sources` that have no effect beside the others given; --similarity-type becomes --selection."""
    if args.similarity_type and args.selection and (args.similarity_type == "REAL") != (args.selection == "real"):
        raise InputError(f"--similarity-type {args.similarity_type} and --selection {args.selection} contradict each "
                         "other; leave one out")
    if args.similarity_type == "REAL":
        args.selection = "real"
    if args.explicit & {"top_k", "sinkhorn_iters"} and args.similarity_source == "sparse":
        log.warning("warning: --top-k and --sinkhorn-iters only apply with --similarity-source dense")
    # Sources that are named weigh equally or by cosine.
    idle = ["num_languages", "selection", "similarity_type", "nxn_matrix", "similarity_source", "top_k",
            "sinkhorn_iters"] if args.sources else []
    idle += {"cosine": ["similarity_source", "top_k", "sinkhorn_iters"],
             "real": ["similarity_source", "top_k", "sinkhorn_iters", "similarity_matrix"]}.get(args.selection, [])
    return idle + ([] if args.selection == "real" else ["nxn_matrix"])


def similarity_options(args, default: str = "sinkhorn"):
    from merginguriel.utils.calculators import SimilarityOptions

    if args.selection == "real" and args.nxn_matrix is None:
        raise InputError("--selection real needs --nxn-matrix; measure one with run_nxn_evaluation.py "
                         "--split validation")
    return SimilarityOptions(args.selection or default, args.similarity_source, args.top_k, args.sinkhorn_iters,
                             args.similarity_matrix, args.nxn_matrix)


def refuse_idle(args, idle: list[str], where: str = "") -> None:
    """InputError naming those of `idle` that the user gave: a flag without effect is an error, not ignored."""
    given = sorted({f"--{name.replace('_', '-')}" for name in idle if name in args.explicit})
    if given:
        raise InputError(f"{', '.join(given)} has no effect {where}with the other flags given; leave it out")


def add_results(parser) -> None:
    """Flags that choose among finished results."""
    which = parser.add_argument_group("which results")
    which.add_argument("--results-dir", type=Path, default=naming.RESULTS_ROOT, metavar="DIR",
                       help="every results.json in it, however deep")
    add_locales(which, "--locales", help="only these targets")
    which.add_argument("--experiment-types", nargs="+", metavar="TYPE",
                       help="only these methods or variants, e.g. similarity, ties_5lang or baseline")
    which.add_argument("--split", choices=["test", "validation"], default="test", help="only results on these items")


def add_baselines(parser):
    """Flags for what results are compared with; `nxn_of` reads them. Returns their group."""
    against = parser.add_argument_group("baselines")
    against.add_argument("--nxn-results-dir", type=Path, default=naming.NXN_ROOT, metavar="DIR",
                         help="folder of N×N runs, or one run")
    against.add_argument("--evaluation-matrix", type=Path, metavar="CSV",
                         help="only this N×N's evaluation_matrix.csv")
    return against


def nxn_of(args) -> Path | None:
    """The N×N that the user named, else the usual folder where there is one."""
    if args.evaluation_matrix:
        refuse_idle(args, ["nxn_results_dir"], "beside --evaluation-matrix ")
        if not args.evaluation_matrix.is_file():
            raise InputError(f"no file {args.evaluation_matrix}; check --evaluation-matrix")
        return args.evaluation_matrix
    if args.nxn_results_dir.is_dir():
        return args.nxn_results_dir
    if "nxn_results_dir" in args.explicit:
        raise InputError(f"no folder {args.nxn_results_dir}; check --nxn-results-dir")
    return None


def add_models_root(parser) -> None:
    parser.add_argument("--models-root", type=Path, default=naming.MODELS_ROOT, metavar="DIR",
                        help="where the fine-tuned models are")


def shard(text: str) -> tuple[int, int]:
    """`2/8` as (2, 8): the second of eight parts."""
    number, _, count = text.partition("/")
    try:
        number, count = int(number), int(count)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be i/n, as in 2/8, not {text}") from None
    if not 1 <= number <= count:
        raise argparse.ArgumentTypeError(f"must be from 1/{count} to {count}/{count}, not {text}")
    return number, count


def add_backend(parser) -> None:
    """Flags for `jobs.backend_of`, `refuse_idle_backend_flags` and `jobs.shard`."""
    group = parser.add_argument_group("where the jobs run")
    group.add_argument("--backend", choices=["local", "ray"], default="local",
                       help="processes of this machine, or tasks of a Ray cluster")
    group.add_argument("--workers", type=positive_int, metavar="N",
                       help="local: processes at a time (default: one a GPU, or one a core as far as memory goes)")
    group.add_argument("--workers-per-gpu", type=positive_int, metavar="N",
                       help="processes at a time on every GPU (default: 1)")
    group.add_argument("--address", metavar="HOST:PORT",
                       help="ray: of the cluster, or auto (default: one of its own on this machine)")
    group.add_argument("--shard", type=shard, metavar="I/N",
                       help="do only the I-th of N parts of the jobs, I from 1; parts may run on different machines")


def refuse_idle_backend_flags(args) -> None:
    refuse_idle(args, ["address"] if args.backend == "local" else ["workers"])
    if args.workers and args.workers_per_gpu:
        raise InputError("--workers and --workers-per-gpu exclude each other; give one")


def base_model_of(base_model: str | None, dataset_name: str) -> str:
    """The base model that was asked for, else the one that belongs to the dataset."""
    return base_model or ("mini" if dataset_name == "mini" else DEFAULT_BASE_MODEL)
