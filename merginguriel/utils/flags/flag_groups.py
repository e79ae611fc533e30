"""Groups of flags that several commands share."""

import argparse
import logging
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.task import DEFAULT_BASE_MODEL, DEFAULT_DATASET
from merginguriel.utils.flags.argument_types import locale_list, positive_int, shard
from merginguriel.utils.storage import naming

log = logging.getLogger(__name__)


def add_data(parser, *, text_column: bool = True) -> None:
    group = parser.add_argument_group("data")
    group.add_argument(
        "--dataset-name",
        default=DEFAULT_DATASET,
        metavar="NAME",
        help="Hub id, folder of MASSIVE's JSONL or parquet files, or 'mini' (shipped)",
    )
    if text_column:
        group.add_argument("--text-column", default="utt", metavar="NAME", help="column with the utterance")
        group.add_argument("--label-column", default="intent", metavar="NAME", help="column with the intent")


def add_base_model(parser, flag: str = "--base-model") -> None:
    parser.add_argument(
        flag,
        default=None,
        metavar="NAME",
        help=f"Hub id or folder of the base model (default: {DEFAULT_BASE_MODEL}; 'mini' with --dataset-name mini)",
    )


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
    sources.add_argument(
        "--num-languages",
        type=positive_int,
        default=[5] if several else 5,
        metavar="N",
        **many,
        help="the N most similar languages that have a model" + (" (default: 5)" if several else ""),
    )
    if several:
        parser.set_defaults(sources=None)
    else:
        sources.add_argument(
            *names, dest="sources", type=locale_list, metavar="LOC,LOC,…", help="these languages instead"
        )
    sources.add_argument(
        "--selection",
        choices=["sinkhorn", "cosine", "real"],
        **many,
        help="rank by Sinkhorn shares, which penalise hubs, by plain cosine, or by measured transfer "
        f"(default: sinkhorn{selection_help})",
    )
    sources.add_argument(
        "--similarity-type",
        type=str.upper,
        choices=["URIEL", "REAL"],
        help="REAL: the same as --selection real; URIEL: one of the others",
    )
    sources.add_argument(
        "--nxn-matrix",
        type=Path,
        metavar="PATH",
        help="for --selection real: folder or evaluation_matrix.csv of a validation run of run_nxn_evaluation.py",
    )
    sources.add_argument(
        "--similarity-source",
        choices=["sparse", "dense"],
        default="sparse",
        help="sparse: the shipped Sinkhorn matrix; dense: top-k and Sinkhorn now",
    )
    sources.add_argument("--similarity-matrix", type=Path, metavar="CSV", help="another matrix file")
    sources.add_argument(
        "--top-k",
        type=positive_int,
        default=20,
        metavar="K",
        help="neighbours kept per row, with --similarity-source dense",
    )
    sources.add_argument(
        "--sinkhorn-iters",
        type=positive_int,
        default=20,
        metavar="N",
        help="Sinkhorn iterations, with --similarity-source dense",
    )


def idle_source_flags(args) -> list[str]:
    """The flags of `add_sources` that have no effect beside the others given; --similarity-type becomes --selection."""
    if args.similarity_type and args.selection and (args.similarity_type == "REAL") != (args.selection == "real"):
        raise InputError(
            f"--similarity-type {args.similarity_type} and --selection {args.selection} contradict each "
            "other; leave one out"
        )
    if args.similarity_type == "REAL":
        args.selection = "real"
    if args.explicit & {"top_k", "sinkhorn_iters"} and args.similarity_source == "sparse":
        log.warning("warning: --top-k and --sinkhorn-iters only apply with --similarity-source dense")
    # Sources that are named weigh equally or by cosine.
    idle = (
        ["num_languages", "selection", "similarity_type", "nxn_matrix", "similarity_source", "top_k", "sinkhorn_iters"]
        if args.sources
        else []
    )
    idle += {
        "cosine": ["similarity_source", "top_k", "sinkhorn_iters"],
        "real": ["similarity_source", "top_k", "sinkhorn_iters", "similarity_matrix"],
    }.get(args.selection, [])
    return idle + ([] if args.selection == "real" else ["nxn_matrix"])


def similarity_options(args, default: str = "sinkhorn"):
    from merginguriel.utils.merging.selection import SimilarityOptions

    if args.selection == "real" and args.nxn_matrix is None:
        raise InputError(
            "--selection real needs --nxn-matrix; measure one with run_nxn_evaluation.py --split validation"
        )
    return SimilarityOptions(
        args.selection or default,
        args.similarity_source,
        args.top_k,
        args.sinkhorn_iters,
        args.similarity_matrix,
        args.nxn_matrix,
    )


def refuse_idle(args, idle: list[str], where: str = "") -> None:
    """InputError naming those of `idle` that the user gave: a flag without effect is an error, not ignored."""
    given = sorted({f"--{name.replace('_', '-')}" for name in idle if name in args.explicit})
    if given:
        raise InputError(f"{', '.join(given)} has no effect {where}with the other flags given; leave it out")


def add_models_root(parser) -> None:
    parser.add_argument(
        "--models-root", type=Path, default=naming.MODELS_ROOT, metavar="DIR", help="where the fine-tuned models are"
    )


def add_backend(parser) -> None:
    """Flags for `jobs.backend_of`, `refuse_idle_backend_flags` and `jobs.shard`."""
    group = parser.add_argument_group("where the jobs run")
    group.add_argument(
        "--backend",
        choices=["local", "ray"],
        default="local",
        help="processes of this machine, or tasks of a Ray cluster",
    )
    group.add_argument(
        "--workers",
        type=positive_int,
        metavar="N",
        help="local: processes at a time (default: one a GPU, or one a core as far as memory goes)",
    )
    group.add_argument(
        "--workers-per-gpu", type=positive_int, metavar="N", help="processes at a time on every GPU (default: 1)"
    )
    group.add_argument(
        "--address", metavar="HOST:PORT", help="ray: of the cluster, or auto (default: one of its own on this machine)"
    )
    group.add_argument(
        "--shard",
        type=shard,
        metavar="I/N",
        help="do only the I-th of N parts of the jobs, I from 1; parts may run on different machines",
    )


def refuse_idle_backend_flags(args) -> None:
    refuse_idle(args, ["address"] if args.backend == "local" else ["workers"])
    if args.workers and args.workers_per_gpu:
        raise InputError("--workers and --workers-per-gpu exclude each other; give one")
