"""Tiny XLM-R classifiers on disk in every format, and merges of them in every way."""

import json

import pytest
import torch
from auto_merge_llm import executor
from auto_merge_llm.merge import merge_checkpoints
from auto_merge_llm.output_folder import OutputFolder
from safetensors.torch import save_file
from toys import HEAD, LABELS, WEIGHTS, read_tensors, tiny_config
from transformers import XLMRobertaForSequenceClassification


@pytest.fixture(scope="session")
def tiny_model():
    """State dict and config.json of one random XLM-R classifier, the start of all sources."""
    torch.manual_seed(0)
    config = tiny_config(vocab_size=50, max_position_embeddings=20, initializer_range=0.3)
    model = XLMRobertaForSequenceClassification(config)
    described = {**json.loads(config.to_json_string()), "architectures": [type(model).__name__], "dtype": "float32"}
    return {name: value.clone() for name, value in model.state_dict().items()}, described


@pytest.fixture
def make_checkpoint(tiny_model, tmp_path):
    """make(name, ...) -> folder of the start plus noise; other keywords are keys of config.json, None for none."""
    start, described = tiny_model

    def make(
        name,
        *,
        seed=None,
        noise=0.01,
        dtype=torch.float32,
        labels=LABELS,
        layout="safetensors",
        edit=None,
        tokenizer="tokenizer",
        **config,
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
            "initial_head": HEAD,
            "dtype": str(dtype).removeprefix("torch."),
            **config,
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
def new_folder(tmp_path):
    """new_folder(name) -> an empty folder."""

    def make(name="other"):
        (tmp_path / name).mkdir()
        return tmp_path / name

    return make


@pytest.fixture
def output(new_folder):
    return new_folder("output")


@pytest.fixture(autouse=True)
def threads():
    """A test may set torch's threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def merges_in_every_way(new_folder, monkeypatch):
    """merges(method, folders, ...) -> (tensors, counts) of `WEIGHTS`, by order, size of pieces, threads and shards."""

    def merges(method, folders, base=None, measurements=None):
        results = []
        for order, chunk, threads, shard_size in [
            ("abc", 1 << 18, 2, None),
            ("bca", 97, 1, None),
            ("cab", 1000, 3, 3000),
        ]:
            monkeypatch.setattr(executor, "CHUNK_ELEMENTS", chunk)
            torch.set_num_threads(threads)
            folder = new_folder(f"out_{order}")
            report = merge_checkpoints(
                method,
                [folders[name] for name in order],
                [WEIGHTS[name] for name in order],
                OutputFolder(folder, shard_size=shard_size),
                base=base,
                measurements=[measurements[name] for name in order] if measurements else (),
            )
            results.append((read_tensors(folder), report.counts))
        return results

    return merges


def _write_sharded(state, folder, stem, suffix, save):
    names, weight_map = sorted(state), {}
    for number in (1, 2):
        part = {name: state[name] for name in names[number - 1 :: 2]}
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
