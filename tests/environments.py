"""The quick tests in fresh virtual environments, one for each Python and transformers, and models carried between them.

    pip install uv
    python tests/environments.py                                    # everything; adds to docs/results/environments.csv
    python tests/environments.py --python 3.12 --transformers 5
    python tests/environments.py --python 3.10 --transformers lowest    # the lowest versions that pyproject.toml admits

What is tested is the wheel that `pip install .` would build. uv finds the interpreters, or fetches those that are
missing where it may. Where there is no GPU, UV_TORCH_BACKEND=cpu saves gigabytes. Minutes an environment; not in CI.
"""

import argparse
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from itertools import permutations, product
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "docs/results", ROOT / "docs/installing.md"
TABLES = ("environments", "environments_carried")
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
TRANSFORMERS = {"4": "transformers==4.57.*", "5": "transformers==5.*"}
LOWEST = "lowest"
# Loading, saving, tokenizers, training, evaluation and merging: what other versions of libraries may change.
QUICK = (
    "merge_library/test_folder_checks.py",
    "merge_library/test_merge_checkpoint.py",
    "merge_library/test_regmean.py",
    "test_encoders.py",
    "test_evaluation.py",
    "test_foreign_models.py",
    "test_loading.py",
    "test_python_api.py",
    "test_readers.py",
    "test_training.py",
)
SOURCES = ("nl-NL", "de-DE", "en-US")
TARGETS = ("af-ZA", "nl-NL")
MERGED = Path("merged_models/average_merge_af-ZA_3merged")
TRAIN = "--epochs 3 --lr 1e-3 --train-bs 32 --additional-args --do-train --save-strategy no"
# Logits of one model in two versions of transformers, whose kernels may sum in another order.
TOLERANCE = 1e-4


class NotRunError(Exception):
    """Why an environment could not be had."""


class Environment:
    """A virtual environment with the wheel and its test extra in it."""

    def __init__(self, python: str, transformers: str, wheel: Path, torch: list[str], folder: Path):
        """Raises NotRunError where there is no interpreter, or no set of wheels."""
        self.folder = folder / f"python-{python}-transformers-{transformers}"
        self._try("no interpreter", "uv", "venv", "--quiet", "--clear", "--python", python, self.folder)
        install = ["uv", "pip", "install", "--quiet", "--python", self._program("python")]
        if transformers == LOWEST:
            asked = ["--resolution", "lowest-direct", "--requirements", ROOT / "pyproject.toml", "--extra", "test"]
            self._try("no such packages", *install, *asked)
            self._try("no such packages", *install, "--no-deps", wheel)
        else:
            self._try("no such packages", *install, f"{wheel}[test]", TRANSFORMERS[transformers], *torch)

    def _program(self, name: str) -> Path:
        return self.folder / ("Scripts" if os.name == "nt" else "bin") / name

    def _try(self, failure: str, *command) -> None:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotRunError(f"{failure}: {' '.join(done.stderr.split())[:600]}")

    def run(self, program: str, *arguments, folder: Path, settings: dict[str, str]) -> subprocess.CompletedProcess:
        """A program of the environment, without the checkout among its modules."""
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [str(self._program(program)), *map(str, arguments)],
            cwd=folder,
            env={**inherited, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **settings},
            capture_output=True,
            text=True,
            check=False,
        )

    def versions(self) -> dict[str, str]:
        """Of python, torch and transformers."""
        code = (
            "import json, platform; from importlib.metadata import version\n"
            "told = {name: version(name).partition('+')[0] for name in ('torch', 'transformers')}\n"
            "print(json.dumps({'python': platform.python_version(), **told}))"
        )
        return json.loads(self.run("python", "-c", code, folder=self.folder, settings={}).stdout)

    def command(self, line: str, folder: Path) -> None:
        """`merginguriel line` on the mini corpus, in `folder`; ends everything where it fails."""
        name, *flags = line.split()
        done = self.run("merginguriel", name, "--dataset-name", "mini", *flags, folder=folder, settings={})
        if done.returncode:
            raise SystemExit(f"{self.folder.name}: merginguriel {line}: exit code {done.returncode}\n{done.stderr}")


def test(environment: Environment, workers: int) -> dict[str, int]:
    """How many of the quick tests passed, failed and were skipped; what failed is printed."""
    report = environment.folder / "tests.xml"
    tests = [ROOT / "tests" / name for name in QUICK]
    flags = ["-q", "-p", "no:cacheprovider", "-n", workers, "--junit-xml", report]
    done = environment.run("pytest", *flags, *tests, folder=ROOT, settings={})
    (environment.folder / "tests.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    if not report.exists():
        raise NotRunError(f"pytest ended with {done.returncode}: {done.stdout[-600:]}{done.stderr[-600:]}")
    suite = ElementTree.parse(report).getroot()[0]
    for line in done.stdout.splitlines():
        if line.startswith(("FAILED", "ERROR")):
            print(f"  {line}", flush=True)
    total, failures, errors, skipped = (int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped"))
    return {"passed": total - failures - errors - skipped, "failed": failures + errors, "skipped": skipped}


def make_models(environment: Environment, folder: Path) -> None:
    """Train three sources of the mini encoder, merge them and evaluate the merge."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    environment.command(f"train-missing --locales {' '.join(SOURCES)} --workers 1 {TRAIN}", folder)
    read_models(environment, folder, folder)


def read_models(environment: Environment, models: Path, folder: Path) -> None:
    """Merge the sources of `models`, and evaluate the merge of `models` and the first source."""
    folder.mkdir(exist_ok=True)
    sources = f"--models-root {models / 'haryos_model'}"
    environment.command(f"merge --mode average --target-lang {TARGETS[0]} --num-languages 3 {sources}", folder)
    for model in (models / MERGED, models / "haryos_model/mini_massive_k_nl-NL"):
        environment.command(f"evaluate --base-model {model} --locale {' '.join(TARGETS)} --results-dir again", folder)


def compare(written: Path, read: Path) -> dict:
    """What two versions made of the same models."""
    import numpy as np

    same, items, difference = 0, 0, 0.0
    for theirs in sorted((written / "again").glob("*/predictions.npz")):
        with np.load(theirs) as one, np.load(read / theirs.relative_to(written)) as two:
            same += int((one["predictions"] == two["predictions"]).sum())
            items += len(one["predictions"])
            difference = max(difference, float(np.abs(one["logits"] - two["logits"]).max()))
    weights = MERGED / "model.safetensors"
    equal = (written / weights).read_bytes() == (read / weights).read_bytes()
    return {"texts": items, "same": same, "logits": f"{difference:.1e}", "merge": "equal" if equal else "other"}


def carry(environments: list[Environment], folder: Path) -> list[dict]:
    """Models of the first environment are merged and evaluated in the last, and the reverse; a row for each."""
    rows, environments = [], [environments[0], environments[-1]]
    for environment in environments:
        make_models(environment, folder / f"made-in-{environment.folder.name}")
    for writer, reader in permutations(environments, 2):
        written = folder / f"made-in-{writer.folder.name}"
        read = folder / f"{reader.folder.name}-reads-{writer.folder.name}"
        shutil.rmtree(read, ignore_errors=True)
        read_models(reader, written, read)
        names = {"written_by": writer.versions(), "read_by": reader.versions()}
        told = {role: f"{made['transformers']}, Python {made['python']}" for role, made in names.items()}
        rows.append({**told, **compare(written, read), "date": today()})
        print("  carried:", rows[-1], flush=True)
    return rows


def today() -> str:
    return datetime.now(timezone.utc).date().isoformat()


def add_rows(path: Path, rows: list[dict], key: tuple[str, ...]) -> None:
    """Put one row or more into a CSV; those of the same key are replaced."""
    kept = {}
    if path.exists():
        with open(path, newline="", encoding="utf-8") as lines:
            kept = {tuple(row[name] for name in key): row for row in csv.DictReader(lines)}
    kept |= {tuple(row[name] for name in key): row for row in rows}

    def order(row) -> list[str]:
        return [re.sub(r"\d+", lambda number: number[0].zfill(4), row[name]) for name in key]

    with open(path, "w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, next(iter(kept.values())), lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(kept.values(), key=order))


def table(name: str) -> str:
    """The page's table of results NAME.csv."""
    with open(RESULTS / f"{name}.csv", newline="", encoding="utf-8") as lines:
        header, *rows = csv.reader(lines)
    written = [[cell.replace("_", " ") for cell in header], ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in written)


def write_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in TABLES:
        if (RESULTS / f"{name}.csv").exists():
            before, mark, rest = text.partition(f"<!-- {name} -->\n")
            text = before + mark + table(name) + "<!-- end -->" + rest.partition("<!-- end -->")[2]
    PAGE.write_text(text, encoding="utf-8")


def build_wheel(folder: Path) -> Path:
    subprocess.run(["uv", "build", "--quiet", "--out-dir", str(folder), str(ROOT)], check=True)
    return next(folder.glob("*.whl"))


def run_all(args, folder: Path) -> tuple[list[Environment], int, list[str]]:
    """The environments that could be had, how many tests failed in them, and what was not run and why."""
    wheel, had, failed, not_run = build_wheel(folder / "wheel"), [], 0, []
    for python, transformers in product(args.python, args.transformers):
        name = f"Python {python}, transformers {transformers}"
        print(name, flush=True)
        try:
            environment = Environment(python, transformers, wheel, args.torch, folder)
            had.append(environment)
            if args.no_tests:
                continue
            row = {**environment.versions(), **test(environment, args.workers), "date": today()}
        except NotRunError as reason:
            not_run.append(f"not run: {name}: {reason}")
            continue
        print(" ", row, flush=True)
        add_rows(RESULTS / f"{TABLES[0]}.csv", [row], ("python", "torch", "transformers"))
        failed += row["failed"]
    return had, failed, not_run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", nargs="+", default=PYTHONS, metavar="VERSION", help="or paths of interpreters")
    parser.add_argument("--transformers", nargs="+", default=[*TRANSFORMERS], choices=[*TRANSFORMERS, LOWEST])
    parser.add_argument("--torch", nargs="*", default=[], metavar="REQUIREMENT", help="such as torch==2.13.0")
    parser.add_argument("--workers", type=int, default=2, help="of pytest")
    parser.add_argument("--no-tests", action="store_true", help="carry models between environments only")
    parser.add_argument("--no-carry", action="store_true", help="do not carry models between environments")
    parser.add_argument("--dir", type=Path, help="keep environments and output of tests here")
    args = parser.parse_args()
    if not shutil.which("uv"):
        raise SystemExit("error: no uv; pip install uv")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.dir or Path(temporary)).resolve()
        had, failed, not_run = run_all(args, folder)
        if not args.no_carry and len(had) > 1:
            add_rows(RESULTS / f"{TABLES[1]}.csv", carry(had, folder), ("written_by", "read_by"))
    write_page()
    print(*not_run, sep="\n")
    return 1 if not_run or failed else 0


if __name__ == "__main__":
    sys.exit(main())
