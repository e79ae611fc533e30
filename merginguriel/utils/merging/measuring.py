"""What a merging method must know of its sources on text: the example set, and what was found on it, kept in files."""

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data import massive
from merginguriel.utils.merging.examples import Examples, MeasuringOptions
from merginguriel.utils.models import loading, store
from merginguriel.utils.storage import atomic

log = logging.getLogger(__name__)


def prepare(method, plan, options: MeasuringOptions, examples: Examples):
    """(the method, ready to merge; the files measured of its sources, in the plan's order)."""
    if method.learns:
        return _learnt(method, plan, options, examples), []
    return method, [_measured(method, source, options, examples) for source in plan.sources]


def _measured(method, source, options: MeasuringOptions, examples: Examples) -> Path:
    """The file of what `method` measures of `source`, made unless the same model, data and settings made it before."""
    import torch
    from auto_merge_llm.checkpoint import Checkpoint

    kept = measurement_file(method, Checkpoint(source.path), options, examples)
    if kept.path.is_file():
        log.info("already measured: %s", kept.path)
    else:
        model, tokenizer = loading.load_classifier(source.path, precision()[0], torch.float32)
        kept.write(measure(method, model, tokenizer, store.read_labels(source.path), options, examples, source.locale))
    return kept.path


@dataclass(frozen=True)
class MeasurementFile:
    """Where a measurement is kept, and what it rests on."""

    path: Path
    settings: dict

    def write(self, measured: dict) -> None:
        from safetensors.torch import save_file

        with atomic.beside(self.path) as partial:
            save_file(
                {name: values.cpu().contiguous() for name, values in measured.items()},
                partial,
                metadata={"settings": json.dumps(self.settings)},
            )


def measurement_file(method, checkpoint, options: MeasuringOptions, examples: Examples) -> MeasurementFile:
    """The file for what `method` measures of the model in `checkpoint`."""
    settings = {
        "kind": method.measurement,
        **{name: getattr(method, name) for name in method.measured_by},
        "model": checkpoint.weights_fingerprint,
        "tokenizer": checkpoint.tokenizer_fingerprint,
        "labels": store.read_labels(checkpoint.path),
        **_settings(options, examples),
    }
    name = f"{checkpoint.path.name}_{method.measurement}_{_digest(settings)[:16]}.safetensors"
    return MeasurementFile(options.folder / name, settings)


def measure(
    method, model, tokenizer, labels: list[str], options: MeasuringOptions, examples: Examples, locale: str
) -> dict:
    """What `method` measures of `model`, whose outputs are `labels`: tensors by name, on its device."""
    from auto_merge_llm.methods.fisher_dataset import shared_dataloader
    from tqdm import tqdm

    gold = [labels.index(massive.INTENTS[label]) for label in examples.labels]
    batches = shared_dataloader(
        tokenizer,
        examples.texts,
        gold,
        batch_size=options.batch_size,
        max_length=loading.longest_input(model, options.max_length),
    )
    bar = tqdm(batches, desc=f"{method.measurement} of {locale}", unit=" batches", leave=False, disable=None)
    return method.measure(model, bar, autocast=precision()[1])


def _learnt(method, plan, options: MeasuringOptions, examples: Examples):
    """`method` with its coefficients learnt on the texts, which a file keeps."""
    import torch
    from auto_merge_llm.checkpoint import Checkpoint

    def load(path: Path):
        return loading.load_classifier(path, precision()[0], torch.float32)

    def states() -> dict:
        return {name: load(path)[0].state_dict() for path, name in plan.identities.items()}

    def base():
        model, tokenizer = load(plan.base)
        return model, tokenizer, {name: values.clone() for name, values in model.state_dict().items()}

    return learn(method, plan, options, examples, Checkpoint, states, base)


def learn(method, plan, options: MeasuringOptions, examples: Examples, checkpoint, states, base):
    """`method` with its coefficients learnt on the texts, unless a file has them from the same models and settings.

    `checkpoint(folder)` opens a model. Called only to learn: `states()` gives the sources' state dicts by identity,
    `base()` a float32 model of the base on the device, to be overwritten, its tokenizer and its state dict.
    """
    from auto_merge_llm.methods.fisher_dataset import shared_dataloader
    from tqdm import tqdm

    weights = {plan.identities[source.path]: source.weight for source in plan.sources}
    fingerprint = {
        name: [checkpoint(path).weights_fingerprint, weights[name]]
        for path, name in sorted(plan.identities.items(), key=lambda source: source[1])
    }
    initial = checkpoint(plan.base)
    settings = {
        **asdict(method),
        "method": plan.method,
        "sources": fingerprint,
        "seed": plan.seed,
        "base": initial.weights_fingerprint,
        "tokenizer": initial.tokenizer_fingerprint,
        **_settings(options, examples),
    }
    file = options.folder / f"{plan.method}_{plan.target}_{_digest(settings)[:16]}.json"
    if file.is_file():
        log.info("already learnt: %s", file)
        return replace(method, coefficients=atomic.read_json(file)["coefficients"])
    labels = store.read_labels(plan.base)
    for source in plan.sources:
        if store.read_labels(source.path) != labels:
            raise InputError(
                f"{source.path} orders its labels otherwise than {plan.base}, which mode {plan.mode} "
                "cannot learn with; train it from that checkpoint"
            )
    sources, (model, tokenizer, start) = states(), base()
    batches = shared_dataloader(
        tokenizer,
        examples.texts,
        [0] * len(examples.texts),
        batch_size=options.batch_size,
        max_length=loading.longest_input(model, options.max_length),
        shuffle_seed=plan.seed,
    )
    with tqdm(
        total=method.epochs * len(batches), desc="learning coefficients", unit=" steps", leave=False, disable=None
    ) as bar:

        def progress(done, total, entropy):
            bar.set_postfix_str(f"entropy {entropy:.3f}")
            bar.update(done - bar.n)

        learnt = method.learn(model, sources, start, batches, weights, autocast=precision()[1], progress=progress)
    atomic.write_json(file, {"settings": settings, "coefficients": learnt.coefficients})
    return learnt


def precision():
    """(device, dtype of the forward and backward pass): bfloat16 on CUDA, else None for float32."""
    import torch

    from merginguriel.utils.models import devices

    device = devices.default_device()
    return device, torch.bfloat16 if device.startswith("cuda") else None


def _settings(options: MeasuringOptions, examples: Examples) -> dict:
    return {
        "examples": examples.fingerprint(),
        "batch_size": options.batch_size,
        "max_length": options.max_length,
        "precision": "float32" if precision()[1] is None else "bfloat16",
    }


def _digest(settings: dict) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
