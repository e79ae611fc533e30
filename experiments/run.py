"""Run an experiment: the toolkit's own commands, part by part, as a YAML file lists them.

What is done is not done again, so the same command goes on where it was stopped. A command that fails is named in the
end, with the file of what it said, and the others go on. run.json in the working folder tells seconds, workers and GPUs
of every part.

    python experiments/run.py experiments/languages.yaml --dir work --base DIR/me5-small-xlmr \
        --data massive=DIR/massive sib200=DIR/sib200 --workers 7
"""

import argparse
import functools
import itertools
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.languages import check_locale
from merginguriel.utils.flags import flag_groups
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.jobs.processes import cores, gpus
from merginguriel.utils.similarity.matrix import DENSE_CSV, read_matrix
from merginguriel.utils.similarity.transfer import finished_runs
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.locks import locked
from merginguriel.utils.storage.naming import short_hash

HERE = Path(__file__).resolve().parent
KEYS = {"run", "corpus", "seeds", "share"}  # of an entry; any other one varies it


def build_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", type=Path, help="YAML file")
    parser.add_argument("--dir", type=Path, required=True, help="working folder")
    parser.add_argument("--base", help="encoder (default: that of the file)")
    parser.add_argument("--data", nargs="*", default=[], metavar="CORPUS=DIR", help="data (default: those of the task)")
    parser.add_argument("--matrix", type=Path, help="URIEL's cosines of all languages, where lang2vec is not installed")
    parser.add_argument("--parts", nargs="+", help="only these, in the file's order")
    parser.add_argument("--corpora", nargs="+", help="only these")
    parser.add_argument("--seeds", nargs="+", type=int, help="in place of the file's")
    parser.add_argument("--workers", type=int, default=1, help="processes at a time, in all")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, then stop")
    return parser


@dataclass
class Corpus:
    """`languages` have sources; `targets` are the same where the file names no others."""

    name: str
    task: str
    languages: list[str]
    targets: list[str]
    training: str
    share: float
    data: str | None


class Experiment:
    def __init__(self, args):
        told = yaml.safe_load(args.experiment.read_text(encoding="utf-8"))
        self.dir, self.base = args.dir.resolve(), whole(args.base or told["base"])
        for pair in args.data:
            if "=" not in pair:
                raise InputError(f"--data {pair}: give CORPUS=DIR")
        data = dict(pair.split("=", 1) for pair in args.data)
        for flag, given, known in (
            ("--data", data, told["corpora"]),
            ("--corpora", args.corpora or [], told["corpora"]),
            ("--parts", args.parts or [], told["parts"]),
        ):
            for name in given:
                if name not in known:
                    raise InputError(f"{flag} {name}: {args.experiment} has {', '.join(known)}")
        self.corpora = [
            Corpus(
                name,
                of["task"] if "/" not in of["task"] else str(HERE.parent / of["task"]),
                of["languages"].split(),
                (of.get("targets") or of["languages"]).split(),
                of["training"],
                of["share"],
                whole(data[name]) if name in data else None,
            )
            for name, of in told["corpora"].items()
            if not args.corpora or name in args.corpora
        ]
        self.seeds: list[int] = args.seeds or told["seeds"]
        self.first: int = told["seeds"][0]
        self.usual: dict[str, str] = told["usual"]
        self.parts: dict[str, list[dict[str, Any]]] = {
            name: entries for name, entries in told["parts"].items() if not args.parts or name in args.parts
        }
        for entry in [entry for entries in told["parts"].values() for entry in entries]:
            if "corpus" in entry and entry["corpus"] not in told["corpora"]:
                raise InputError(f"{args.experiment}: {entry['run']!r} is on {entry['corpus']!r}, which is no corpus")
            if entry.get("seeds", "first") != "first":
                raise InputError(f"{args.experiment}: seeds of {entry['run']!r} are all, or first")

    def check(self, matrix: Path | None) -> None:
        """InputError where data or `matrix` lack one of the languages, not after hours."""
        for corpus in self.corpora:
            everyone = list(dict.fromkeys([*corpus.languages, *corpus.targets]))
            parser = ArgumentParser()
            flag_groups.add_task(parser)
            named = ["--dataset-name", corpus.data] if corpus.data else []
            task = flag_groups.read_task(parser.parse_args(["--task", corpus.task, *named]))
            task.check(everyone)
            places = {task.data: task.codes} if task.codes else {}  # of a Hub id only reading tells them
            if matrix:
                places[str(matrix)] = read_matrix(matrix).targets
            for where, known in places.items():
                for language in everyone:
                    check_locale(language, known, where)

    def lines(self, entry: dict[str, Any]) -> Iterator[tuple[list[str], float]]:
        """The commands of an entry, for every corpus, seed and value that it varies, and the share of each."""
        corpora = [corpus for corpus in self.corpora if corpus.name == entry.get("corpus", corpus.name)]
        seeds = [seed for seed in self.seeds if entry.get("seeds") != "first" or seed == self.first]
        varied = [[(name, value) for value in values] for name, values in entry.items() if name not in KEYS]
        for corpus, seed, *values in itertools.product(corpora, seeds, *varied):
            command, _, more = entry["run"].strip().partition(" ")
            places = self._places(corpus, seed)
            places.update({name: str(value) for name, value in values})
            places["more"] = more.format_map(places)
            yield [command, *shlex.split(self.usual[command].format_map(places))], corpus.share * entry.get("share", 1)

    def _places(self, corpus: Corpus, seed: int) -> "Places":
        on_gpu = torch.cuda.is_available()
        named = ["--dataset-name", corpus.data] if corpus.data else []
        return Places(
            self.dir / f"{corpus.name}_{seed}",
            here=str(HERE),
            seed=str(seed),
            data=shlex.join(["--task", corpus.task, *named, "--base-model", self.base]),
            languages=" ".join(corpus.languages),
            targets=" ".join(corpus.targets),
            everyone=" ".join(dict.fromkeys([*corpus.languages, *corpus.targets])),
            all_others=str(len(corpus.languages) - (corpus.targets == corpus.languages)),
            training=corpus.training,
            fast="--tf32 --cuda_graphs" if on_gpu else "",
            fast_adapt="--adapt-tf32 --adapt-cuda-graphs" if on_gpu else "",
        )


class Places(dict):
    """What stands for a name in braces; for nxn_SPLIT the folder of the finished matrix, as soon as there is one."""

    def __init__(self, folder: Path, **named: str):
        super().__init__(folder=str(folder), **named)
        self._folder = folder

    def __missing__(self, name: str) -> str:
        if not name.startswith("nxn_"):
            raise InputError(f"{{{name}}} stands for nothing; there are {', '.join(self)}, nxn_SPLIT")
        return str([self._folder / name, *finished_runs(self._folder / name)][-1])


def whole(place: str) -> str:
    """Commands run in the working folder: what is a path here is given to them from the root on."""
    return str(Path(place).resolve()) if Path(place).exists() else place


def shared_out(workers: int, shares: Sequence[float]) -> list[int]:
    """How many of `workers` each gets: one at least, all together no more where there are enough."""
    wanted = [workers * share / sum(shares) for share in shares]
    given = [1] * len(shares)
    for _ in range(workers - len(shares)):
        lacking = [want - have for want, have in zip(wanted, given)]
        given[lacking.index(max(lacking))] += 1
    return given


class Runner:
    """Runs commands of the toolkit side by side, each on GPUs of its own as far as they go."""

    def __init__(self, folder: Path, workers: int):
        self._folder, self._workers, self._running = folder, workers, set()
        self._logs = folder / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)

    def run(self, part: str, lines: Sequence[tuple[list[str], float]]) -> list[str]:
        """What to say of the commands that failed."""
        if not lines:  # of a part that is on other corpora or seeds
            return []
        given = shared_out(self._workers, [share for _, share in lines])
        places = [sum(given[:number]) for number in range(len(given))]
        with ThreadPoolExecutor(max(1, min(len(lines), self._workers))) as pool:
            try:
                said = list(pool.map(functools.partial(self._call, part), [line for line, _ in lines], given, places))
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in list(self._running):
                    process.send_signal(signal.SIGINT)
                raise
        return [one for one in said if one]

    def _call(self, part: str, line: list[str], workers: int, place: int) -> str:
        """ "" where all went well."""
        words = _with_workers(line, workers)
        log = self._logs / f"{part}_{short_hash(shlex.join(line))}.txt"
        with open(log, "a", encoding="utf-8") as out:
            print("$ merginguriel", shlex.join(words), file=out, flush=True)
            process = subprocess.Popen(
                [sys.executable, "-m", "merginguriel", *words],
                cwd=self._folder,
                env=self._environment(place),
                stdout=out,
                stderr=subprocess.STDOUT,
            )
            self._running.add(process)
            code = process.wait()
            self._running.discard(process)
        return f"merginguriel {shlex.join(words)}; {log} says why" if code else ""

    def _environment(self, place: int) -> dict[str, str]:
        """GPUs from another one on for each command, and the cores in equal parts for all workers."""
        paths = [str(HERE.parent), str(HERE.parent / "submodules/auto_merge_llm"), os.environ.get("PYTHONPATH", "")]
        made = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        made.setdefault("OMP_NUM_THREADS", str(max(1, cores() // self._workers)))
        visible = gpus()
        if visible:
            at = place % len(visible)
            made["CUDA_VISIBLE_DEVICES"] = ",".join([*visible[at:], *visible[:at]])
        return made


def run_part(experiment: Experiment, name: str, workers: int) -> list[str]:
    """What to say of the commands that failed. Those of a part run side by side, and share the workers."""
    start, state = time.monotonic(), "stopped"
    lines = [line for entry in experiment.parts[name] for line in experiment.lines(entry)]
    try:
        failed = Runner(experiment.dir, workers).run(name, lines)
        state = "ended"
    finally:
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        seconds = round(time.monotonic() - start, 1)
        about = {"seconds": seconds, "workers": workers, "gpus": names, "state": state}
        about["commands"] = [shlex.join(line) for line, _ in lines]
        _tell(experiment.dir / "run.json", name, about)
    print(f"{name}: {seconds:.0f} s", flush=True)
    return failed


def _tell(file: Path, part: str, about: dict[str, Any]) -> None:
    """Add a part to the file, which runners of other parts may write too."""
    with locked(file.with_name(f".{file.name}.lock")):
        told = atomic.read_json(file) if file.is_file() else {}
        told.setdefault(part, []).append(about)
        atomic.write_json(file, told)


def _with_workers(line: list[str], workers: int) -> list[str]:
    """Before what goes to another command."""
    if line[0] in ("ensemble-sweep", "merge"):  # have no need of any
        return line
    at = line.index("--additional-args") if "--additional-args" in line else len(line)
    return [*line[:at], "--workers", str(workers), *line[at:]]


def main(argv=None) -> int:
    args = build_parser().parse_args(argv)
    try:
        experiment = Experiment(args)
        listed = {
            name: [line for entry in entries for line, _ in experiment.lines(entry)]
            for name, entries in experiment.parts.items()
        }
        if not args.dry_run:
            experiment.check(args.matrix)
    except OSError as error:
        print(f"error: cannot read {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.dry_run:
        for name, lines in listed.items():
            print(f"# {name}", *(f"merginguriel {shlex.join(line)}" for line in lines), sep="\n")
        return 0
    experiment.dir.mkdir(parents=True, exist_ok=True)
    if args.matrix:
        (experiment.dir / DENSE_CSV).write_bytes(args.matrix.read_bytes())  # where commands look for it
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    failed = []
    try:
        for name in experiment.parts:
            failed += run_part(experiment, name, args.workers)
    except KeyboardInterrupt:
        print("interrupted; run the same command again", file=sys.stderr)
        return 130
    for one in failed:
        print(f"failed: {one}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
