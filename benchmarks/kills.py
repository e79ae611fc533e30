"""Kill every command that takes time at random moments, start it again until it ends, and compare what it leaves.

    python benchmarks/kills.py --kills 200 --csv docs/results/kills.csv

Needs the test extra; sources and encoder are those of the tests, and scripts are forks of tests/zygote.py. A round is a
fresh folder: the command is begun, one of SIGKILL, SIGTERM and Ctrl+C (SIGINT to its whole process group) is sent after
a random while, and it is begun again, until one run ends by itself. Then

- equal: every file has the bytes that an undisturbed run leaves, but for FIELDS and nanoseconds in JSON, TIMES in text
  and names; nothing else is there, no process is left;
- kept: no finished piece (KEPT) that stood when the command was killed has been written again.

`full disk` rows run on a tmpfs that is too small, must end with one line, and go on when it has grown: Linux, as root.
"""

import argparse
import contextlib
import csv
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[1:1] = [str(ROOT), str(ROOT / "submodules/auto_merge_llm"), str(ROOT / "tests")]

from noisy_sources import make_noisy_sources  # noqa: E402
from running import Started, Zygote  # noqa: E402
from tiny_encoder import make_tiny_encoder  # noqa: E402

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# Of records: when, how long, where; a job's hash rests on when the models that it takes were written.
FIELDS = {"timestamp", "seconds", "job", "merge_duration", "total_merge_time", "average_merge_time"}
FIELDS |= {
    f"{part}_{speed}" for part in ("train", "eval") for speed in ("runtime", "samples_per_second", "steps_per_second")
}
TIMES = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?|\d{8}_\d{6}")
KEPT = {
    "results.json",
    "training.json",
    "merge_details.json",
    "adaptation.json",
    "model.safetensors",
    "predictions.npz",
}
SOURCES = ("nl-NL", "de-DE", "en-US", "id-ID")
BASE = "xlm-roberta-base"  # the usual one, of which the names of folders say nothing
MINI = f"--dataset-name mini --base-model {BASE}"
FEW = f"{MINI} --num-fisher-examples 40"
SHORT = "--additional-args --max_train_samples 48 --max_eval_samples 24 --save_strategy epoch"


@dataclass
class Case:
    """A command, and the commands that make what it works on. `base` stands for the encoder's folder."""

    name: str
    line: str
    before: tuple[str, ...] = ()
    on_ray: bool = False
    seconds: float = 0.0
    size: int = 0
    expected: dict[str, str] = field(default_factory=dict)


SWEEP = (
    f"run_large_scale_experiment.py --locales af-ZA es-ES --modes average fisher ties regmean --num-languages 2 3 {FEW}"
)
CASES = (
    Case(
        "train",
        "training_bert.py --model_name_or_path {base} --dataset_name mini --dataset_config_name nl-NL,de-DE "
        "--output_dir trained --num_train_epochs 4 --max_train_samples 64 --max_eval_samples 24 "
        "--max_predict_samples 24 "
        "--save_strategy epoch --do_train --do_eval --do_predict",
    ),
    Case(
        "train a batch",
        f"train_missing_models.py --base-model {{base}} --dataset-name mini --models-root batch --epochs 2 "
        f"--locales nl-NL de-DE af-ZA --workers 2 {SHORT}",
        on_ray=True,
    ),
    Case(
        "train all but one",
        "run_multilang_training.py --base-model {base} --dataset-name mini --models-root batch "
        f"--locales nl-NL,de-DE,af-ZA --all-lolo {SHORT} --num_train_epochs 2",
    ),
    Case(
        "train in turns",
        "run_iterative_training.py --mode similarity --target-lang af-ZA --locales nl-NL,de-DE "
        "--dataset-name mini --model-name-or-path {base} --models-root batch --max-epochs 3 "
        "--merge-frequency 1 --max-train-samples 48 "
        "--output-dir turns",
    ),
    Case(
        "train in turns, sweep",
        "run_large_scale_iterative_training.py --target-languages af-ZA es-ES --locales nl-NL,de-DE "
        "--dataset-name mini --model-name-or-path {base} --models-root batch --max-epochs 2 "
        "--merge-frequency 1 --max-train-samples 48 "
        "--output-dir turns --workers 2",
        on_ray=True,
    ),
    Case(
        "merge", f"run_merging_pipeline_refactored.py --mode fisher_dataset --target-lang af-ZA --num-languages 3 {FEW}"
    ),
    Case(
        "merge and adapt",
        f"run_merging_pipeline_refactored.py --mode average --target-lang af-ZA --num-languages 3 {MINI} --adapt vote "
        "--adapt-examples 64 --adapt-epochs 3 --adapt-rounds 2",
    ),
    Case(
        "adapt",
        f"adapt_to_target.py --model haryos_model/xlm-roberta-base_massive_k_nl-NL "
        f"--targets af-ZA es-ES --teachers de-DE,en-US {MINI} "
        "--adapt-examples 64 --adapt-epochs 3 --adapt-rounds 2 --workers 2",
        on_ray=True,
    ),
    Case("N×N", f"run_nxn_evaluation.py --split validation {MINI}", on_ray=True),
    Case("votes", f"uriel_ensemble_inference.py --target-lang af-ZA --voting-method all --num-languages 3 {MINI}"),
    Case(
        "votes, sweep",
        "run_large_scale_ensemble_experiments.py --target-languages af-ZA es-ES --voting-methods majority soft "
        f"uriel_logits --num-languages 3 {MINI}",
        on_ray=True,
    ),
    Case("sweep", SWEEP + " --keep-measurements --keep-merged --workers 2", on_ray=True),
    Case("aggregate", "aggregate_results.py --output-dir tables", before=(SWEEP,)),
    Case("report", "report.py --output report.html", before=(SWEEP,)),
    Case("plot", "plot_results.py --plot-types summary --experiment-types average", before=(SWEEP,)),
)


class Bench:
    """Folders to work in, and the process that scripts are forked from."""

    def __init__(self, folder: Path):
        self.folder, self.base, self.models = folder, folder / BASE, folder / "models"
        make_tiny_encoder(self.base)
        self._make_sources()
        self.zygote = Zygote()
        (folder / "output").mkdir()

    def _make_sources(self) -> None:
        from merginguriel.utils.data.massive import MASSIVE
        from merginguriel.utils.models import initial
        from merginguriel.utils.models.store import ModelStore

        store = ModelStore(str(self.base), MASSIVE, self.models)
        make_noisy_sources(initial.initial_checkpoint(store, 42), map(store.folder, SOURCES))

    def begin(self, line: str, folder: Path) -> Started:
        script, *flags = (str(self.base) if word == "{base}" else word for word in line.split())
        return Started(self.zygote, f"merginguriel/{script}", flags, folder, self.folder / "output")

    def fresh(self, case: Case, folder: Path) -> Path:
        """`folder` as it is before the command."""
        made = self.folder / f"before {case.name}"
        if not made.exists():
            shutil.copytree(self.models, made / "haryos_model")
            for line in case.before:
                done = self.begin(line, made).end()
                assert done.returncode == 0, done.stderr
        shutil.copytree(made, folder, dirs_exist_ok=True)
        return folder

    def know(self, case: Case) -> None:
        """What undisturbed runs leave, and how long they take; two, which must agree, so that nothing else is asked."""
        found = []
        for number in range(2):
            shutil.rmtree(self.folder / f"undisturbed {number}", ignore_errors=True)
            folder = self.fresh(case, self.folder / f"undisturbed {number}")
            start = time.monotonic()
            done = self.begin(case.line, folder).end()
            case.seconds = time.monotonic() - start
            assert done.returncode == 0, f"{case.line}\n{done.stdout}{done.stderr}"
            found.append(contents(folder))
            case.size = size_of(folder)
            shutil.rmtree(folder)
        assert not different(*found), f"{case.name}: undisturbed runs differ: {different(*found)}"
        case.expected = found[0]


def size_of(folder: Path) -> int:
    return sum(max(4096, file.stat().st_size) for file in folder.rglob("*"))


def contents(folder: Path) -> dict[str, str]:
    """Path without times -> hash of what is in it without times; one of files whose names differ in time alone."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = TIMES.sub("<time>", str(path.relative_to(folder)))
        told = "folder" if path.is_dir() else hashlib.sha256(timeless(path, folder)).hexdigest()
        if found.setdefault(name, told) != told:
            found[name] = "several"
    return found


def timeless(path: Path, folder: Path) -> bytes:
    if path.suffix not in (".json", ".txt", ".md", ".csv", ".html", ".tex"):
        return path.read_bytes()
    text = path.read_text(encoding="utf-8").replace(str(folder), "<folder>")
    if path.suffix == ".json":
        text = json.dumps(without_times(json.loads(text)), indent=1)
    return TIMES.sub("<time>", text).encode()


def without_times(value):
    if isinstance(value, int) and value > 10**17:  # when a file was written, in nanoseconds
        return 0
    if isinstance(value, dict):
        return {name: without_times(part) for name, part in value.items() if name not in FIELDS}
    return [without_times(part) for part in value] if isinstance(value, list) else value


def different(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def finished(case: Case, folder: Path) -> dict[Path, tuple[int, int]]:
    """The finished pieces: (inode, time of the last change); of merges whose models are kept, where both are there."""
    found = {}
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") or part.endswith((".training", ".adapting")) for part in path.parts)
        model = folder / "merged_models" / path.parent.name
        alone = "--keep-merged" in case.line and "_merge_" in model.name and not model.exists()
        if path.name in KEPT and not hidden and not alone:
            found[path] = (path.stat().st_ino, path.stat().st_mtime_ns)
    return found


@dataclass
class Count:
    """Of a row of the table."""

    rounds: int = 0
    hits: int = 0
    resumed: int = 0
    kept: int = 0
    equal: int = 0
    signals: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def end_by(process: Started, sent: signal.Signals) -> None:
    """Ctrl+C goes to all that the terminal started."""
    with contextlib.suppress(ProcessLookupError):
        process.kill(sent, group=sent == signal.SIGINT)


def leaves_processes(process: Started, seconds: float = 30) -> bool:
    """Whether somebody of its group is still there after a while."""
    for _ in range(int(seconds / 0.1)):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


def with_flags(line: str, more: str) -> str:
    """What stands after --additional-args is another command's."""
    own, additional, others = line.partition(" --additional-args")
    return own + more + additional + others


def one_round(bench: Bench, case: Case, draw: random.Random, count: Count) -> None:
    folder = bench.fresh(case, Path(tempfile.mkdtemp(prefix="round ", dir=bench.folder)))
    stood: dict[Path, tuple[int, int]] = {}
    begun, hits = [], 0
    while True:
        process = bench.begin(case.line, folder)
        begun.append(process)
        until = time.monotonic() + draw.uniform(0, case.seconds)
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        if process.poll() is not None or hits == 4:
            break
        sent = draw.choice(SIGNALS)
        end_by(process, sent)
        done = process.end(60)
        if done.returncode == 0:  # too late for it
            break
        hits, count.hits = hits + 1, count.hits + 1
        count.signals[sent.name] += 1
        stood |= finished(case, folder)
        if "Traceback" in done.stderr or (sent == signal.SIGINT and done.returncode not in (130, -2)):
            count.faults.append(f"{case.name}, {sent.name}: exit {done.returncode}: {done.stderr[-600:]}")
    done = process.end()
    check_end(
        case, folder, done, stood, count, leaves_processes(process) or any(leaves_processes(one) for one in begun)
    )
    count.resumed += hits


def check_end(case: Case, folder: Path, done, stood: dict, count: Count, processes: bool) -> None:
    """Judge a round by what it left, and remove that where it is as it should be."""
    now, faults = finished(case, folder), []
    # What is not there at all any more is a difference, if it should be.
    again = [str(path.relative_to(folder)) for path, told in stood.items() if now.get(path, told) != told]
    differing = different(contents(folder), case.expected)
    if done.returncode:
        faults.append(f"exit {done.returncode}: {done.stderr[-600:]}")
    faults += [f"written again: {again}"] if again else []
    faults += [f"different: {differing}"] if differing else []
    faults += ["a process is left"] if processes else []
    count.rounds += 1
    count.kept += not again
    count.equal += not differing and not done.returncode and not processes
    count.faults += [f"{case.name}: {fault} ({folder})" for fault in faults]
    if not faults:
        shutil.rmtree(folder)


def full_disk(bench: Bench, case: Case, draw: random.Random, count: Count) -> None:
    """The command on a disk that is too small; then it grows."""
    folder = Path(tempfile.mkdtemp(prefix="disk ", dir=bench.folder))
    before = size_of(bench.fresh(case, bench.folder / "measured"))
    shutil.rmtree(bench.folder / "measured")
    size = before + int((case.size - before) * draw.uniform(0.1, 0.9))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size + 65536}", "tmpfs", str(folder)], check=True)
    try:
        done = bench.begin(case.line, bench.fresh(case, folder)).end()
        if done.returncode == 0:
            return  # there was room enough after all
        count.hits += 1
        stood = finished(case, folder)
        if "Traceback" in done.stderr or "no space left" not in (done.stderr + done.stdout).lower():
            count.faults.append(f"{case.name}, full disk: exit {done.returncode}: {done.stderr[-900:]}")
        subprocess.run(["mount", "-o", f"remount,size={case.size * 4}", str(folder)], check=True)
        process = bench.begin(case.line, folder)
        rounds = count.rounds
        check_on_disk(case, folder, process, stood, count)
        count.resumed += count.rounds - rounds
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def check_on_disk(case: Case, folder: Path, process: Started, stood: dict, count: Count) -> None:
    """As `check_end`, without removing the mount."""
    done = process.end()
    with contextlib.suppress(OSError):
        check_end(case, folder, done, stood, count, leaves_processes(process))


@contextlib.contextmanager
def ray_cluster():
    """The flags that choose it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        yield f" --backend ray --address {cluster.address}"
    finally:
        cluster.shutdown()


HEADER = ("command", "disturbed by", "disturbances", "resumed", "rounds", "kept", "equal")


class Table:
    """The counts of every row."""

    def __init__(self):
        self.counts: dict[tuple[str, str], Count] = {}

    def of(self, case: Case, how: str) -> Count:
        return self.counts.setdefault((case.name, how), Count())

    def hits(self, how: str) -> int:
        return sum(count.hits for (_, by), count in self.counts.items() if by == how)

    def rows(self) -> list[tuple]:
        rows = [
            (name, how, count.hits, count.resumed, count.rounds, count.kept, count.equal)
            for (name, how), count in sorted(self.counts.items(), key=lambda item: item[0][1])
        ]
        return [*rows, ("all", "", *(sum(row[column] for row in rows) for column in range(2, 7)))]

    def write(self, path: Path) -> None:
        with open(path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([HEADER, *self.rows()])

    def show(self) -> None:
        for row in [HEADER, *self.rows()]:
            print(f"{row[0]:<24}{row[1]:<16}" + "".join(f"{cell:>14}" for cell in row[2:]))
        signals = sum((count.signals for count in self.counts.values()), Counter())
        print("signals:", ", ".join(f"{number} {name}" for name, number in sorted(signals.items())))
        print(f"left out of comparison: fields {', '.join(sorted(FIELDS))}; {TIMES.pattern} in text and names")
        for count in self.counts.values():
            print(*(f"FAULT {fault}" for fault in count.faults), sep="\n", end="\n" if count.faults else "")


def rounds_of(
    bench: Bench, cases: list[Case], how: str, wanted: int, args: argparse.Namespace, table: Table, turn
) -> None:
    """Case after case until there are so many disturbances, or the time is over."""
    number = 0
    while cases and table.hits(how) < wanted and time.monotonic() < args.until and number < 20 * wanted:
        case = cases[number % len(cases)]
        if not case.expected:
            bench.know(case)
        turn(case, random.Random(f"{args.seed} {how} {number}"), table.of(case, how))
        number += 1
        print(f"\r{how}: {table.hits(how)} of {wanted}, {case.name}" + " " * 30, end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="over all commands, on this machine's own workers")
    parser.add_argument(
        "--ray-kills", type=int, default=20, help="of commands with --backend ray, on a cluster of its own"
    )
    parser.add_argument("--full-disks", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=60, help="no round begins after so long")
    parser.add_argument("--commands", nargs="+", choices=[case.name for case in CASES], help="only these")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--csv", type=Path, help="where the table goes")
    args = parser.parse_args()
    args.until = time.monotonic() + 60 * args.minutes
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    cases = [case for case in CASES if not args.commands or case.name in args.commands]
    folder, table = Path(tempfile.mkdtemp(prefix="kills ")), Table()
    bench = Bench(folder)
    try:
        rounds_of(bench, cases, "signals", args.kills, args, table, lambda *turn: one_round(bench, *turn))
        rounds_of(bench, cases, "full disk", args.full_disks, args, table, lambda *turn: full_disk(bench, *turn))
        if args.ray_kills:
            with ray_cluster() as flags:
                of_ray = [
                    replace(case, line=with_flags(case.line.replace(" --workers 2", ""), flags), expected={})
                    for case in cases
                    if case.on_ray
                ]
                rounds_of(
                    bench, of_ray, "signals, Ray", args.ray_kills, args, table, lambda *turn: one_round(bench, *turn)
                )
    finally:
        bench.zygote.close()
        table.show()
        if args.csv:
            table.write(args.csv)
    faults = sum(len(count.faults) for count in table.counts.values())
    if not faults:
        shutil.rmtree(folder)
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
