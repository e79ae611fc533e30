"""Tiny XLM-R classifiers on disk in every format, and NumPy oracles that share no code with the library."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

LABELS = ("alarm_set", "play_music", "qa_maths", "weather_query", "iot_coffee")
HEAD = "a" * 64


@pytest.fixture(scope="session")
def tiny_model():
    """State dict and config.json of one random XLM-R classifier, the start of all sources."""
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=20,
        type_vocab_size=1,
        id2label=dict(enumerate(LABELS)),
        label2id={x: i for i, x in enumerate(LABELS)},
    )
    model = XLMRobertaForSequenceClassification(config)
    described = {**json.loads(config.to_json_string()), "architectures": [type(model).__name__], "dtype": "float32"}
    return {name: value.clone() for name, value in model.state_dict().items()}, described


@pytest.fixture
def make_checkpoint(tiny_model, tmp_path):
    """make(name, ...) -> folder of the start plus small noise; options: labels, head, dtype, layout..."""
    start, described = tiny_model

    def make(
        name,
        *,
        seed=None,
        noise=0.01,
        dtype=torch.float32,
        labels=LABELS,
        initial_head=HEAD,
        layout="safetensors",
        edit=None,
        config=None,
        tokenizer="tokenizer",
    ):
        generator = torch.Generator().manual_seed(sum(map(ord, name)) if seed is None else seed)
        state = {key: value + noise * torch.randn(value.shape, generator=generator) for key, value in start.items()}
        if edit:
            edit(state)
        rows = [LABELS.index(label) for label in labels if label in LABELS]
        if len(rows) == len(LABELS):
            for key in ("classifier.out_proj.weight", "classifier.out_proj.bias"):
                state[key] = state[key][rows]
        state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}
        folder = tmp_path / name
        folder.mkdir()
        written = {
            **described,
            "id2label": {str(i): x for i, x in enumerate(labels)},
            "label2id": {x: i for i, x in enumerate(labels)},
            "initial_head": initial_head,
            "dtype": str(dtype).removeprefix("torch."),
            **(config or {}),
        }
        written = {key: value for key, value in written.items() if value is not None}
        (folder / "config.json").write_text(json.dumps(written))
        if tokenizer:
            pieces = [[f"{tokenizer}{i}", -1.0] for i in range(50)]
            described_tokenizer = {"truncation": None, "model": {"type": "Unigram", "vocab": pieces}}
            (folder / "tokenizer.json").write_text(json.dumps(described_tokenizer))
            (folder / "tokenizer_config.json").write_text("{}")
        WRITERS[layout](state, folder)
        return folder

    return make


@pytest.fixture
def output(tmp_path):
    folder = tmp_path / "output"
    folder.mkdir()
    return folder


def _halves(state):
    names = sorted(state)
    return [{name: state[name] for name in names[::2]}, {name: state[name] for name in names[1::2]}]


def _write_sharded(state, folder, stem, suffix, save):
    weight_map = {}
    for number, part in enumerate(_halves(state), 1):
        file = f"{stem}-{number:05}-of-00002.{suffix}"
        save(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps(index))


WRITERS = {
    "safetensors": lambda state, folder: save_file(state, folder / "model.safetensors", {"format": "pt"}),
    "sharded": lambda state, folder: _write_sharded(state, folder, "model", "safetensors", save_file),
    "bin": lambda state, folder: torch.save(state, folder / "pytorch_model.bin"),
    "legacy_bin": lambda state, folder: torch.save(
        state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False
    ),
    "sharded_bin": lambda state, folder: _write_sharded(state, folder, "pytorch_model", "bin", torch.save),
}


def read_tensors(folder):
    """All tensors of a safetensors folder, whole or in shards, by the safetensors library."""
    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(file)
    return tensors


def average(states, weights):
    """Σ wᵢθᵢ in float32, rounded after every operation, in the order given."""
    merged = {}
    for name in states[0]:
        total = np.zeros(states[0][name].shape, np.float32)
        for state, weight in zip(states, weights):
            total = total + np.float32(weight) * state[name].float().numpy()
        merged[name] = total
    return merged


@pytest.fixture
def oracle():
    class Oracle:
        read = staticmethod(read_tensors)
        average = staticmethod(average)
        labels = LABELS
        head = HEAD

    return Oracle
