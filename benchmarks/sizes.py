"""What the commands need at the sizes that people use, XLM-R base and large: seconds and memory of each.

Weights are random, texts the task's: time and memory are those of trained models. Each command is a process of its own,
timed from its start, with one worker; a tenth of a second apart, memory is read of it and all that it starts (shared
pages counted once) and of the GPU, on which nothing else should run.

    python benchmarks/sizes.py --tokenizer DIR/me5-small-xlmr --dataset-name DIR/massive --dir work --output sizes.json
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import torch
from auto_merge_llm.errors import InputError
from auto_merge_llm.tokenizer_files import tokenizer_files
from commands import call, languages, toolkit_environment

from merginguriel.utils.data.task_file import task_tokens
from merginguriel.utils.flags import flag_groups
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.models.store import ModelStore
from merginguriel.utils.storage import argument_types, atomic, environment, naming

SIZES = {
    "tiny": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
}
XLM_R = {"vocab_size": 250_002, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
SECONDS_A_LOOK = 0.1
SOURCES = 4  # of a merge; another model is the target's


def build_parser():
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder whose tokenizer the models have")
    flag_groups.add_task(parser)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["base", "large"])
    parser.add_argument("--items", type=argument_types.positive_int, default=2048, help="train texts of a language")
    parser.add_argument("--similarity-matrix", type=Path, help="CSV of cosines, where lang2vec is not installed")
    parser.add_argument("--dir", type=Path, required=True, help="working folder")
    parser.add_argument("--output", type=Path, required=True, help="JSON, written as it goes")
    return parser


def make_base(size: str, tokenizer: Path, folder: Path) -> None:
    from transformers import XLMRobertaConfig, XLMRobertaModel

    torch.manual_seed(0)
    XLMRobertaModel(XLMRobertaConfig(**SIZES[size], **XLM_R)).save_pretrained(folder)
    for file in tokenizer_files(tokenizer):
        shutil.copy(file, folder / file.name)


class Watch:
    """Looks at the memory of a process and of all below it, and of the GPU, until it is left."""

    def __init__(self, pid: int):
        self._pid, self._end, self.gpu, self.memory = pid, threading.Event(), 0, 0
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(SECONDS_A_LOOK):
            self.memory = max(self.memory, sum(map(_memory, _session(self._pid))))
            if torch.cuda.is_available():
                free, total = torch.cuda.mem_get_info()
                self.gpu = max(self.gpu, total - free)


def _session(leader: int) -> list[int]:
    """The processes of a session; what has just ended is left out."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(process.name)) == leader:
                found.append(int(process.name))
        except OSError:
            continue
    return found


def _memory(pid: int) -> int:
    """Bytes, of a shared page its share."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    return 0


def timed(line: list, folder: Path) -> dict:
    """Seconds and peaks of a command of the toolkit; it ends the benchmark where it fails."""
    words = [str(part) for part in line]
    idle = 0
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        idle = total - free
    with open(folder / "log.txt", "a", encoding="utf-8") as log:
        print("$ merginguriel", shlex.join(words), file=log, flush=True)
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "merginguriel", *words],
            cwd=folder,
            env=toolkit_environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            with Watch(process.pid) as watch:
                code = process.wait()
        finally:
            if process.poll() is None:  # it has a session of its own, which Ctrl+C does not reach
                os.killpg(process.pid, signal.SIGKILL)
    if code:
        raise SystemExit(f"{shlex.join(words)} failed; {folder / 'log.txt'} says why")
    seconds = round(time.perf_counter() - start, 1)
    return {"seconds": seconds, "gpu_bytes": max(0, watch.gpu - idle), "memory_bytes": watch.memory}


def measure(size: str, args, task, report: dict, keep) -> None:
    folder = (args.dir / size).resolve()
    if folder.exists():
        raise InputError(f"{folder} exists: what is done there would not be timed; remove it or give another --dir")
    folder.mkdir(parents=True)
    base = folder / f"xlmr-{size}"
    make_base(size, args.tokenizer, base)
    locales = languages(None, task, SOURCES + 1)
    store = ModelStore(str(base), task, folder / naming.MODELS_ROOT)
    given = ["--base-model", base, *task_tokens(task)]
    on_gpu = torch.cuda.is_available()
    few = ["--max_train_samples", args.items, "--max_predict_samples", 256, "--save_strategy", "no"]
    train = ["train-missing", *given, "--locales", locales[0], "--train-bs", 32, "--epochs", 1]
    if on_gpu:
        train.append("--bf16")
    report["train"] = timed([*train, "--additional-args", *few], folder)
    told = atomic.read_json(store.folder(locales[0]) / "all_results.json")
    report["train"]["items_per_second"] = told["train_samples_per_second"]
    keep()
    for other in locales[1:]:
        if not store.folder(other).is_dir():
            shutil.copytree(store.folder(locales[0]), store.folder(other), copy_function=os.link)
    report["nxn"] = timed(["nxn", *given, "--locales", *locales, "--max-items", 1000, "--anew"], folder)
    report["nxn"]["cells"] = len(locales) ** 2
    keep()
    sweep = ["sweep", *given, "--locales", locales[0], "--num-languages", SOURCES, "--selection", "cosine"]
    if args.similarity_matrix:
        sweep += ["--similarity-matrix", args.similarity_matrix.resolve()]
    for modes in ("average", "ties", "regmean", "fisher_dataset"):
        report[modes] = timed([*sweep, "--modes", modes, "--overwrite"], folder)
        keep()
    fast = ["--adapt-tf32", "--adapt-cuda-graphs"] if on_gpu else []
    adapt = ["--modes", "average+vote", "--adapt-examples", args.items, "--adapt-rounds", 1, "--adapt-epochs", 1, *fast]
    report["adapt"] = timed([*sweep, *adapt, "--overwrite"], folder)
    results = next((folder / naming.RESULTS_ROOT).glob("average_merge_*/adaptation.json"))
    report["adapt"]["seconds_of_the_round"] = atomic.read_json(results)["rounds"][0]["seconds"]
    keep()


def main(argv=None):
    args = build_parser().parse_args(argv)
    args.dir.mkdir(parents=True, exist_ok=True)
    if args.dataset_name and Path(args.dataset_name).exists():  # commands run in folders of their own
        args.dataset_name = str(Path(args.dataset_name).resolve())
    report = {"environment": environment.run_environment(), "items": args.items, "sizes": {}}
    task = flag_groups.read_task(args)
    for size in args.sizes:
        measure(size, args, task, report["sizes"].setdefault(size, {}), lambda: atomic.write_json(args.output, report))
        for name, told in report["sizes"][size].items():
            gpu = f"{told['gpu_bytes'] / 1e9:.1f} GB of the GPU, " if told["gpu_bytes"] else ""
            print(f"{size}, {name}: {told['seconds']:.1f} s, {gpu}{told['memory_bytes'] / 1e9:.1f} GB", flush=True)


if __name__ == "__main__":
    call(main)
