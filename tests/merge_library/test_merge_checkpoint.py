"""Opening model folders: what is read, and the message for every kind of damage."""

import hashlib
import json
import pickle

import pytest
import torch
from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError
from toys import HEAD, LABELS, read_tensors

LAYOUTS = ["safetensors", "sharded", "bin", "legacy_bin", "sharded_bin"]


def refused(folder, *words):
    with pytest.raises(InputError) as caught:
        Checkpoint(folder)
    message = str(caught.value)
    assert "\n" not in message and ";" in message
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    for word in (str(folder), *words):
        assert word in message, message


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reads_every_layout_lazily_in_ranges(make_checkpoint, tmp_path, layout):
    expected = read_tensors(make_checkpoint("whole", seed=5))
    checkpoint = Checkpoint(make_checkpoint("same", seed=5, layout=layout))
    assert checkpoint.labels == LABELS
    assert checkpoint.initial_head == HEAD
    assert checkpoint.tensors.keys() == expected.keys()
    for name, values in expected.items():
        tensor = checkpoint.tensors[name]
        assert (tensor.shape, tensor.dtype) == (tuple(values.shape), values.dtype)
        assert tensor.numel == values.numel()
        assert torch.equal(tensor.read(0, tensor.numel, torch.float32), values.reshape(-1))
        assert torch.equal(tensor.read(2, 5, torch.float64), values.reshape(-1)[2:5].double())
        tensor.read(0, tensor.numel, torch.float32).zero_()
        assert torch.equal(tensor.read(0, tensor.numel, torch.float32), values.reshape(-1))


def test_no_folder(tmp_path):
    refused(tmp_path / "nowhere", "no model folder")


@pytest.mark.parametrize(
    "content, word",
    [
        (None, "no config.json"),
        ("", "not valid JSON"),
        ('{"model_type": "xlm', "not valid JSON"),
        ("[1]", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
    ],
)
def test_damaged_config(make_checkpoint, content, word):
    folder = make_checkpoint("a")
    if content is None:
        (folder / "config.json").unlink()
    else:
        (folder / "config.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(folder, "config.json", word)


def test_no_weights(make_checkpoint):
    folder = make_checkpoint("a")
    (folder / "model.safetensors").unlink()
    refused(folder, "no model.safetensors or pytorch_model.bin", "train the model again")


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -1, 0.5])
def test_safetensors_cut_short(make_checkpoint, keep):
    folder = make_checkpoint("a")
    file = folder / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    refused(folder, "model.safetensors", "damaged or only partly written")


@pytest.mark.parametrize(
    "header",
    [
        b"not json at all ",
        b"[]",
        b'{"x":1}',
        b'{"x":{"dtype":"F32"}}',
        b'{"x":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}',
        b'{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        b'{"x":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}',
        b'{"x":{"dtype":"F32","shape":"ab","data_offsets":[0,8]}}',
        b'{"x":{"dtype":["F32"],"shape":[2],"data_offsets":[0,8]}}',
        b'{"__metadata__":{"format":"pt","shape":[2]},"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        b'{"__metadata__":["pt"],"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
    ],
)
def test_safetensors_with_a_wrong_header(make_checkpoint, header):
    folder = make_checkpoint("a")
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    refused(folder, "model.safetensors", "damaged")


def test_safetensors_with_an_unknown_dtype(make_checkpoint):
    folder = make_checkpoint("a")
    header = b'{"x":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}}'
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    refused(folder, "tensor x has the dtype F8_E4M3")


@pytest.mark.parametrize(
    "layout, shard",
    [("sharded", "model-00002-of-00002.safetensors"), ("sharded_bin", "pytorch_model-00002-of-00002.bin")],
)
def test_missing_shard(make_checkpoint, layout, shard):
    folder = make_checkpoint("a", layout=layout)
    (folder / shard).unlink()
    refused(folder, shard, "is missing")


@pytest.mark.parametrize("layout", ["sharded", "sharded_bin"])
def test_shard_lacks_an_indexed_tensor(make_checkpoint, layout):
    folder = make_checkpoint("a", layout=layout)
    index = next(folder.glob("*.index.json"))
    content = json.loads(index.read_text())
    content["weight_map"]["extra.weight"] = next(iter(content["weight_map"].values()))
    index.write_text(json.dumps(content))
    refused(folder, "lacks the tensor extra.weight", index.name)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"weight_map": 3}',
        '{"weight_map": {}}',
        '{"weight_map": {"x": "../model.safetensors"}}',
        '{"weight_map": {"x": 3}}',
    ],
)
def test_damaged_index(make_checkpoint, content):
    folder = make_checkpoint("a", layout="sharded")
    (folder / "model.safetensors.index.json").write_text(content)
    refused(folder, "model.safetensors.index.json", "damaged")


@pytest.mark.parametrize("layout", ["bin", "legacy_bin"])
@pytest.mark.parametrize("part", [0, 0.01, 0.5, 0.99])
def test_bin_cut_short(make_checkpoint, layout, part):
    folder = make_checkpoint("a", layout=layout)
    file = folder / "pytorch_model.bin"
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * part)])
    refused(folder, "pytorch_model.bin", "damaged")


class Payload:
    ran = False

    def __reduce__(self):
        return exec, ("import test_merge_checkpoint as t; t.Payload.ran = True",)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(pickle.dumps(Payload(), protocol=2)),
        lambda path: torch.save({"x": Payload()}, path),
    ],
)
def test_code_in_a_bin_is_refused_and_never_run(make_checkpoint, write):
    folder = make_checkpoint("a", layout="bin")
    write(folder / "pytorch_model.bin")
    refused(folder, "pytorch_model.bin", "never run", "safetensors")
    assert not Payload.ran


@pytest.mark.parametrize("content", [[1, 2], {"x": 3}, {"x": torch.eye(3).to_sparse()}])
def test_bin_without_dense_tensors(make_checkpoint, content):
    folder = make_checkpoint("a", layout="bin")
    torch.save(content, folder / "pytorch_model.bin")
    refused(folder, "pytorch_model.bin")


def test_malformed_initial_head(make_checkpoint):
    refused(make_checkpoint("a", initial_head="../../etc"), "initial_head is not a sha256")


@pytest.mark.parametrize(
    "id2label, word",
    [
        (None, "no id2label"),
        ({}, "no id2label"),
        ({"0": "x", "2": "y"}, "no entry 1"),
        ({"0": "x", "1": "x"}, "one different name"),
        ({"0": "x", "1": 4}, "one different name"),
        ({"0": "LABEL_0", "1": "LABEL_1"}, "default names"),
    ],
)
def test_labels_are_only_refused_when_asked_for(make_checkpoint, id2label, word):
    checkpoint = Checkpoint(make_checkpoint("a", id2label=id2label))
    with pytest.raises(InputError, match=word):
        checkpoint.labels  # noqa: B018


def test_tokenizer_fingerprint_is_of_what_decides_which_tokens_there_are(make_checkpoint):
    a, b, c = (make_checkpoint(name, tokenizer=tokenizer) for name, tokenizer in [("a", "x"), ("b", "x"), ("c", "y")])
    changed = json.loads((b / "tokenizer.json").read_text()) | {"truncation": {"max_length": 128}}
    (b / "tokenizer.json").write_text(json.dumps(changed))
    a, b, c = map(Checkpoint, (a, b, c))
    assert a.tokenizer_fingerprint == b.tokenizer_fingerprint != c.tokenizer_fingerprint


def test_tokenizer_fingerprint_of_other_files(make_checkpoint):
    folder = make_checkpoint("a", tokenizer=None)
    assert Checkpoint(folder).tokenizer_fingerprint is None
    (folder / "sentencepiece.bpe.model").write_bytes(b"pieces")
    pieces = Checkpoint(folder).tokenizer_fingerprint
    (folder / "sentencepiece.bpe.model").write_bytes(b"others")
    assert Checkpoint(folder).tokenizer_fingerprint != pieces
    (folder / "tokenizer.json").write_text('{"model": {"vocab": {"b": 1, "a": 0}}}')
    one = Checkpoint(folder).tokenizer_fingerprint
    (folder / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0, "b": 1}}}')
    assert Checkpoint(folder).tokenizer_fingerprint == one
    (folder / "tokenizer.json").write_text('{"model": {}}')
    with pytest.raises(InputError, match="has no vocabulary"):
        Checkpoint(folder).tokenizer_fingerprint  # noqa: B018


@pytest.mark.parametrize("layout", ["safetensors", "sharded"])
def test_weights_fingerprint_is_of_the_files(make_checkpoint, layout):
    folder = make_checkpoint("a", layout=layout)
    content = b"".join(path.read_bytes() for path in sorted(folder.glob("*.safetensors")))
    assert Checkpoint(folder).weights_fingerprint == hashlib.sha256(content).hexdigest()
