"""What is right, computed without a line of the toolkit: by transformers, numpy and the files alone."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import worlds
from safetensors.torch import load_file

WRAPPERS = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put before names
NEAR = 1e-3  # logits closer than this may be told apart either way


def rows(root: Path, language: str, partition: str = "test") -> list[dict]:
    """Of the undamaged layout."""
    lines = (root / "data" / f"{language}.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["partition"] == partition]


def _content(folder: Path) -> str:
    """Of all that is below `folder`: its name, where it links to, and what it says."""
    told = [
        (str(path.relative_to(folder)), path.is_symlink() and os.readlink(path), path.is_file() and path.read_bytes())
        for path in sorted(folder.rglob("*"))
    ]
    return hashlib.sha256(repr(told).encode()).hexdigest()


def once(read: Callable) -> Callable:
    """read(folder, …) for each content of a folder once: most models of a damaged world are as they were."""
    found: dict[tuple, Any] = {}

    def call(folder: Path, *args: Any) -> Any:
        key = (_content(folder), repr(args))
        if key not in found:
            found[key] = read(folder, *args)
        return found[key]

    return call


def tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def tokenizer_class(folder: Path) -> object:
    """As tokenizer_config.json names it, if it can be read."""
    try:
        return json.loads((folder / "tokenizer_config.json").read_text())["tokenizer_class"]
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None


@once
def token_ids(folder: Path, texts: list[str]) -> list | None:
    """None where the folder has no tokenizer that can be read."""
    try:
        reads = tokenizer(folder)
        return [reads(text)["input_ids"] for text in texts]
    except Exception:
        return None


@once
def plain_answers(folder: Path, texts: list[str]) -> tuple[bool, np.ndarray]:
    """Whether the model is `whole`, and its logits (see PlainModel)."""
    model = PlainModel(folder)
    return model.whole, model.logits(texts)


class PlainModel:
    """A model folder as transformers alone has it."""

    def __init__(self, folder: Path):
        from transformers import AutoConfig, AutoModelForSequenceClassification

        self.tokenizer = tokenizer(folder)
        config = AutoConfig.from_pretrained(folder)
        weights = load_file(folder / "model.safetensors")
        wrapper = ""
        while inner := [word for word in WRAPPERS if {name.startswith(wrapper + word) for name in weights} == {True}]:
            wrapper += inner[0]
        # Without a state dict transformers reads the file itself.
        start = (
            AutoModelForSequenceClassification
            if not wrapper
            else type(AutoModelForSequenceClassification.from_config(config))
        )
        self.model, report = start.from_pretrained(
            None if wrapper else folder,
            config=config,
            state_dict={name.removeprefix(wrapper): tensor for name, tensor in weights.items()} if wrapper else None,
            dtype=torch.float32,
            output_loading_info=True,
        )
        self.model.eval()
        surplus = [name for name in report["unexpected_keys"] if name.startswith(self.model.base_model_prefix)]
        # A model of other weights than the folder's answers, and wrongly.
        self.whole = not report["missing_keys"] and not surplus and not report["mismatched_keys"]
        self.labels = [self.model.config.id2label[number] for number in range(self.model.config.num_labels)]

    def logits(self, texts: list[str], max_tokens: int = worlds.MAX_TOKENS) -> np.ndarray:
        """(texts, the task's labels), a text at a time; -inf for a label that the model lacks."""
        found = np.full((len(texts), len(worlds.LABELS)), -np.inf)
        places = [worlds.LABELS.index(label) for label in self.labels]
        for place, text in enumerate(texts):
            tokens = self.tokenizer(text, truncation=True, max_length=max_tokens, return_tensors="pt")
            with torch.inference_mode():
                known = {"input_ids": tokens["input_ids"], "attention_mask": torch.ones_like(tokens["input_ids"])}
                found[place, places] = self.model(**known).logits[0].double().numpy()
        return found


def kept(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "predictions.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def kept_or_none(folder: Path) -> dict[str, np.ndarray] | None:
    """None where there is no such file, or a damaged one."""
    try:
        return kept(folder)
    except Exception:
        return None


def check_result(folder: Path, items: list[dict], logits: np.ndarray) -> None:
    """A result folder says of `items` what `logits` (items, labels) say, and its numbers follow from it."""
    finite = logits[np.isfinite(logits).any(-1).nonzero()[0]]
    assert not np.isnan(logits).any() and len(finite) == len(items), "answers that are not numbers"
    found, told = kept(folder), json.loads((folder / "results.json").read_text())
    gold = [worlds.LABELS.index(row["topic"]) for row in items]
    assert found["ids"].tolist() == [str(row["id"]) for row in items]
    assert found["labels"].tolist() == gold
    assert tuple(found["intents"]) == worlds.LABELS
    answered = np.take_along_axis(logits, found["predictions"].astype(int)[:, None], 1)[:, 0]
    assert (answered >= logits.max(-1) - NEAR * np.maximum(1, abs(logits.max(-1)))).all(), "another answer"
    check_numbers(told, found)


def check_accuracy(told: dict, items: list[dict], logits: np.ndarray) -> None:
    """Of a result without predictions; near ties may be counted either way."""
    assert not np.isnan(logits).any() and np.isfinite(logits).any(-1).all(), "answers that are not numbers"
    right = sum(worlds.LABELS[answer] == row["topic"] for answer, row in zip(logits.argmax(-1), items))
    two = np.sort(logits, -1)[:, -2:]
    near = int((two[:, 1] - two[:, 0] < NEAR).sum())
    performance = told["performance"]
    assert abs(performance["correct_predictions"] - right) <= near
    assert performance["total_predictions"] == len(items)
    assert abs(performance["accuracy"] - performance["correct_predictions"] / len(items)) < 1e-12


def check_numbers(told: dict, found: dict[str, np.ndarray]) -> None:
    """results.json says what predictions.npz does."""
    right = int((found["labels"] == found["predictions"]).sum())
    performance = told["performance"]
    assert performance["correct_predictions"] == right
    assert performance["total_predictions"] == len(found["labels"]) == told["dataset_info"]["total_examples"]
    assert abs(performance["accuracy"] - right / len(found["labels"])) < 1e-12


def check_average(root: Path, merged: Path, weights: dict[str, float], *, whole: bool = True) -> None:
    """Every tensor is the weighted mean of the sources'; if not `whole`, every one that is no matrix of a layer."""
    result = load_file(merged / "model.safetensors")
    expected = averaged(root, weights, label_rows(merged))
    for name, tensor in result.items():
        assert torch.isfinite(tensor).all(), name
        if whole or "embeddings" in name or "LayerNorm" in name:
            close = 1e-5 if tensor.dtype == torch.float32 else 1e-2
            assert torch.allclose(tensor.double(), expected[name], rtol=close, atol=close), name


def averaged(root: Path, weights: dict[str, float], order: list[str]) -> dict[str, torch.Tensor]:
    """The weighted mean in float64, the head's rows in the `order` of labels."""
    means: dict[str, torch.Tensor] = {}
    for language, weight in weights.items():
        folder = root / worlds.model(language)
        rows = [label_rows(folder).index(label) for label in order]
        for name, tensor in load_file(folder / "model.safetensors").items():
            name = name.removeprefix("module.").removeprefix("_orig_mod.")
            values = tensor.double()[rows] if name.startswith("classifier.out_proj") else tensor.double()
            means[name] = means.get(name, 0) + weight * values
    return means


def check_mean_result(root: Path, folder: Path, items: list[dict], weights: dict[str, float]) -> None:
    """The result of a merge that was held in memory alone."""
    model = PlainModel(root / worlds.model("de-DE"))
    model.model.load_state_dict(
        {
            name: value.float()
            for name, value in averaged(root, weights, model.labels).items()
            if name in model.model.state_dict()
        }
    )
    check_result(folder, items, model.logits([row["utt"] for row in items]))


def label_rows(folder: Path) -> list[str]:
    named = json.loads((folder / "config.json").read_text())["id2label"]
    return [named[str(row)] for row in range(len(named))]
