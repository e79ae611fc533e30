"""Merge four XLM-R-base-sized classifiers with this toolkit and with mergekit, each as a whole process.

Measures wall time (median) and peak anonymous memory (summed over the process tree), compares both outputs
where the definitions agree, and sets the times beside what moving the bytes alone takes. The files stay in the
page cache: the times are those of a warm cache.

    python benchmarks/merge_methods.py --work-dir DIR --mergekit PATH/TO/mergekit-yaml
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

WEIGHTS = (0.4, 0.3, 0.2, 0.1)
SAMPLE_SECONDS = 0.02
LABELS = [f"intent_{number}" for number in range(60)]
# Vocabulary size, positions, hidden size, layers, heads, feed-forward size, as XLMRobertaConfig names them.
SIZES = {
    "base": dict(
        vocab_size=250002,
        max_position_embeddings=514,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        type_vocab_size=1,
    ),
    "tiny": dict(
        vocab_size=1000,
        max_position_embeddings=66,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        type_vocab_size=1,
    ),
}


@dataclass(frozen=True)
class Case:
    """One method, as each tool spells it: our name with hyper-parameters, and mergekit's keys where it has it.

    `each`: mergekit's parameters of every model; None: the model's weight. `agree`: the definitions are the same, so
    the outputs must be too.
    """

    name: str
    hyperparameters: dict = field(default_factory=dict)
    mergekit: dict | None = None
    each: dict | None = None
    agree: bool = False

    @property
    def weights(self) -> tuple[float, ...]:
        return WEIGHTS if self.each is None else (1 / len(WEIGHTS),) * len(WEIGHTS)


# Where mergekit's definition differs (it trims each tensor by itself, its dare_ties does not trim, it draws other
# numbers, and ranks whole tensors where Breadcrumbs ranks rows) it gets the settings that come closest.
CASES = {
    "linear": Case("linear", {}, {"merge_method": "linear"}, agree=True),
    "task_arithmetic": Case(
        "task_arithmetic",
        {},
        {"merge_method": "task_arithmetic", "parameters": {"lambda": 0.3, "normalize": False}},
        {"weight": 1.0},
        True,
    ),
    "stock": Case("stock", {}, {"merge_method": "model_stock"}, {}, True),
    "ties": Case("ties", {}, {"merge_method": "ties", "parameters": {"density": 0.2}}),
    "ties_tensor": Case(
        "ties", {"scope": "tensor"}, {"merge_method": "ties", "parameters": {"density": 0.2}}, agree=True
    ),
    "dare_ties": Case("dare_ties", {}, {"merge_method": "dare_ties", "parameters": {"density": 0.5}}),
    "dare_ties_untrimmed": Case(
        "dare_ties", {"density": 1.0}, {"merge_method": "dare_ties", "parameters": {"density": 0.5}}
    ),
    "breadcrumbs": Case(
        "breadcrumbs",
        {},
        {"merge_method": "breadcrumbs", "parameters": {"density": 0.15, "gamma": 0.006, "lambda": 0.2}},
        {"weight": 1.0},
    ),
    "karcher": Case("karcher", {}, {"merge_method": "karcher"}, {}, True),
    "slerp": Case("slerp"),
    "fisher": Case("fisher"),
    "regmean": Case("regmean"),
}


def source_folders(folder: Path) -> list[Path]:
    return [folder / f"source_{number}" for number in range(len(WEIGHTS))]


def base_folder(folder: Path) -> Path:
    return folder / "base"


def make_sources(folder: Path, size: str) -> list[Path]:
    """A random base and classifiers a little away from it, with one initial head and a tokenizer file, written once."""
    folders = source_folders(folder)
    if all((path / "done").exists() for path in (*folders, base_folder(folder))):
        return folders
    import torch
    from safetensors.torch import save_file
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    config = XLMRobertaConfig(
        **SIZES[size],
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
        architectures=["XLMRobertaForSequenceClassification"],
        initial_head="0" * 64,
    )
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in XLMRobertaForSequenceClassification(config).state_dict().items()}
    vocabulary = [[f"piece{number}", -float(number)] for number in range(config.vocab_size)]
    start = {}
    for number, path in enumerate([base_folder(folder), *folders]):
        print(f"writing {path}", file=sys.stderr)
        path.mkdir(parents=True, exist_ok=True)
        generator = torch.Generator().manual_seed(number)
        noise = {name: torch.randn(shape, generator=generator) * 0.02 for name, shape in shapes.items()}
        start = start or noise
        # Sources share a part of their way, as fine-tuned models do: the cosine of two task vectors is 0.2.
        shared = torch.Generator().manual_seed(len(folders) + 1)
        state = (
            noise
            if noise is start
            else {
                name: start[name] + 0.1 * noise[name] + 0.001 * torch.randn(shapes[name], generator=shared)
                for name in shapes
            }
        )
        save_file(state, path / "model.safetensors", metadata={"format": "pt"})
        config.save_pretrained(path)
        (path / "tokenizer.json").write_text(json.dumps({"model": {"type": "Unigram", "vocab": vocabulary}}))
        (path / "done").touch()
    return folders


def measurement_files(case: Case, sources: list[Path]) -> list[Path]:
    """Random Fisher information or Gram matrices of every source, where the method takes some, written once."""
    from auto_merge_llm.methods import create

    kind = create(case.name).measurement
    files = [path.with_name(f"{path.name}_{kind}.safetensors") for path in sources if kind]
    for number, (path, file) in enumerate(zip(sources, files)):
        if file.exists():
            continue
        import torch
        from safetensors.torch import load_file, save_file

        print(f"writing {file}", file=sys.stderr)
        generator = torch.Generator().manual_seed(number)
        state = load_file(path / "model.safetensors")
        if kind == "fisher":
            measured = {name: torch.randn(value.shape, generator=generator).square_() for name, value in state.items()}
        else:
            inputs = {
                name: torch.randn(1000, value.shape[1], generator=generator)
                for name, value in state.items()
                if value.dim() == 2 and "embedding" not in name
            }
            measured = {name: values.T @ values for name, values in inputs.items()}
        partial = file.with_suffix(".partial")
        save_file(measured, partial)
        partial.rename(file)
    return files


def merge_ours(case: Case, sources: list[Path], output: Path) -> None:
    from auto_merge_llm.merge import merge_checkpoints
    from auto_merge_llm.methods import create

    output.mkdir()
    method = create(case.name, **case.hyperparameters)
    merge_checkpoints(
        method,
        sources,
        case.weights,
        output,
        measurements=measurement_files(case, sources),
        base=base_folder(output.parent) if method.needs_base else None,
    )


def measure(command: list[str], log: Path) -> tuple[float, float]:
    """Wall seconds and peak anonymous MiB of a command with its children; stops where the command fails."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    peak, start = 0, time.perf_counter()
    with open(log, "w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
        while process.poll() is None:
            peak = max(peak, anonymous_memory(process.pid))
            time.sleep(SAMPLE_SECONDS)
    seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit(f"error: {command[0]} failed; see {log}")
    return seconds, peak / 2**20


def anonymous_memory(pid: int) -> int:
    """Bytes of RssAnon of a process and its descendants; 0 for one that has just ended."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                total = int(line.split()[1]) * 1024
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            total += sum(anonymous_memory(int(child)) for child in children.read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        pass
    return total


def byte_floor(files: list[Path], written: int, scratch: Path) -> dict:
    """Bytes that a merge must read and write, and the least seconds (of three) one thread takes to move them.

    The first read brings the files into the page cache, where the merges find them too.
    """
    block = bytearray(1 << 20)

    def read_all() -> None:
        for path in files:
            with open(path, "rb", buffering=0) as file:
                while file.readinto(block):
                    pass

    def write_one() -> None:
        scratch.unlink(missing_ok=True)
        with open(scratch, "wb", buffering=0) as file:
            for _ in range(written >> 20):
                file.write(block)

    read_all()
    read_seconds, write_seconds = least_seconds(read_all), least_seconds(write_one)
    scratch.unlink()
    read = sum(path.stat().st_size for path in files)
    return {
        "bytes_read": read,
        "bytes_written": written,
        "read_gb_per_s": read / 1e9 / read_seconds,
        "write_gb_per_s": written / 1e9 / write_seconds,
        "seconds": read_seconds + write_seconds,
    }


def least_seconds(action: Callable[[], None]) -> float:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def difference(one: Path, other: Path) -> dict[str, float]:
    """How far two outputs are apart: the largest difference of an element, and the share that differs by over 1e-6."""
    from safetensors import safe_open

    largest = differing = total = 0
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(safe_open(path / "model.safetensors", framework="pt")) for path in (one, other)]
        for name in files[0].keys():
            apart = (files[0].get_tensor(name) - files[1].get_tensor(name)).abs_()
            largest = max(largest, apart.max().item())
            differing += int((apart > 1e-6).sum())
            total += apart.numel()
    return {"largest": largest, "share_over_1e-6": differing / total}


def run_case(name: str, sources: list[Path], arguments: argparse.Namespace) -> dict:
    from auto_merge_llm.methods import create

    case, folder = CASES[name], arguments.work_dir
    outputs = {"ours": folder / f"{name}_ours"}
    commands = {"ours": [sys.executable, __file__, "merge-ours", name, str(folder), str(outputs["ours"])]}
    needs_base = create(case.name).needs_base
    if arguments.mergekit and case.mergekit:
        recipe = {
            **case.mergekit,
            "dtype": "float32",
            "models": [
                {"model": str(path), "parameters": {"weight": weight} if case.each is None else case.each}
                for path, weight in zip(sources, case.weights)
            ],
        }
        if needs_base:
            recipe["base_model"] = str(base_folder(folder))
        # JSON is YAML.
        (folder / f"{name}.yaml").write_text(json.dumps(recipe))
        outputs["mergekit"] = folder / f"{name}_mergekit"
        # The tokenizer and the model card are left out: less work for mergekit, not for ours.
        commands["mergekit"] = [
            str(arguments.mergekit),
            str(folder / f"{name}.yaml"),
            str(outputs["mergekit"]),
            "--no-copy-tokenizer",
            "--no-write-model-card",
            "--quiet",
            *arguments.mergekit_flags.split(),
        ]
    models = [*sources, base_folder(folder)] if needs_base else sources
    files = [*(path / "model.safetensors" for path in models), *measurement_files(case, sources)]
    floor = byte_floor(files, files[0].stat().st_size, folder / "scratch")
    runs = {tool: [] for tool in commands}
    for number in range(arguments.repeat):
        for tool, command in commands.items():
            shutil.rmtree(outputs[tool], ignore_errors=True)
            runs[tool].append(measure(command, folder / f"{name}_{tool}.log"))
            print(f"{name} {tool} run {number + 1}: {runs[tool][-1][0]:.2f} s", file=sys.stderr)
    tools = {
        tool: {
            "wall_s": statistics.median(seconds for seconds, _ in measured),
            "walls_s": [seconds for seconds, _ in measured],
            "peak_anonymous_mib": max(memory for _, memory in measured),
        }
        for tool, measured in runs.items()
    }
    result = {"method": name, "floor": floor, "tools": tools}
    if case.agree and len(outputs) == 2:
        result["difference"] = difference(*outputs.values())
    for path in outputs.values():
        shutil.rmtree(path)
    return result


def show(results: list[dict]) -> None:
    print(f"{'method':12} {'tool':10} {'wall s':>8} {'min':>7} {'max':>7} {'ratio':>7} {'anon MiB':>9} {'ratio':>7}")
    for result in results:
        tools = result["tools"]
        reference = tools.get("mergekit", tools["ours"])
        for tool, found in tools.items():
            print(
                f"{result['method']:12} {tool:10} {found['wall_s']:8.2f} {min(found['walls_s']):7.2f} "
                f"{max(found['walls_s']):7.2f} {found['wall_s'] / reference['wall_s']:7.2f} "
                f"{found['peak_anonymous_mib']:9.0f} "
                f"{found['peak_anonymous_mib'] / reference['peak_anonymous_mib']:7.2f}"
            )
        floor = result["floor"]
        print(
            f"  bytes alone, one thread, warm cache: {floor['bytes_read'] / 1e9:.2f} GB read at "
            f"{floor['read_gb_per_s']:.1f} GB/s + {floor['bytes_written'] / 1e9:.2f} GB written at "
            f"{floor['write_gb_per_s']:.1f} GB/s = {floor['seconds']:.2f} s"
        )
        if "difference" in result:
            print(
                f"  outputs differ by at most {result['difference']['largest']:.3g}; by over 1e-6 in "
                f"{result['difference']['share_over_1e-6']:.2g} of the elements"
            )


def parse(argv: list[str] | None) -> argparse.Namespace:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument(
        "--work-dir",
        type=Path,
        required=True,
        help="folder for the models (written once, 4.5 GB) and the outputs (2.3 GB, removed)",
    )
    parser.add_argument("--mergekit", type=Path, help="its program mergekit-yaml; without it only ours runs")
    parser.add_argument("--mergekit-flags", default="", help="more flags for mergekit, in one string")
    parser.add_argument("--methods", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--repeat", type=int, default=5, help="runs of each tool, alternating (default 5)")
    parser.add_argument("--size", choices=SIZES, default="base", help="tiny is for trying the script")
    parser.add_argument("--output", type=Path, help="write all numbers to this JSON file")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    if arguments.mergekit and not arguments.mergekit.is_file():
        sys.exit(f"error: no program {arguments.mergekit}; give the path of mergekit-yaml")
    arguments.work_dir = arguments.work_dir.absolute() / arguments.size
    sources = make_sources(arguments.work_dir, arguments.size)
    results = []
    for name in arguments.methods:
        results.append(run_case(name, sources, arguments))
        if arguments.output:
            record = {"size": arguments.size, "cpus": os.cpu_count(), "cache": "warm", "results": results}
            arguments.output.write_text(json.dumps(record, indent=2) + "\n")
    show(results)


if __name__ == "__main__":
    if sys.argv[1:2] == ["merge-ours"]:
        method, models, target = sys.argv[2:]
        merge_ours(CASES[method], source_folders(Path(models)), Path(target))
    else:
        main()
