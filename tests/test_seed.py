"""The commands that the project began with run in their order from a bare checkout, on small things in place of large.

tests/seed_lines.txt has every line as its users know it. SUBSTITUTIONS is all that is changed in them. Corpus and
encoder are those of the lines, too: they come from a cache of the Hub that has a few rows for each locale of MASSIVE,
and encoders of one thin layer.
"""

import csv
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
from merginguriel.utils.data.massive_languages import DEFAULT_LOCALES, LOCALES
from merginguriel.utils.storage import naming

LINES = (ROOT / "tests/seed_lines.txt").read_text(encoding="utf-8").splitlines()
SOURCES = ("fr-FR", "de-DE", "es-ES", "it-IT", "nl-NL", "en-US", "th-TH", "sw-KE")
ITERATIVE = "python merginguriel/run_iterative_training.py --mode similarity --target-lang sw-KE --locales en-US,fr-FR"
# (pattern, what stands in its place), one after the other.
SUBSTITUTIONS = (
    # How Python is started: uv would make an environment, and fetch packages for it.
    (r"^uv run ", "python "),
    # Numbers of examples, and epochs.
    (r"--num-fisher-examples \d+", "--num-fisher-examples 20"),
    (r"--num_train_epochs \d+", "--num_train_epochs 1"),
    (r"training_bert\.py(?!.*num_train_epochs)", "training_bert.py --num_train_epochs 1"),
    (r"train_missing_models\.py(?=.*--locales)", "train_missing_models.py --epochs 1"),
    (r"(--exclude \S+|--super-model|--all-lolo)$", r"\1 --additional-args --num_train_epochs 1"),
    (r"--max-epochs (9|12|15) --merge-frequency \d", "--max-epochs 2 --merge-frequency 1"),
    # Locales: these few of all 49, and the second of them is the 25th.
    (r"run_large_scale_experiment\.py(?!.*--(locales|list))", "run_large_scale_experiment.py --locales af-ZA sq-AL"),
    (r"--start-from 25", "--start-from 1"),
    (r"(run_multilang_training\.py)", r"\1 --locales fr-FR,de-DE,en-US,sq-AL"),
    # Pictures: of one kind and two methods in place of all kinds and forty variants; other lines have each kind.
    (
        r"^python plot_results\.py$",
        "python plot_results.py --plot-types accuracy --experiment-types average fisher_simple",
    ),
    # Runs of other people and other days: the newest of ours.
    (r"nxn_results/nxn_eval_\d+_\d+/", "{newest nxn_results/*/}"),
    (r"checkpoint_results/\S+", "{newest checkpoint_results/*}"),
    # A CPU has no float16 and no memory of a GPU, and wandb wants an account.
    (r"--fp16", "--bf16"),
    (r" --max-gpu-memory \d+", ""),
    (r" --enable-wandb", ""),
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
# Part of a line -> why it is refused: nothing that is finished is lost, and the quick test before it has made this.
REFUSED = {
    "results/multilang_european_test --model_name_or_path xlm-roberta-base --num_train_epochs 10": (
        "exists already and is not this training"
    )
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory, tiny_base) -> Path:
    """HF_HOME: MASSIVE with a few rows a locale, parquet as the Hub has it, and the encoders."""
    folder, commit = tmp_path_factory.mktemp("hub"), "0" * 40
    data = folder / "hub/datasets--AmazonScience--massive/snapshots" / commit
    texts = {name: datasets.Value("string") for name in ("id", "locale", "partition", "utt")}
    features = datasets.Features({**texts, "intent": datasets.ClassLabel(names=list(massive.INTENTS))})
    for number, locale in enumerate(DEFAULT_LOCALES):
        rows = mini.records(locale if locale in mini.LOCALES else mini.LOCALES[number % len(mini.LOCALES)])
        for split, partition in (("train", "train"), ("validation", "dev"), ("test", "test")):
            few = [{**row, "locale": locale} for row in rows if row["partition"] == partition][::10]
            (data / locale / split).mkdir(parents=True)
            table = datasets.Dataset.from_list([{name: row[name] for name in features} for row in few], features)
            table.to_parquet(data / locale / split / "0000.parquet")
    for name in ("xlm-roberta-base", "xlm-roberta-large", "FacebookAI--xlm-roberta-large"):
        encoder = folder / f"hub/models--{name}"
        shutil.copytree(tiny_base, encoder / "snapshots" / commit)
        (encoder / "refs").mkdir()
        (encoder / "refs/main").write_text(commit)
    return folder


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
    """Runs lines in a checkout that is not installed, offline."""

    def __init__(self, checkout: Path, hub: Path, output: Path):
        self.checkout, self._output = checkout, output
        self._zygote = Zygote(checkout, HF_HOME=str(hub))
        self.close = self._zygote.close

    def run(self, line: str) -> subprocess.CompletedProcess:
        words = shlex.split(line, comments=True)
        python = words.index("python")
        variables = dict(word.split("=", 1) for word in words[:python])
        script, *flags = words[python + 1 :]
        return Started(self._zygote, script, flags, self.checkout, self._output, **variables).end()


@pytest.fixture(scope="module")
def shell(checkout, hub, tmp_path_factory):
    opened = Shell(checkout, hub, tmp_path_factory.mktemp("output"))
    yield opened
    opened.close()


def small(line: str, number: int, checkout: Path) -> str:
    """The line as it is run."""
    for pattern, stands_in in SUBSTITUTIONS:
        line = re.sub(pattern, stands_in, line)

    def newest(found: re.Match) -> str:
        file = max(checkout.glob(found[1]), key=os.path.getmtime)
        return f"{file.relative_to(checkout)}{'/' * found[1].endswith('/')}"

    return re.sub(r"\{newest (.*?)\}", newest, line).replace("{line}", f"line{number}")


def add_sources(shell: Shell) -> None:
    """The fine-tuned models that the lines take for granted: one is trained, others are the same start plus noise."""
    models = shell.checkout / "haryos_model"
    for base in ("xlm-roberta-base", "FacebookAI/xlm-roberta-large"):
        done = shell.run(f"python merginguriel/train_missing_models.py --base-model {base} --locales fr-FR --epochs 1")
        assert done.returncode == 0, done.stderr
        name = base.rpartition("/")[2]
        others = [models / f"{name}_massive_k_{locale}" for locale in SOURCES[1:]]
        make_noisy_sources(models / f"init/{name}_seed42", others)


def test_the_lines_run_in_their_order(shell, checkout):
    add_sources(shell)
    wrong, refused = [], 0
    for number, line in enumerate(LINES, 1):
        if line.startswith(tuple(NOT_RUN)):
            continue
        reason = next((reason for part, reason in REFUSED.items() if part in line), None)
        done = shell.run(small(line, number, checkout))
        refused += reason is not None
        if done.returncode != (2 if reason else 0) or (reason or "") not in done.stderr:
            wrong.append(f"{number}: {line}\nexit {done.returncode}\n{done.stdout[-500:]}\n{done.stderr[-1500:]}")
    assert not wrong, "\n\n".join(wrong)
    assert refused == len(REFUSED)


def test_every_entry_of_the_tables_is_needed():
    for pattern, _ in SUBSTITUTIONS:
        assert any(re.search(pattern, line.replace("uv run", "python")) for line in LINES) or "uv" in pattern, pattern
    for start in NOT_RUN:
        assert any(line.startswith(start) for line in LINES), start


def test_the_mapping_has_the_projects_locales():
    with open(ROOT / "model_mapping_unified.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["locale"] for row in rows] == list(DEFAULT_LOCALES)
    for row in rows:
        assert row["iso"] == LOCALES[row["locale"]].uriel
        assert row["model_name"] == naming.model_name(row["base_model"], "massive", row["locale"])
