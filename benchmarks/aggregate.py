"""Time and memory of aggregating thousands of results: aggregate_results.py as a user runs it, in a process of its own.

The results are invented, but have the size of real ones: 2,974 items with predictions and, with --logits, logits; all
49 locales as targets; every source on every target as a baseline, and as many merges as there is room for.

    python benchmarks/aggregate.py --results 10000 --output aggregate.json
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from commands import toolkit_environment
from tqdm import tqdm

from merginguriel.utils.data.massive import MASSIVE
from merginguriel.utils.data.split import Split
from merginguriel.utils.evaluation import predictions
from merginguriel.utils.evaluation.results import Origin, label_maps, results_record
from merginguriel.utils.storage import argument_types, atomic, naming

ITEMS = 2974


def build_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=argument_types.positive_int, default=10_000, help="how many folders")
    parser.add_argument("--logits", action="store_true", help="keep logits beside predictions: 0.6 MB a result")
    parser.add_argument("--dir", type=Path, help="keep the results here (default: a temporary folder)")
    parser.add_argument("--output", type=Path, help="JSON")
    return parser


def make_results(folder: Path, count: int, with_logits: bool) -> None:
    """`count` results: a single model for every pair of locales, then one merge of five after another."""
    generator = np.random.default_rng(0)
    locales, names = MASSIVE.default_codes, MASSIVE.labels
    labels = generator.integers(len(names), size=ITEMS)
    splits = {
        locale: Split(
            locale,
            "test",
            [str(item) for item in range(ITEMS)],
            [f"{locale} text {item}" for item in range(ITEMS)],
            labels.tolist(),
            names,
        )
        for locale in locales
    }
    settings = {locale: {"precision": "float32", "data": split.fingerprint()} for locale, split in splits.items()}
    plan = [
        (f"base_massive_k_{source}_{target}", target, f"haryos_model/base_massive_k_{source}", None)
        for target in locales
        for source in locales
    ]
    for seed in range(count):
        for target in locales:
            sources = [locale for locale in locales if locale != target][seed % 40 :][:5]
            name = f"seed{seed}/{naming.merge_name('average', target, 5)}"
            plan.append(
                (
                    name,
                    target,
                    f"merged_models/{name}",
                    {
                        "mode": "average",
                        "method": "linear",
                        "target": target,
                        "base_model": "base",
                        "seed": seed,
                        "num_sources": 5,
                        "similarity": {"selection": "sinkhorn"},
                        "sources": [
                            {"locale": locale, "path": f"haryos_model/base_massive_k_{locale}", "weight": 0.2}
                            for locale in sources
                        ],
                    },
                )
            )
    for name, target, model, experiment in tqdm(plan[:count], desc="inventing results"):
        wrong = generator.random(ITEMS) < generator.uniform(0.1, 0.5)
        predicted = np.where(wrong, (labels + 1) % len(names), labels)
        logits = generator.normal(size=(ITEMS, len(names))) if with_logits else None
        (folder / name).mkdir(parents=True)
        predictions.write_predictions(
            folder / name / predictions.PREDICTIONS, splits[target].ids, labels, predicted, names, logits
        )
        origin = Origin(name, MASSIVE, model, label_maps(names), settings[target], experiment)
        atomic.write_json(folder / name / naming.RESULTS_JSON, results_record(splits[target], predicted, origin))


# Linux counts the peak of a process from its exec on; getrusage would count this one's, too.
CHILD = """import runpy, sys
try:
    runpy.run_module("merginguriel.aggregate_results", run_name="__main__", alter_sys=True)
finally:
    print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM:")), file=sys.stderr)
"""


def measure(results: Path, *flags) -> dict:
    """Seconds and peak memory of the command."""
    with tempfile.TemporaryDirectory() as output:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", CHILD, "--results-dir", results, "--output-dir", output, *flags],
            check=False,
            env=toolkit_environment(),
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(done.stderr)
    return {"seconds": seconds, "peak_mib": int(done.stderr.split("VmHWM:")[1].split()[0]) / 1024}


def main():
    args = build_parser().parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.dir or Path(temporary) / "results"
        if not folder.exists():
            make_results(folder, args.results, args.logits)
        report = {"results": args.results, "logits": args.logits}
        for name, flags in (
            ("without_baselines", ["--no-baselines"]),
            ("without_tests", ["--no-tests"]),
            ("with_tests", []),
        ):
            report[name] = measure(folder, *flags)
            print(name, json.dumps(report[name]), flush=True)
    if args.output:
        atomic.write_json(args.output, report)


if __name__ == "__main__":
    main()
