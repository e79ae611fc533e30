"""Every refusal of a merge, and that nothing is left behind after one."""

import errno
import itertools
import json
import logging
import os
import shutil
import subprocess
import sys
from collections import namedtuple

import pytest
import torch
from auto_merge_llm import checks, executor, output_folder
from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError
from auto_merge_llm.merge import merge_checkpoints, merge_state_dicts
from auto_merge_llm.methods import create
from auto_merge_llm.output_folder import OutputFolder
from toys import HEAD, LABELS, read_tensors

LINEAR = create("linear")
HALVES = (0.5, 0.5)


@pytest.fixture
def refused(output):
    """refused(sources, *words, weights, **form): the merge is refused and leaves an empty folder."""

    def run(sources, *words, weights=HALVES, **form):
        with pytest.raises(InputError) as caught:
            merge_checkpoints(LINEAR, sources, weights, OutputFolder(output, **form))
        message = str(caught.value)
        assert "\n" not in message
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        for word in words:
            assert word in message, message
        assert list(output.iterdir()) == []

    return run


@pytest.fixture
def two(make_checkpoint):
    """two(**options) -> a model, and another with these options."""
    return lambda **options: [make_checkpoint("a"), make_checkpoint("b", **options)]


@pytest.fixture
def pair(two):
    return two()


@pytest.mark.parametrize(
    "weights, words",
    [
        ([0.5, 0.6], ["sum to 1.1", "divide each by their sum"]),
        ([0.0, 0.0], ["sum to 0", "give at least one source weight"]),
        ([0.5, 0.49999], ["sum to 0.99999"]),
        ([1.5, -0.5], ["-0.5", "/b"]),
        ([float("nan"), 1.0], ["nan", "/a"]),
        ([float("inf"), 0.0], ["inf", "/a"]),
        ([1.0], ["2 sources have 1 weights"]),
        ([0.5, 0.25, 0.25], ["2 sources have 3 weights"]),
    ],
)
def test_weights(pair, refused, weights, words):
    refused(pair, *words, weights=weights)


def test_no_source(refused):
    refused([], "no source to merge", weights=())


def test_weights_may_miss_one_by_rounding(make_checkpoint, output):
    folders = [make_checkpoint(name) for name in "abc"]
    merge_checkpoints(LINEAR, folders, [0.3333333, 0.3333333, 0.3333333], output)


@pytest.mark.parametrize(
    "key, value",
    [
        ("model_type", "bert"),
        ("architectures", ["BertForSequenceClassification"]),
        ("num_attention_heads", 4),
        ("hidden_act", "relu"),
        ("pad_token_id", 0),
    ],
)
def test_other_architecture(two, refused, key, value):
    refused(two(**{key: value}), f"differ in {key}", "/a", "/b")


def test_a_config_key_that_one_file_lacks_is_no_difference(two, output):
    merge_checkpoints(LINEAR, two(layer_norm_eps=None), HALVES, output)


def test_other_vocabulary(two, refused):
    refused(two(tokenizer="piece"), "different tokenizers (model)")


def test_tokenizer_comes_from_a_source_that_has_one(make_checkpoint, output, caplog):
    folders = [make_checkpoint("a", tokenizer=None), make_checkpoint("b")]
    merge_checkpoints(LINEAR, folders, HALVES, output)
    assert (output / "tokenizer.json").is_file() and (output / "tokenizer_config.json").is_file()
    (said,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert said.startswith("warning: no tokenizer file in ") and "/a: of its vocabulary only the size" in said


def test_a_source_without_a_tokenizer_hides_no_difference_of_others(make_checkpoint, refused):
    refused(
        [make_checkpoint("a", tokenizer=None), make_checkpoint("b"), make_checkpoint("c", tokenizer="piece")],
        "different tokenizers (model)",
        weights=(0.25, 0.25, 0.5),
    )


def test_other_tokenizer_format_is_noted(make_checkpoint, output, caplog):
    caplog.set_level(logging.INFO)
    a, b = make_checkpoint("a"), make_checkpoint("b", tokenizer=None)
    (b / "sentencepiece.bpe.model").write_bytes(b"pieces")
    merge_checkpoints(LINEAR, [a, b], HALVES, output)
    assert "only the sizes were compared" in caplog.text


def test_other_tensor_names_lists_three(two, refused):
    def edit(state):
        for number in range(5):
            state[f"extra.{number}"] = torch.ones(1)

    refused(two(edit=edit), "extra.0, extra.1, extra.2 and 2 more")


def test_other_shapes(two, refused):
    def edit(state):
        state["classifier.dense.bias"] = torch.ones(17)

    refused(two(edit=edit), "classifier.dense.bias [16] and [17]")


def test_integer_tensor(make_checkpoint, refused):
    def edit(state):
        state["counter"] = torch.ones(2, dtype=torch.int64)

    refused([make_checkpoint("a", edit=edit), make_checkpoint("b", edit=edit)], "tensor counter is torch.int64")


def test_other_labels(two, refused):
    other = ("alarm_off", *LABELS[1:])
    refused(two(labels=other), "different labels (alarm_off, alarm_set)")


def test_default_label_names(make_checkpoint, refused, output):
    unnamed = {f"{index}": f"LABEL_{index}" for index in range(5)}
    folder = make_checkpoint("a", id2label=unnamed)
    refused([folder, make_checkpoint("b")], "only the default names")
    merge_checkpoints(LINEAR, [folder], [1.0], output)
    assert read_tensors(output).keys() == read_tensors(folder).keys()


def test_labels_that_do_not_fit_the_head(make_checkpoint, refused):
    labels = {"0": "x", "1": "y"}
    refused(
        [make_checkpoint(name, id2label=labels) for name in "ab"],
        "classifier.out_proj.weight has 5 rows and id2label 2 names",
    )


def test_model_without_a_head(make_checkpoint, refused):
    def edit(state):
        for name in [name for name in state if name.startswith("classifier")]:
            del state[name]

    # The fixture's own permutation needs the head, so the labels here are others.
    refused([make_checkpoint(name, edit=edit, labels=("x", "y")) for name in "ab"], "no classifier or score layer")


def one_layer_head(state):
    for name in [name for name in state if name.startswith("classifier")]:
        del state[name]
    generator = torch.Generator().manual_seed(9)
    state["classifier.weight"] = torch.randn(2, 16, generator=generator)
    state["classifier.bias"] = torch.randn(2, generator=generator)


def test_one_layer_heads_are_aligned_too(make_checkpoint, output):
    a = make_checkpoint("a", edit=one_layer_head, labels=("x", "y"))

    def turned(state):
        one_layer_head(state)
        state["classifier.weight"] = state["classifier.weight"].flip(0) + 0.5

    b = make_checkpoint("b", edit=turned, labels=("y", "x"))
    merge_checkpoints(LINEAR, [a, b], HALVES, output)
    weight = read_tensors(a)["classifier.weight"]
    assert torch.allclose(read_tensors(output)["classifier.weight"], weight + 0.25)


OTHER_HEAD = "b" * 64


def scramble_head(state):
    generator = torch.Generator().manual_seed(11)
    for name in ("classifier.dense.weight", "classifier.out_proj.weight"):
        state[name] = torch.randn(state[name].shape, generator=generator)


def test_different_initial_heads_by_fingerprint(two, refused, output, caplog):
    pair = two(initial_head=OTHER_HEAD)
    refused(pair, "different initial heads", "0.648 to 0.486", "/a", "/b")
    refused(pair, "different initial heads", weights=[0.0, 1.0])
    report = merge_checkpoints(LINEAR, pair, HALVES, output, allow_mismatched_heads=True)
    assert report.findings.head_evidence == "mismatch allowed"
    assert "0.648 to 0.486" in caplog.text
    assert "initial_head" not in json.loads((output / "config.json").read_text())


def test_different_initial_heads_by_cosine(two, refused, output, caplog):
    pair = two(initial_head=None, edit=scramble_head)
    refused(pair, "do not seem to share an initial head", "0.486")
    report = merge_checkpoints(LINEAR, pair, HALVES, output, allow_mismatched_heads=True)
    assert report.findings.head_cosine < 0.5
    assert "0.486" in caplog.text


def test_missing_fingerprints_with_like_heads_go_on(two, output, caplog):
    caplog.set_level(logging.INFO)
    permuted = tuple(reversed(LABELS))
    pair = two(initial_head=None, labels=permuted)
    report = merge_checkpoints(LINEAR, pair, HALVES, output)
    assert report.findings.head_evidence == "cosine"
    assert report.findings.head_cosine > 0.8
    assert report.findings.initial_head is None
    assert "initial_head is missing" in caplog.text
    assert "initial_head" not in json.loads((output / "config.json").read_text())


def scramble_encoder(state):
    generator = torch.Generator().manual_seed(12)
    for name in [name for name in state if ".layer." in name and name.endswith(".weight")]:
        state[name] = torch.randn(state[name].shape, generator=generator)


def test_fingerprints_are_claims_that_tensors_must_not_contradict(two, make_checkpoint, refused, output):
    report = merge_checkpoints(LINEAR, two(), HALVES, output)
    assert (report.findings.head_evidence, report.findings.initial_head) == ("fingerprint", HEAD)
    for file in output.iterdir():
        file.unlink()
    good = make_checkpoint("good")
    refused([good, make_checkpoint("c", edit=scramble_head)], "their heads have not grown from one", "cosine between")
    refused([good, make_checkpoint("d", edit=scramble_encoder)], "/d and ", "do not seem to share a base model")


def test_a_base_that_only_claims_the_initial_head(pair, make_checkpoint, output):
    base = make_checkpoint("base", edit=scramble_encoder)
    with pytest.raises(InputError, match="do not seem to share a base model"):
        merge_checkpoints(create("task_arithmetic"), pair, HALVES, output, base=base)
    assert list(output.iterdir()) == []


@pytest.mark.parametrize("order", [(1, 2, 3, 4, 0), (1, 0, 2, 3, 4)], ids=["rotated", "two swapped"])
def test_names_of_labels_that_are_on_the_wrong_rows(two, refused, order):
    """Under the same fingerprint, id2label and label2id in accord."""
    names = tuple(LABELS[place] for place in order)
    one, other = two()
    config = json.loads((other / "config.json").read_text())
    config["id2label"] = {str(place): name for place, name in enumerate(names)}
    config["label2id"] = {name: place for place, name in enumerate(names)}
    (other / "config.json").write_text(json.dumps(config))
    refused([one, other], f"the row of {LABELS[0]} in {one} is like that of", "correct id2label")


@pytest.mark.parametrize("layout", ["safetensors", "bin"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_not_finite_in_the_last_tensor(make_checkpoint, refused, monkeypatch, layout, value):
    monkeypatch.setattr(executor, "CHUNK_ELEMENTS", 10)

    def edit(state):
        state[sorted(state)[-1]].view(-1)[-1] = value

    good, bad = make_checkpoint("a"), make_checkpoint("b", edit=edit, layout=layout)
    last = sorted(Checkpoint(good).tensors)[-1]
    refused([good, bad], "/b", last, "1 NaN or infinite")
    refused([good, bad], "/b", last, shard_size=2000)


def test_opposite_infinities_are_found():
    with pytest.raises(InputError, match="a: tensor x has 2 NaN or infinite values"):
        merge_state_dicts(LINEAR, {"a": {"x": torch.tensor([float("inf"), 1.0, -float("inf")])}}, {"a": 1.0})


def test_file_cut_short_after_the_checks(pair, refused, monkeypatch):
    def cut(folder, size):
        file = pair[1] / "model.safetensors"
        os.truncate(file, file.stat().st_size // 2)

    monkeypatch.setattr(output_folder, "check_free_space", cut)
    refused(pair, "b/model.safetensors became shorter")


def test_output_folder(pair, tmp_path, refused):
    with pytest.raises(InputError, match="no output folder"):
        merge_checkpoints(LINEAR, pair, HALVES, tmp_path / "nowhere")
    before = (pair[0] / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match="model.safetensors exists already"):
        merge_checkpoints(LINEAR, pair, HALVES, pair[0])
    assert (pair[0] / "model.safetensors").read_bytes() == before
    refused(pair, "shard size 0", shard_size=0)
    refused(pair, "no output dtype 'int8'", "bfloat16", dtype="int8")


def test_too_little_space(pair, refused, monkeypatch):
    usage = namedtuple("usage", "total used free")(10, 0, 10)
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda folder: usage)
    refused(pair, "0.00 GB free", "free space there")


def no_space(*arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail_after(good_calls, function):
    functions = itertools.chain(itertools.repeat(function, good_calls), itertools.repeat(no_space))
    return lambda *arguments: next(functions)(*arguments)


@pytest.mark.parametrize("good_calls", [0, 1, 5])
def test_disk_full_while_writing(pair, refused, monkeypatch, good_calls):
    monkeypatch.setattr(os, "pwrite", fail_after(good_calls, os.pwrite))
    refused(pair, "No space left on device", "output")


@pytest.mark.parametrize("module, function", [(os, "truncate"), (shutil, "copyfile")])
def test_disk_full_before_and_after_writing(pair, refused, monkeypatch, module, function):
    monkeypatch.setattr(module, function, no_space)
    refused(pair, "No space left on device", "output")


def test_failing_rename_of_one_shard_leaves_no_weights(pair, output, monkeypatch):
    monkeypatch.setattr(os, "replace", fail_after(2, os.replace))
    with pytest.raises(InputError, match="No space left on device"):
        merge_checkpoints(LINEAR, pair, HALVES, OutputFolder(output, shard_size=2000))
    assert not [path for path in output.iterdir() if "safetensors" in path.name]


@pytest.mark.parametrize("shard_size", [None, 2000])
def test_interrupt_leaves_nothing(pair, output, monkeypatch, shard_size):
    monkeypatch.setattr(executor, "CHUNK_ELEMENTS", 10)

    def interrupt(done, total):
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge_checkpoints(LINEAR, pair, HALVES, OutputFolder(output, shard_size=shard_size), progress=interrupt)
    assert list(output.iterdir()) == []


def test_no_partial_file_has_a_final_name(pair, output):
    def look(done, total):
        assert not (output / "model.safetensors").exists()

    merge_checkpoints(LINEAR, pair, HALVES, output, progress=look)
    assert sorted(path.name for path in output.iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_merging_imports_neither_transformers_nor_safetensors():
    code = "import sys, auto_merge_llm.merge;sys.exit(bool({'transformers', 'safetensors'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
