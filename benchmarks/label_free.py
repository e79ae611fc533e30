"""Sources by consensus, and merges adapted to their targets without a label: MASSIVE's 49 locales, and SIB-200.

Everything is done by the toolkit's own commands, from an encoder on: sources of several seeds, N×N, merges, votes,
adapted merges. What is done is not done again; what a command failed at is told in the end. Settings of the adaptation
are tried by experiments/tune_adaptation.py.

    python benchmarks/label_free.py --base-model DIR/me5-small-xlmr --massive DIR/massive --sib200 DIR/sib200 --dir work

Makes work/collected/: what `benchmarks/label_free_tables.py` reads. --quick does a little of each kind.
"""

import argparse
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from commands import ROOT, Commands, archive, gpus

from merginguriel.utils.data.massive_languages import DEFAULT_LOCALES
from merginguriel.utils.similarity.matrix import DENSE_CSV
from merginguriel.utils.similarity.transfer import finished_runs
from merginguriel.utils.storage import argument_types, atomic, naming

SPOKEN = (
    "eng_Latn spa_Latn fra_Latn rus_Cyrl arb_Arab hin_Deva zho_Hans ind_Latn tur_Latn swh_Latn jpn_Jpan vie_Latn"
).split()
TARGETS = (
    "quy_Latn ayr_Latn grn_Latn wol_Latn lug_Latn kin_Latn sna_Latn tir_Ethi bem_Latn tso_Latn ewe_Latn fon_Latn "
    "ilo_Latn pag_Latn mri_Latn smo_Latn lao_Laoo kir_Cyrl uig_Arab eus_Latn"
).split()
AS_MANY_TEXTS = "--adapt-epochs 3 --adapt-lr 1e-4".split()  # what few texts got when this was measured
OF_SIB = "--train-bs 32 --lr 1e-4 --epochs 10 --warmup-ratio 0.1"
OF_MASSIVE = "--lr 2e-4 --epochs 5 --warmup-ratio 0.1"


@dataclass
class Corpus:
    """A task, its languages and how their sources are trained."""

    name: str
    data: str
    task: str
    languages: list[str]
    targets: list[str]
    training: str

    def flags(self, base: str | None) -> list:
        return ["--task", self.task, *(["--base-model", base] if base else []), "--dataset-name", self.data]


def build_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-model", required=True, help="encoder folder")
    parser.add_argument("--massive", required=True, help="folder of MASSIVE")
    parser.add_argument("--sib200", required=True, help="folder of SIB-200")
    parser.add_argument("--dir", type=Path, default=Path("label_free"), help="working folder")
    parser.add_argument("--matrix", type=Path, help="URIEL's cosines of all languages, where lang2vec is not installed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43])
    parser.add_argument(
        "--workers", type=argument_types.positive_int, default=1, help="processes, on all GPUs together"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="only these")
    parser.add_argument("--quick", action="store_true", help="a little of everything")
    return parser


class Study:
    """Commands that share all GPUs, and how long each part took."""

    def __init__(self, args):
        self.args, self.dir = args, args.dir.resolve()
        self.commands = Commands(self.dir, args.workers)
        self.failures: list[str] = []
        self._lock = threading.Lock()
        self.massive = Corpus(
            "massive", args.massive, "massive", list(DEFAULT_LOCALES), list(DEFAULT_LOCALES), OF_MASSIVE
        )
        sib = str(ROOT / "docs/tasks/sib200.yaml")
        self.sib200 = Corpus("sib200", args.sib200, sib, [*SPOKEN, *TARGETS], list(TARGETS), OF_SIB)
        if args.quick:
            self.massive.training = self.sib200.training = "--lr 2e-4 --epochs 1"
            self.massive.languages = self.massive.targets = "cy-GB fr-FR tr-TR".split()
            self.sib200.languages, self.sib200.targets = [*SPOKEN[:2], *TARGETS[:2]], list(TARGETS[:2])
        self.number = 2 if args.quick else 5

    @property
    def corpora(self) -> list[Corpus]:
        return [self.massive, self.sib200]

    def root(self, corpus: Corpus, seed: int) -> Path:
        return self.dir / f"{corpus.name}{seed}"

    def run(self, part: str, lines: list[list]) -> None:
        """All at once: each has as many workers as it says."""
        start = time.monotonic()
        with ThreadPoolExecutor(max(1, len(lines))) as pool:
            list(pool.map(self._one, lines))
        self._done(part, start)

    def _done(self, part: str, start: float) -> None:
        seconds = round(time.monotonic() - start, 1)
        print(f"{part}: {seconds:.0f} s", flush=True)
        told = self.dir / "collected" / "run.json"
        told.parent.mkdir(exist_ok=True)
        # Another process may do other parts on other GPUs.
        before = atomic.read_json(told) if told.is_file() else {"parts": {}, "failures": []}
        failures = list(dict.fromkeys([*before["failures"], *self.failures]))
        here = {"seconds": seconds, "workers": self.args.workers, "gpus": len(gpus())}
        atomic.write_json(told, {"parts": {**before["parts"], part: here}, "failures": failures})

    def _one(self, line: list) -> None:
        try:
            self.commands.run_on_all(line)
        except SystemExit as error:
            with self._lock:
                self.failures.append(str(error))
                print("failed:", str(error)[-600:], flush=True)

    def workers(self, share: float) -> list:
        return ["--workers", max(1, round(self.args.workers * share))]

    def models(self, corpus: Corpus, seed: int) -> list:
        return [*corpus.flags(self.args.base_model), "--models-root", self.root(corpus, seed) / naming.MODELS_ROOT]

    def nxn(self, corpus: Corpus, seed: int, split: str) -> Path:
        """The folder of the finished run."""
        return finished_runs(self.root(corpus, seed) / f"nxn_{split}")[-1]

    def sweep(self, corpus: Corpus, seed: int, modes: str, *more: object, share: float = 1.0) -> list:
        line = [
            "run_large_scale_experiment.py",
            *self.models(corpus, seed),
            "--seed",
            seed,
            "--locales",
            *corpus.targets,
        ]
        line += ["--nxn-matrix", self.nxn(corpus, seed, "train")]
        line += ["--results-dir", self.root(corpus, seed) / naming.RESULTS_ROOT, *self.workers(share)]
        speed = _speed() if "+" in modes else []
        quick = ["--adapt-epochs", 1] if self.args.quick and "+" in modes else []
        return [*line, "--modes", *modes.split(), *more, *speed, *quick]


def train(study: Study) -> None:
    on_gpu = ["--tf32", "--cuda_graphs"] if gpus() else []
    few = ["--max_train_samples", "64", "--max_predict_samples", "64"] if study.args.quick else []
    lines = []
    for corpus in study.corpora:
        for seed in study.args.seeds:
            line = ["train_missing_models.py", *study.models(corpus, seed), "--locales", *corpus.languages]
            share = (0.9 if corpus is study.massive else 0.1) / len(study.args.seeds)
            line += [*study.workers(share), *corpus.training.split(), "--additional-args"]
            lines.append([*line, "--seed", seed, "--save_strategy", "no", "--eval_strategy", "no", *on_gpu, *few])
    study.run("train", lines)


def nxn(study: Study) -> None:
    lines = []
    for corpus in study.corpora:
        for seed in study.args.seeds:
            line = ["run_nxn_evaluation.py", *study.models(corpus, seed), "--locales", *corpus.languages]
            for split in ("train", "test"):
                drawn = ["--max-items", 100 if study.args.quick else 1000] if split == "train" else []
                share = (0.4 if corpus is study.massive else 0.1) / len(study.args.seeds)
                folder = study.root(corpus, seed) / f"nxn_{split}"
                lines.append([*line, "--split", split, *drawn, "--results-dir", folder, *study.workers(share)])
    study.run("nxn", lines)


def _speed() -> list:
    return ["--adapt-cuda-graphs", "--adapt-tf32"] if gpus() else []


def _few(study: Study) -> list:
    return ["--consensus-examples", 100] if study.args.quick else []


def merges(study: Study) -> None:
    """Averages, regmean and its adaptation, sources by cosine and by consensus; votes of the same.

    What a user would do, all targets adapted with sources by consensus, is timed by itself.
    """
    share, few = 1 / len(study.args.seeds), _few(study)
    usual = ["--selection", "consensus", "--num-languages", study.number, *few]
    both = ["--selection", "cosine", "consensus", "--num-languages", study.number, *few]
    adapted = [study.sweep(study.massive, seed, "regmean+vote", *usual, share=share) for seed in study.args.seeds]
    study.run("all targets merged and adapted", adapted)
    lines = []
    for seed in study.args.seeds:
        lines.append(study.sweep(study.massive, seed, "average regmean regmean+vote", *both, share=0.8 * share))
        own = "baseline average regmean regmean+vote"
        lines.append(study.sweep(study.sib200, seed, own, *both, *AS_MANY_TEXTS, share=0.2 * share))
    study.run("merges", lines)
    study.run("votes", [line for seed in study.args.seeds for line in _votes(study, seed)])


def _votes(study: Study, seed: int) -> list[list]:
    lines = []
    for corpus in study.corpora:
        line = ["run_large_scale_ensemble_experiments.py", *corpus.flags(study.args.base_model), "--preweight", "equal"]
        line += ["--nxn-dir", study.nxn(corpus, seed, "test")]
        line += ["--results-dir", study.root(corpus, seed) / "votes", "--target-languages", *corpus.targets]
        line += ["--voting-methods", "soft"]
        for number in (study.number, len(corpus.languages) - 1):
            chosen = ["--selection", "consensus", "--nxn-matrix", study.nxn(corpus, seed, "train"), *_few(study)]
            lines.append([*line, *chosen, "--num-languages", number])
        lines.append([*line, "--selection", "cosine", "--num-languages", study.number])
    return lines


def collect(study: Study) -> None:
    """Results without logits but those of the N×N of SIB-200, one archive a corpus and seed."""
    for corpus in study.corpora:
        for seed in study.args.seeds:
            _archive(study, study.root(corpus, seed), f"{corpus.name}{seed}.tar.xz")


def _archive(study: Study, root: Path, file: str) -> None:
    def is_wanted(path: Path) -> bool:
        parts = path.relative_to(study.dir).parts
        hidden = any(part[0] == "." for part in parts) or naming.MODELS_ROOT.name in parts
        # The logits of MASSIVE's N×N are gigabytes.
        large = path.suffix == ".safetensors" and not root.name.startswith(study.sib200.name)
        return path.is_file() and not (hidden or large or "_on_" in path.parent.name or path.suffix == ".lock")

    archive(study.dir / "collected" / file, study.dir, sorted(path for path in root.rglob("*") if is_wanted(path)))


PARTS = {"train": train, "nxn": nxn, "merges": merges}


def main(argv=None) -> int:
    args = build_parser().parse_args(argv)
    if args.matrix:
        args.matrix = args.matrix.resolve()
    study = Study(args)
    os.chdir(study.dir)
    if args.matrix:
        shutil.copy(args.matrix, DENSE_CSV)  # where commands look for it
    for part in args.parts:
        PARTS[part](study)
        if part == "merges":
            collect(study)
    return 1 if study.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
