"""What a merging method finds out on text: measured of every source, or learnt, and kept in files."""

import hashlib
import json
import logging
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError
from auto_merge_llm.methods.base import LearningMethod, Method
from auto_merge_llm.methods.fisher_dataset import shared_dataloader
from safetensors.torch import save_file
from torch.utils.data import DataLoader

from merginguriel.utils.merging.examples import Examples, TextSettings
from merginguriel.utils.merging.plan import MergePlan
from merginguriel.utils.models import loading
from merginguriel.utils.models.devices import default_device
from merginguriel.utils.models.model_folder import read_labels
from merginguriel.utils.models.tokens import TOKENS, check_rows
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.progress import Progress, over

log = logging.getLogger(__name__)


class Models(ABC):
    """Reads models from folders."""

    @abstractmethod
    def checkpoint(self, path: Path) -> Checkpoint: ...

    @abstractmethod
    def float32_model(self, path: Path) -> Any:
        """A float32 model on the device with the values in `path`; the next call may overwrite it."""

    @abstractmethod
    def float32_state(self, path: Path) -> dict[str, torch.Tensor]:
        """A float32 state dict on the device."""


def autocast_dtype() -> torch.dtype | None:
    """Of the forward and backward pass: bfloat16 on CUDA, else None for float32."""
    return torch.bfloat16 if default_device().startswith("cuda") else None


@dataclass(frozen=True)
class MeasurementFile:
    """Where a measurement is kept, and what it rests on."""

    path: Path
    settings: dict[str, Any]

    def write(self, measured: dict[str, torch.Tensor]) -> None:
        tensors = {name: values.cpu().contiguous() for name, values in measured.items()}
        with atomic.beside(self.path) as partial:
            save_file(tensors, partial, metadata={"settings": json.dumps(self.settings)})


def measurement_file(
    method: Method, checkpoint: Checkpoint, texts: TextSettings, examples: Examples, folder: Path
) -> MeasurementFile:
    """The file in `folder` for what `method` measures of the model in `checkpoint`."""
    settings = {
        "kind": method.measurement,
        **{name: getattr(method, name) for name in method.measured_by},
        "model": checkpoint.weights_fingerprint,
        "tokenizer": checkpoint.tokenizer_fingerprint,
        "labels": list(checkpoint.labels),
        **({"own_texts": True} if texts.scope == "own" else {}),
        **_rests_on(texts, examples),
    }
    name = f"{checkpoint.path.name}_{method.measurement}_{_digest(settings)}.safetensors"
    return MeasurementFile(folder / name, settings)


def measure(
    method: Method, model: Any, tokenizer: Any, labels: list[str], texts: TextSettings, examples: Examples, locale: str
) -> dict[str, torch.Tensor]:
    """What `method` measures of `model`, whose outputs are `labels`: tensors by name, on its device.

    A method that reads gold labels sees the items whose label the model has; InputError where there is none.
    """
    chosen, gold = examples.texts, [0] * len(examples.texts)
    if method.reads_labels:
        named = [(text, examples.label_names[label]) for text, label in zip(examples.texts, examples.labels)]
        known = [(text, labels.index(label)) for text, label in named if label in labels]
        if not known:
            raise InputError(
                f"none of the {len(named)} examples has a label of the model for {locale}; take others, or an "
                "estimator that needs no labels"
            )
        chosen, gold = map(list, zip(*known))
    batches = shared_dataloader(
        tokenizer,
        chosen,
        gold,
        batch_size=texts.batch_size,
        max_length=loading.longest_input(model, texts.max_length or examples.max_tokens),
        pad_id=model.config.pad_token_id,
    )
    _check_tokens(batches, model, tokenizer)
    bar = over(batches, f"{method.measurement} of {locale}", len(batches))
    return method.measure(model, bar, autocast=autocast_dtype(), own_texts=texts.scope == "own")


def _check_tokens(batches: DataLoader, model: Any, tokenizer: Any) -> None:
    texts = (item["input_ids"] for item in cast(list, batches.dataset))
    check_rows(texts, getattr(model.config, "vocab_size", None), tokenizer.name_or_path)


def learn(models: Models, plan: MergePlan, method: LearningMethod, examples: Examples, folder: Path) -> LearningMethod:
    """The plan's `method` with its coefficients learnt on the texts, unless a file in `folder` has them.

    Such a file was made from the same models, texts and settings.
    """
    texts, base = plan.settings.texts, plan.base
    assert base is not None, "a method that learns coefficients of task vectors needs a base"
    weights = {plan.identities[source.path]: source.weight for source in plan.sources}
    in_order = sorted(plan.identities.items(), key=lambda source: source[1])
    initial = models.checkpoint(base)
    settings = {
        **asdict(method),
        "method": plan.method_name,
        "sources": {name: [models.checkpoint(path).weights_fingerprint, weights[name]] for path, name in in_order},
        "seed": plan.settings.seed,
        "base": initial.weights_fingerprint,
        "tokenizer": initial.tokenizer_fingerprint,
        **_rests_on(texts, examples),
    }
    file = folder / f"{plan.method_name}_{plan.target}_{_digest(settings)}.json"
    if file.is_file():
        log.info("already learnt: %s", file)
        kept: Any = {"coefficients": atomic.read_json(file)["coefficients"]}
        return replace(method, **kept)
    _check_labels(plan, base)
    states = {name: models.float32_state(path) for path, name in plan.identities.items()}
    start = models.float32_state(base)
    model = models.float32_model(base)
    batches = shared_dataloader(
        TOKENS.tokenizer(base),
        examples.texts,
        [0] * len(examples.texts),
        batch_size=texts.batch_size,
        max_length=loading.longest_input(model, texts.max_length or examples.max_tokens),
        shuffle_seed=plan.settings.seed,
        pad_id=model.config.pad_token_id,
    )
    _check_tokens(batches, model, TOKENS.tokenizer(base))
    steps = method.epochs * len(batches)
    with Progress("learning coefficients", steps) as bar:

        def progress(done: int, total: int | None, entropy: float) -> None:
            bar.say(f"entropy {entropy:.3f}")
            bar.reached(done)

        learnt = method.learn(model, states, start, batches, weights, autocast=autocast_dtype(), progress=progress)
    atomic.write_json(file, {"settings": settings, "coefficients": learnt.coefficients})
    return learnt


def _check_labels(plan: MergePlan, base: Path) -> None:
    labels = read_labels(base, plan.task)
    for source in plan.sources:
        if read_labels(source.path, plan.task) != labels:
            raise InputError(
                f"{source.path} orders its labels otherwise than {plan.base}, which mode {plan.mode} "
                "cannot learn with; train it from that checkpoint"
            )


def _rests_on(texts: TextSettings, examples: Examples) -> dict[str, Any]:
    return {
        "examples": examples.fingerprint(),
        "batch_size": texts.batch_size,
        "max_length": texts.max_length or examples.max_tokens,
        "precision": "float32" if autocast_dtype() is None else "bfloat16",
    }


def _digest(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
