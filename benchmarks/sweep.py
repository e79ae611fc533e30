"""A sweep beside the original's way: a process a merge, the merged model written, a process an evaluation.

The original's way is run on some of the merges, and its mean stands for all. It loads the sources with transformers'
from_pretrained, merges their state dicts and saves the model; its evaluation is a plain loop over batches of 32 in file
order, padded to their longest text. Modes that measure on data are merged by this toolkit's own command. A second peer
is that command, which streams, for all modes, with the same evaluation.

The sweep also evaluates every source on its targets; ratios are given for the merges alone, and with those evaluations
counted the peer too, a process each. Everything is timed as commands, from the start of the interpreter on. Without
--models-root, sources are the initial checkpoint plus noise.

    python benchmarks/sweep.py --base-model DIR --dataset-name DIR --targets af-ZA,nl-NL --workers 1 2 \
        --output sweep.json
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from commands import ROOT, call, languages, toolkit_environment

from merginguriel.utils.data import language_arguments
from merginguriel.utils.data.task_file import task_tokens
from merginguriel.utils.flags import flag_groups
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.merging import modes
from merginguriel.utils.models.store import ModelStore
from merginguriel.utils.storage import argument_types, atomic
from merginguriel.utils.storage.environment import run_environment

MODES = ("similarity", "average", "ties", "task_arithmetic", "slerp", "dare")


def build_parser():
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-model", metavar="NAME", help="Hub id or folder of the base model")
    flag_groups.add_task(parser)
    parser.add_argument("--models-root", type=Path, help="sources that are there already")
    parser.add_argument("--targets", type=language_arguments.locale_list, help="default: the task's first six")
    parser.add_argument("--sources", type=language_arguments.locale_list, help="to be made (default: the targets)")
    parser.add_argument("--modes", nargs="+", default=list(MODES))
    parser.add_argument("--num-languages", nargs="+", type=argument_types.positive_int, default=[5])
    parser.add_argument("--similarity-matrix", type=Path, help="CSV of cosines, where lang2vec is not installed")
    parser.add_argument(
        "--workers", nargs="+", type=argument_types.positive_int, default=[1], help="sweeps to be timed"
    )
    parser.add_argument(
        "--original-jobs", type=argument_types.whole_number, default=2, help="merges the original's way"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the results of the last sweep are put")
    parser.add_argument("--output", type=Path, help="JSON, written as it goes")
    return parser


def make_sources(store: ModelStore, locales: list[str]) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from merginguriel.utils.models import initial

    start = initial.initial_checkpoint(store, 42)
    values = load_file(start / "model.safetensors")
    for seed, locale in enumerate(locales):
        folder = store.folder(locale)
        shutil.copytree(start, folder)
        torch.manual_seed(seed)
        save_file(
            {name: tensor + 0.01 * torch.randn_like(tensor) for name, tensor in values.items()},
            folder / "model.safetensors",
            metadata={"format": "pt"},
        )


def merge_plainly(mode: str, output: str, base: str, *sources: str) -> None:
    """One merge, alone in its process, with equal weights."""
    from auto_merge_llm.merge import merge_state_dicts
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    method = modes.method_of(mode)
    loaded = {
        path: AutoModelForSequenceClassification.from_pretrained(path, trust_remote_code=False) for path in sources
    }
    start = (
        AutoModelForSequenceClassification.from_pretrained(base, trust_remote_code=False).state_dict()
        if method.needs_base
        else None
    )
    merged = merge_state_dicts(
        method,
        {path: model.state_dict() for path, model in loaded.items()},
        dict.fromkeys(sources, 1 / len(sources)),
        base=start,
    )
    model = loaded[sources[0]]
    model.load_state_dict(merged)
    model.save_pretrained(output)
    AutoTokenizer.from_pretrained(sources[0], trust_remote_code=False).save_pretrained(output)


def evaluate_plainly(model_path: str, locale: str, *task_flags: str) -> None:
    """One model on one locale, alone in its process."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = (
        AutoModelForSequenceClassification.from_pretrained(
            model_path, dtype=torch.bfloat16 if device == "cuda" else torch.float32, trust_remote_code=False
        )
        .to(device)
        .eval()
    )
    tokenizer = AutoTokenizer.from_pretrained(model_path, trust_remote_code=False)
    parser = ArgumentParser()
    flag_groups.add_task(parser)
    task = flag_groups.read_task(parser.parse_args(task_flags))
    split, hits = task.load(locale, "test"), 0
    with torch.no_grad():
        for start in range(0, len(split), 32):
            batch = tokenizer(
                split.texts[start : start + 32],
                padding=True,
                truncation=True,
                return_tensors="pt",
                max_length=min(512, model.config.max_position_embeddings - 2),
            )
            predicted = model(**batch.to(device)).logits.argmax(-1).tolist()
            hits += sum(map(int.__eq__, predicted, split.labels[start : start + 32]))
    print(hits / len(split))


def timed(*line) -> float:
    """Seconds of a command."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *map(str, line)],
        env=toolkit_environment(),
        text=True,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, line))}\n{done.stdout[-3000:]}")
    return time.perf_counter() - start


def main(argv=None):
    args = build_parser().parse_args(argv)
    task = flag_groups.read_task(args)
    targets = languages(args.targets, task, 6)
    report = {"environment": run_environment(), "cores": len(os.sched_getaffinity(0)), "arguments": args.tokens}

    def keep(line: str) -> None:
        print(line, flush=True)
        if args.output:
            atomic.write_json(args.output, report)

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        store = ModelStore(task.base_model(args.base_model), task, args.models_root or folder / "models")
        if args.models_root is None:
            make_sources(store, args.sources or targets)
        data = task_tokens(task)
        shared = ["--base-model", store.base_model, *data, "--models-root", store.root, "--selection", "cosine"]
        shared += ["--similarity-matrix", args.similarity_matrix] if args.similarity_matrix else []
        report["sweeps"] = []
        for workers in args.workers:
            results = folder / f"sweep{workers}"
            seconds = timed(
                ROOT / "merginguriel/run_large_scale_experiment.py",
                *shared,
                "--locales",
                ",".join(targets),
                "--modes",
                *args.modes,
                "--num-languages",
                *args.num_languages,
                "--workers",
                workers,
                "--results-dir",
                results,
            )
            names = atomic.read_json(results / "experiment_final_results.json")["accuracies"]
            merges = sum("_merge_" in name for name in names)
            report["sweeps"].append(
                {
                    "workers": workers,
                    "seconds": seconds,
                    "merges": merges,
                    "evaluations_of_single_models": len(names) - merges,
                    "jobs_a_minute": 60 * len(names) / seconds,
                }
            )
            keep(
                f"sweep, workers {workers}: {seconds:.1f} s, {merges} merges and "
                f"{len(names) - merges} single models, {60 * len(names) / seconds:.1f} jobs a minute"
            )
            if args.keep:
                shutil.copytree(results, args.keep, dirs_exist_ok=True)
        report["original"] = []
        pairs = [(targets[number % len(targets)], mode) for number, mode in enumerate(args.modes) if mode != "baseline"]
        start, count = store.initial(42), args.num_languages[0]
        for target, mode in pairs[: args.original_jobs]:
            measures = modes.needs_text(modes.mode_named(mode))
            streaming = timed(
                ROOT / "merginguriel/run_merging_pipeline_refactored.py",
                *shared,
                "--mode",
                mode,
                "--target-lang",
                target,
                "--num-languages",
                count,
                "--no-eval",
                "--output-dir",
                folder / "merged",
            )
            plan = atomic.read_json(folder / "merged/merge_details.json")["plan"]
            writing = (
                streaming
                if measures
                else timed(
                    __file__, "merge", mode, folder / "plain", start, *(source["path"] for source in plan["sources"])
                )
            )
            evaluating = timed(__file__, "evaluate", folder / ("merged" if measures else "plain"), target, *data)
            for name in ("merged", "plain"):
                shutil.rmtree(folder / name, ignore_errors=True)
            report["original"].append(
                {"target": target, "mode": mode, "merging": writing, "streaming": streaming, "evaluating": evaluating}
            )
            keep(
                f"original's way, {mode} for {target}: merging {writing:.1f} s (our command {streaming:.1f} s), "
                f"evaluating {evaluating:.1f} s"
            )
        for sweep in report["sweeps"] if report["original"] else ():
            for peer, way in (("original's way", "merging"), ("our commands", "streaming")):
                merges, everything = sweep[peer] = compare(report["original"], way, sweep)
                keep(
                    f"{peer}, one after the other, to the sweep with {sweep['workers']} workers: {merges:.1f} for the "
                    f"merges alone, {everything:.1f} with the single models"
                )


def compare(jobs: list[dict], way: str, sweep: dict) -> tuple[float, float]:
    """Seconds of `way` to those of the sweep: (merges alone, with the single models)."""
    merge, single = (statistics.mean(job[part] for job in jobs) for part in (way, "evaluating"))
    merges = sweep["merges"] * (merge + single) / sweep["seconds"]
    return merges, merges + sweep["evaluations_of_single_models"] * single / sweep["seconds"]


if __name__ == "__main__":
    alone = {"merge": merge_plainly, "evaluate": evaluate_plainly}.get(*sys.argv[1:2] or [""])
    if alone:
        alone(*sys.argv[2:])
    else:
        call(main)
