"""Run an experiment: the toolkit's own commands, part by part, as a YAML file lists them.

What is done is not done again, so the same command goes on where it was stopped. A command that fails is named in the
end, and the others go on. run.json in the working folder tells seconds, workers and GPUs of every part.

    python experiments/run.py experiments/languages.yaml --dir work --base DIR/me5-small-xlmr \
        --data massive=DIR/massive sib200=DIR/sib200 --workers 7
"""

import argparse
import functools
import itertools
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from merginguriel.utils.storage import atomic

HERE = Path(__file__).resolve().parent
KEYS = {"run", "corpus", "seeds"}  # of an entry; any other one varies it


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
        self.dir, self.base = args.dir.resolve(), args.base or told["base"]
        data = dict(pair.split("=", 1) for pair in args.data)
        self.corpora = [
            Corpus(
                name,
                of["task"] if "/" not in of["task"] else str(HERE.parent / of["task"]),
                of["languages"].split(),
                (of.get("targets") or of["languages"]).split(),
                of["training"],
                of["share"],
                data.get(name),
            )
            for name, of in told["corpora"].items()
            if not args.corpora or name in args.corpora
        ]
        self.seeds: list[int] = args.seeds or told["seeds"]
        self.usual: dict[str, str] = told["usual"]
        self.parts: dict[str, list[dict[str, Any]]] = {
            name: entries for name, entries in told["parts"].items() if not args.parts or name in args.parts
        }

    def lines(self, entry: dict[str, Any]) -> Iterator[tuple[list[str], float]]:
        """The commands of an entry, for every corpus, seed and value that it varies, and the share of each."""
        corpora = [corpus for corpus in self.corpora if corpus.name == entry.get("corpus", corpus.name)]
        seeds = self.seeds[:1] if entry.get("seeds") == "first" else self.seeds
        varied = [[(name, value) for value in values] for name, values in entry.items() if name not in KEYS]
        for corpus, seed, *values in itertools.product(corpora, seeds, *varied):
            command, _, more = entry["run"].strip().partition(" ")
            places = self._places(corpus, seed)
            places.update({name: str(value) for name, value in values})
            places["more"] = more.format_map(places)
            yield [command, *shlex.split(self.usual[command].format_map(places))], corpus.share

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
        found = sorted((self._folder / name).glob("nxn_eval_*/evaluation_summary.json"))
        return str(found[-1].parent if found else self._folder / name)


def run_part(experiment: Experiment, name: str, workers: int) -> list[str]:
    """The commands that failed. Those of an entry run at a time, and share the workers."""
    failed, start, commands = [], time.monotonic(), []
    for entry in experiment.parts[name]:
        shares = dict((tuple(line), share) for line, share in experiment.lines(entry))
        lines = [
            _with_workers(list(line), max(1, round(workers * share / sum(shares.values()))))
            for line, share in shares.items()
        ]
        with ThreadPoolExecutor(max(1, min(len(lines), workers))) as pool:
            codes = list(pool.map(functools.partial(call, experiment.dir), lines))
        failed += [shlex.join(line) for line, code in zip(lines, codes) if code]
        commands += map(shlex.join, lines)
    file = experiment.dir / "run.json"
    told = atomic.read_json(file) if file.is_file() else {}
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    seconds = round(time.monotonic() - start, 1)
    told.setdefault(name, []).append({"seconds": seconds, "workers": workers, "gpus": gpus, "commands": commands})
    atomic.write_json(file, told)
    print(f"{name}: {seconds:.0f} s", flush=True)
    return failed


def _with_workers(line: list[str], workers: int) -> list[str]:
    """Before what goes to another command."""
    given = ["--workers", str(workers)]
    if line[0] == "ensemble-sweep":
        given = []  # has no need of any: the logits are there
    at = line.index("--additional-args") if "--additional-args" in line else len(line)
    return [*line[:at], *given, *line[at:]]


def call(folder: Path, line: list[str]) -> int:
    """The exit code; what it says goes to log.txt."""
    paths = [str(HERE.parent), str(HERE.parent / "submodules/auto_merge_llm"), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "merginguriel", *line],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    with open(folder / "log.txt", "a", encoding="utf-8") as log:
        log.write(f"$ merginguriel {shlex.join(line)}\n{done.stdout}\n")
    return done.returncode


def main(argv=None) -> int:
    args = build_parser().parse_args(argv)
    experiment = Experiment(args)
    if args.dry_run:
        for name, entries in experiment.parts.items():
            print(f"# {name}")
            for line, _ in itertools.chain.from_iterable(map(experiment.lines, entries)):
                print("merginguriel", shlex.join(line))
        return 0
    experiment.dir.mkdir(parents=True, exist_ok=True)
    if args.matrix:
        from merginguriel.utils.similarity.matrix import DENSE_CSV

        (experiment.dir / DENSE_CSV).write_bytes(args.matrix.read_bytes())  # where commands look for it
    failed = []
    try:
        for name in experiment.parts:
            failed += run_part(experiment, name, args.workers)
    except KeyboardInterrupt:
        print("interrupted; run the same command again", file=sys.stderr)
        return 130
    for line in failed:
        print(f"failed: merginguriel {line}; {experiment.dir / 'log.txt'} says why", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
