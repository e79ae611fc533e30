"""The commands that the project began with run in their order from a bare checkout, on small things in place of large.

tests/seed_lines.txt has every line as its users know it. SUBSTITUTIONS is all that is changed in them, and the Hub's
cache stands for the Hub: of MASSIVE it has a few rows a locale, of XLM-R an encoder of one thin layer.
"""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import datasets
import pytest
from noisy_sources import make_noisy_sources
from running import ROOT, Started, Zygote

from merginguriel.utils.data import massive, mini
from merginguriel.utils.data.massive_languages import DEFAULT_LOCALES

LINES = (ROOT / "tests/seed_lines.txt").read_text(encoding="utf-8").splitlines()
FEW = "fr-FR,de-DE,nl-NL"
ITERATIVE = "python merginguriel/run_iterative_training.py --mode similarity --target-lang sw-KE --locales en-US,fr-FR"
# (pattern, what stands in its place): corpus and encoder are the cache's.
SUBSTITUTIONS = (
    # How Python is started: uv would make an environment, and fetch packages for it.
    (r"^uv run ", "python "),
    # Numbers of examples, and epochs.
    (r"--num-fisher-examples \d+", "--num-fisher-examples 20"),
    (r"--num_train_epochs \d+", "--num_train_epochs 1"),
    (r"training_bert\.py(?!.*num_train_epochs)", "training_bert.py --num_train_epochs 1"),
    (r"train_missing_models\.py(?=.*--locales)", "train_missing_models.py --epochs 1"),
    (r"--max-epochs (9|12|15) --merge-frequency \d", "--max-epochs 2 --merge-frequency 1"),
    # Locales: of all 49 these few, and the 25th of them is the second.
    (r"run_large_scale_experiment\.py(?!.*--(locales|list))", "run_large_scale_experiment.py --locales af-ZA sq-AL"),
    (r"--start-from 25", "--start-from 1"),
    (r"(run_multilang_training\.py)", rf"\1 --locales {FEW},en-US,sq-AL"),
    (r"(--exclude \S+|--super-model|--all-lolo)$", r"\1 --additional-args --num_train_epochs 1"),
    # Runs of other people and other days: the newest of ours.
    (r"nxn_results/nxn_eval_\d+_\d+/", "{newest nxn_results/*/}"),
    (r"results_comprehensive_\d+_\d+\.csv", "{newest results_comprehensive_*.csv}"),
    # Flags without a command are for this one.
    (r"^--", f"{ITERATIVE} --max-epochs 1 --output-dir {{line}} --"),
)
# The start of a line -> why it is not run.
NOT_RUN = {
    "pip install ": "it installs packages",
    "watch ": "it watches a GPU until it is stopped",
    "nvidia-smi": "it shows a GPU",
    "ps aux ": "it shows the processes of the machine",
    "kill -9 ": "it has a placeholder for a process; benchmarks/kills.py kills every command",
    "python plot_results.py --csv-file ": "before aggregation there is no such file; test_plots.py has the flag",
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory, tiny_base) -> Path:
    """HF_HOME: MASSIVE, parquet as the Hub has it, and the encoders."""
    home = tmp_path_factory.mktemp("hub")
    commit = "0" * 40
    data = home / "hub/datasets--AmazonScience--massive/snapshots" / commit
    features = datasets.Features(
        {"id": datasets.Value("string"), "locale": datasets.Value("string"), "partition": datasets.Value("string"),
         "intent": datasets.ClassLabel(names=list(massive.INTENTS)), "utt": datasets.Value("string")}
    )
    for number, locale in enumerate(DEFAULT_LOCALES):
        rows = mini.records(locale if locale in mini.LOCALES else mini.LOCALES[number % len(mini.LOCALES)])
        for split, partition, count in (("train", "train", 32), ("validation", "dev", 16), ("test", "test", 24)):
            chosen = [row for row in rows if row["partition"] == partition][:: 29 * 12 // 32 if split == "train" else 4]
            table = [{name: row[name] for name in features} | {"locale": locale} for row in chosen[:count]]
            (data / locale / split).mkdir(parents=True)
            datasets.Dataset.from_list(table, features).to_parquet(data / locale / split / "0000.parquet")
    for name in ("xlm-roberta-base", "FacebookAI--xlm-roberta-large", "xlm-roberta-large"):
        folder = home / "hub" / f"models--{name}"
        shutil.copytree(tiny_base, folder / "snapshots" / commit)
        (folder / "refs").mkdir()
        (folder / "refs/main").write_text(commit)
    return home


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the tracked files."""
    folder = tmp_path_factory.mktemp("bare") / "checkout"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, text=True, capture_output=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


class Shell:
    """Runs lines in a checkout that is not installed."""

    def __init__(self, checkout: Path, hub: Path, output: Path):
        self.checkout, self._output, self._lines = checkout, output, 0
        self._zygote = Zygote(checkout, HF_HOME=str(hub))
        self.close = self._zygote.close

    def run(self, line: str) -> subprocess.CompletedProcess:
        self._lines += 1
        words = shlex.split(line, comments=True)
        variables = dict(word.split("=", 1) for word in words[: words.index("python")])
        script, *flags = words[words.index("python") + 1 :]
        output = self._output / str(self._lines)
        output.mkdir()
        return Started(self._zygote, script, flags, self.checkout, output, WANDB_MODE="offline", **variables).end()


@pytest.fixture(scope="module")
def shell(checkout, hub, tmp_path_factory):
    opened = Shell(checkout, hub, tmp_path_factory.mktemp("output"))
    yield opened
    opened.close()


def small(line: str, number: int, checkout: Path) -> str:
    for pattern, stands_in in SUBSTITUTIONS:
        line = re.sub(pattern, stands_in, line)

    def newest(found: re.Match) -> str:
        files = sorted(checkout.glob(found[1]), key=os.path.getmtime)
        return f"{files[-1].relative_to(checkout)}{'/' * files[-1].is_dir()}"

    return re.sub(r"\{newest (.*?)\}", newest, line).replace("{line}", f"line{number}")


def add_sources(shell: Shell) -> None:
    """The fine-tuned models that the seed takes for granted: one trained, the others the same start plus noise."""
    for base in ("xlm-roberta-base", "FacebookAI/xlm-roberta-large"):
        name, models = base.split("/")[-1], shell.checkout / "haryos_model"
        folders = [models / f"{name}_massive_k_{locale}" for locale in ("fr-FR", "de-DE", "es-ES", "it-IT", "nl-NL", "en-US", "th-TH")]
        done = shell.run(f"python merginguriel/train_missing_models.py --base-model {base} --locales fr-FR --epochs 1")
        assert done.returncode == 0, done.stderr
        make_noisy_sources(models / f"init/{name}_seed42", folders[1:])


def test_the_seeds_lines_in_their_order(shell, checkout):
    import time
    add_sources(shell)
    failed = []
    for number, line in enumerate(LINES, 1):
        if line.startswith(tuple(NOT_RUN)):
            continue
        begun = time.monotonic()
        done = shell.run(small(line, number, checkout))
        print(f"{time.monotonic()-begun:.1f}", done.returncode, line)
        if done.returncode:
            failed.append(f"{line}\n{done.stdout[-1000:]}\n{done.stderr[-1500:]}")
            print(failed[-1])
    assert not failed, "\n\n".join(failed)
