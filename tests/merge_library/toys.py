"""Tiny models and texts, and readers and oracles that share no code with the library."""

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import XLMRobertaConfig

LABELS = ("alarm_set", "play_music", "qa_maths", "weather_query", "iot_coffee")
HEAD = "a" * 64
WEIGHTS = {"a": 0.5, "b": 0.3, "c": 0.2}


def tiny_config(**options):
    """Of an XLM-R classifier with large random weights, so that its outputs differ."""
    defaults = dict(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
        type_vocab_size=1,
        initializer_range=0.3,
        pad_token_id=1,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )
    return XLMRobertaConfig(**{**defaults, **options})


def padded(rows, padding=0):
    """The batch of these token ids, padded to the longest row and `padding` tokens more."""
    longest = max(map(len, rows)) + padding
    ids = torch.stack([torch.nn.functional.pad(row, (0, longest - len(row)), value=1) for row in rows])
    return {"input_ids": ids, "attention_mask": (ids != 1).long()}


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


def weighted(states, name):
    """Σ wᵢθᵢ of the tensor `name`, with `WEIGHTS`."""
    return sum(WEIGHTS[source] * state[name] for source, state in states.items())


def in_dtype(states, dtype):
    """The state dicts, by source, in another dtype."""
    return {source: {name: value.to(dtype) for name, value in state.items()} for source, state in states.items()}


def same_bits(one, other):
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and one[name].shape == other[name].shape
        and torch.equal(one[name].reshape(-1).view(torch.uint8), other[name].reshape(-1).view(torch.uint8))
        for name in one
    )
