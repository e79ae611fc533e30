"""Time of the per-example diagonal Fisher beside what it replaces, at XLM-R-base and me5-small size.

(a) a plain batched forward and backward, the floor of any gradient method; (b) a loop of single-example
backwards, the textbook way; (c) the batch estimator as MergeLM does it: gradient of the batch, squared.
Random weights, utterances of MASSIVE's lengths (3 to 24 tokens, mean 12), sorted by length. One run, alternating;
medians. Then the memory from 100 to 2,000 examples, and how near each estimator comes to the exact Fisher.

    python benchmarks/fisher.py --device cuda --output fisher.json
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch
from auto_merge_llm.fisher import diagonal_fisher
from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

SIZES = {
    "me5-small": dict(
        vocab_size=134962, hidden_size=384, num_hidden_layers=12, num_attention_heads=12, intermediate_size=1536
    ),
    "xlm-r-base": dict(
        vocab_size=250002, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072
    ),
    "tiny": dict(vocab_size=300, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64),
}


def build_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["me5-small", "xlm-r-base"])
    parser.add_argument("--examples", type=int, default=256, help="per measurement (default: %(default)s)")
    parser.add_argument("--loop-examples", type=int, default=32, help="for the loop (b) (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--output", type=Path)
    return parser


def make_model(size: str, device: str, num_labels: int = 60):
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        **SIZES[size], max_position_embeddings=514, type_vocab_size=1, num_labels=num_labels, pad_token_id=1
    )
    return XLMRobertaForSequenceClassification(config).to(device).eval()


def make_batches(count: int, batch_size: int, vocabulary: int, device: str) -> list[dict]:
    generator = torch.Generator().manual_seed(1)
    lengths = sorted((torch.randn(count, generator=generator) * 4 + 12).round().clamp(3, 24).int().tolist())
    batches = []
    for start in range(0, count, batch_size):
        part = lengths[start : start + batch_size]
        ids = torch.full((len(part), max(part)), 1)
        for row, length in enumerate(part):
            ids[row, :length] = torch.randint(4, vocabulary, (length,), generator=generator)
        batches.append(
            {
                "input_ids": ids.to(device),
                "attention_mask": (ids != 1).long().to(device),
                "labels": torch.zeros(len(part), dtype=torch.long, device=device),
            }
        )
    return batches


def forward(model, batch, autocast):
    with torch.autocast(model.device.type, autocast, enabled=autocast is not None):
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return logits.float().log_softmax(-1)


def plain(model, batches, autocast):
    for batch in batches:
        model.zero_grad(set_to_none=True)
        forward(model, batch, autocast)[:, 0].sum().backward()


def loop(model, batches, autocast):
    """One backward an example; the squares are added like a Fisher's."""
    squares = [torch.zeros_like(parameter) for parameter in model.parameters()]
    for batch in batches:
        for row in range(len(batch["input_ids"])):
            length = int(batch["attention_mask"][row].sum())
            one = {name: values[row : row + 1, :length] for name, values in batch.items() if name != "labels"}
            model.zero_grad(set_to_none=True)
            forward(model, one, autocast)[:, 0].sum().backward()
            for total, parameter in zip(squares, model.parameters()):
                total.addcmul_(parameter.grad, parameter.grad)


def batch_estimator(model, batches, autocast):
    squares = [torch.zeros_like(parameter) for parameter in model.parameters()]
    for batch in batches:
        model.zero_grad(set_to_none=True)
        log_p = forward(model, batch, autocast)
        (log_p.detach().div(2).exp() * log_p).sum().backward()
        for total, parameter in zip(squares, model.parameters()):
            total.addcmul_(parameter.grad, parameter.grad)


def ours(model, batches, autocast):
    diagonal_fisher(model, batches, "sampled", autocast=autocast)


def seconds_per_example(job, model, batches, autocast) -> float:
    if model.device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    job(model, batches, autocast)
    if model.device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / sum(len(batch["input_ids"]) for batch in batches)


def compare(size: str, args, autocast) -> dict:
    model = make_model(size, args.device)
    vocabulary = SIZES[size]["vocab_size"]
    batches = make_batches(args.examples, args.batch_size, vocabulary, args.device)
    few = make_batches(args.loop_examples, args.batch_size, vocabulary, args.device)
    jobs = {
        "plain": (plain, batches),
        "loop": (loop, few),
        "batch": (batch_estimator, batches),
        "ours": (ours, batches),
    }
    times = {name: [] for name in jobs}
    for repeat in range(args.repeat + 1):
        for name, (job, data) in jobs.items():
            seconds = seconds_per_example(job, model, data, autocast)
            if repeat:  # the first round warms up
                times[name].append(seconds)
            model.zero_grad(set_to_none=True)
    median = {name: statistics.median(values) for name, values in times.items()}
    return {
        "size": size,
        "precision": str(autocast or torch.float32).removeprefix("torch."),
        "ms_per_example": {name: 1000 * value for name, value in median.items()},
        "ours_to_plain": median["ours"] / median["plain"],
        "loop_to_ours": median["loop"] / median["ours"],
        "ours_to_batch": median["ours"] / median["batch"],
    }


def memory(size: str, args) -> dict:
    """Peak memory above the model's own, in MiB, for 100 and 2,000 examples (CUDA only)."""
    model = make_model(size, args.device)
    peaks = {}
    for count in (100, 2000):
        batches = make_batches(count, args.batch_size, SIZES[size]["vocab_size"], args.device)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        ours(model, batches, None)
        peaks[count] = (torch.cuda.max_memory_allocated() - before) / 2**20
    return {"size": size, "peak_mib": peaks, "parameters_mib": sum(p.numel() for p in model.parameters()) / 2**18}


def agreement() -> dict:
    """Cosine to the exact expectation over labels on a small model, for 256 examples of 12 labels."""
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        **SIZES["tiny"],
        max_position_embeddings=64,
        type_vocab_size=1,
        num_labels=12,
        pad_token_id=1,
        initializer_range=0.2,
    )
    model = XLMRobertaForSequenceClassification(config).eval()
    result = {}

    def flat(estimator, batch_size):
        batches = make_batches(256, batch_size, 300, "cpu")
        fisher, _ = diagonal_fisher(model, batches, estimator)
        return torch.cat([values.flatten() for values in fisher.values()])

    exact = flat("expected", 32)
    for estimator, batch_size in (("sampled", 32), ("empirical", 32), ("batch", 1), ("batch", 8), ("batch", 32)):
        name = f"{estimator}, batch {batch_size}" if estimator == "batch" else estimator
        result[name] = float(torch.cosine_similarity(flat(estimator, batch_size), exact, dim=0))
    return result


def main(argv=None):
    args = build_parser().parse_args(argv)
    precisions = [None, torch.bfloat16] if args.device.startswith("cuda") else [None]
    if args.device.startswith("cuda"):
        torch.backends.cuda.matmul.allow_tf32 = True
    report = {
        "device": torch.cuda.get_device_name() if args.device.startswith("cuda") else "cpu",
        "torch": torch.__version__,
        "batch_size": args.batch_size,
        "speed": [],
        "memory": [],
    }
    for size in args.sizes:
        for autocast in precisions:
            row = compare(size, args, autocast)
            report["speed"].append(row)
            print(
                f"{row['size']:<11} {row['precision']:<9} ours/plain {row['ours_to_plain']:.2f}   loop/ours "
                f"{row['loop_to_ours']:.1f}   ours/batch {row['ours_to_batch']:.2f}   "
                f"ours {row['ms_per_example']['ours']:.3f} ms an example",
                flush=True,
            )
        if args.device.startswith("cuda"):
            report["memory"].append(memory(size, args))
            print(report["memory"][-1], flush=True)
    report["cosine_to_exact"] = agreement()
    print(
        "\n".join(
            f"cosine to the exact Fisher, {name}: {value:.3f}" for name, value in report["cosine_to_exact"].items()
        )
    )
    if args.output:
        args.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
