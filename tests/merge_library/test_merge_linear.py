"""The numbers of a linear merge, against NumPy."""

import itertools
import json
import os

import numpy as np
import pytest
import torch
from auto_merge_llm import executor
from auto_merge_llm.merge import merge_checkpoints, merge_state_dicts
from auto_merge_llm.methods import create
from auto_merge_llm.output_folder import OutputFolder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from toys import HEAD, LABELS, average, read_tensors, same_bits
from transformers import XLMRobertaForSequenceClassification

LINEAR = create("linear")
WEIGHTS = (0.5, 0.3, 0.2)


@pytest.fixture
def three(make_checkpoint):
    return [make_checkpoint(name) for name in ("a", "b", "c")]


def test_hand_worked_average_of_three_elements():
    merged = merge_state_dicts(
        LINEAR,
        {"a": {"x": torch.tensor([1.0, -2.0, 4.0])}, "b": {"x": torch.tensor([3.0, 2.0, 0.0])}},
        {"a": 0.75, "b": 0.25},
    )
    assert merged["x"].tolist() == [1.5, -1.0, 3.0]


def test_equals_numpy_bit_for_bit(three, output):
    report = merge_checkpoints(LINEAR, three, WEIGHTS, output)
    expected = average([read_tensors(folder) for folder in three], WEIGHTS)
    merged = read_tensors(output)
    assert merged.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(merged[name].numpy(), values)
    assert report.parameters == sum(values.size for values in expected.values())
    assert report.dtypes == ("float32",)


@pytest.mark.parametrize("method", ["linear", "passthrough"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_one_source_is_bit_identical(make_checkpoint, output, dtype, method):
    folder = make_checkpoint("a", dtype=dtype)
    merge_checkpoints(create(method), [folder], [1.0], output)
    assert same_bits(read_tensors(output), read_tensors(folder))
    written, expected = [json.loads((path / "config.json").read_text()) for path in (output, folder)]
    assert written == expected


def test_identical_sources_give_themselves(make_checkpoint, output):
    folders = [make_checkpoint(name, seed=7) for name in "abcde"]
    merge_checkpoints(LINEAR, folders, [0.2] * 5, output)
    merged, source = read_tensors(output), read_tensors(folders[0])
    for name in source:
        torch.testing.assert_close(merged[name], source[name], rtol=3e-7, atol=0)


@pytest.mark.parametrize("chosen", range(3))
def test_one_hot_weights_give_that_source(three, output, chosen):
    weights = [0.0, 0.0, 0.0]
    weights[chosen] = 1.0
    merge_checkpoints(LINEAR, three, weights, output)
    assert same_bits(read_tensors(output), read_tensors(three[chosen]))


def test_order_of_sources_does_not_change_a_byte(three, new_folder):
    written = set()
    for number, order in enumerate(itertools.permutations(range(3))):
        folder = new_folder(f"out{number}")
        report = merge_checkpoints(LINEAR, [three[i] for i in order], [WEIGHTS[i] for i in order], folder)
        assert report.weights == WEIGHTS
        written.add(((folder / "model.safetensors").read_bytes(), (folder / "config.json").read_bytes()))
    assert len(written) == 1


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
@pytest.mark.parametrize("threads", [1, 3])
def test_chunks_and_threads_do_not_change_a_byte(three, new_folder, output, monkeypatch, chunk, threads):
    merge_checkpoints(LINEAR, three, WEIGHTS, output)
    other = new_folder()
    monkeypatch.setattr(executor, "CHUNK_ELEMENTS", chunk)
    torch.set_num_threads(threads)
    merge_checkpoints(LINEAR, three, WEIGHTS, other)
    assert (other / "model.safetensors").read_bytes() == (output / "model.safetensors").read_bytes()


def test_pieces_that_torch_would_split_among_threads_are_equal_too():
    generator = torch.Generator().manual_seed(1)
    states = {name: {"x": torch.randn(700_001, generator=generator)} for name in "abc"}
    merged = merge_state_dicts(LINEAR, states, dict(zip("abc", WEIGHTS)))["x"].numpy()
    expected = sum(np.float32(weight) * states[name]["x"].numpy() for name, weight in zip("abc", WEIGHTS))
    np.testing.assert_array_equal(merged, expected)


@pytest.mark.parametrize("shard_size", [1, 3000, 10_000_000])
def test_shards_hold_the_same_tensors(three, new_folder, output, shard_size):
    merge_checkpoints(LINEAR, three, WEIGHTS, output)
    other = new_folder()
    report = merge_checkpoints(LINEAR, three, WEIGHTS, OutputFolder(other, shard_size=shard_size))
    assert same_bits(read_tensors(other), read_tensors(output))
    files = sorted(path.name for path in other.glob("*.safetensors"))
    assert files == sorted(report.files)
    for file in files:
        content = (other / file).read_bytes()
        header_size = int.from_bytes(content[:8], "little")
        tensors = len(json.loads(content[8 : 8 + header_size])) - 1
        assert header_size % 8 == 0
        assert tensors == 1 or len(content) - 8 - header_size <= shard_size
    if len(files) == 1:
        assert files == ["model.safetensors"]
        assert not (other / "model.safetensors.index.json").exists()
    else:
        assert files[0] == f"model-00001-of-{len(files):05}.safetensors"
        index = json.loads((other / "model.safetensors.index.json").read_text())
        assert set(index["weight_map"].values()) == set(files)
        assert index["metadata"]["total_size"] == sum(
            value.numel() * value.element_size() for value in read_tensors(other).values()
        )


def test_transformers_loads_the_result(three, new_folder):
    for name, shard_size in (("whole", None), ("shards", 3000)):
        folder = new_folder(name)
        merge_checkpoints(LINEAR, three, WEIGHTS, OutputFolder(folder, shard_size=shard_size))
        model, info = XLMRobertaForSequenceClassification.from_pretrained(folder, output_loading_info=True)
        assert not info["missing_keys"] and not info["unexpected_keys"]
        assert same_bits(model.state_dict(), read_tensors(folder))
        assert model.config.id2label == dict(enumerate(LABELS))
        assert model.config.initial_head == HEAD


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_dtypes_accumulate_in_float32(make_checkpoint, output, dtype):
    folders = [make_checkpoint(f"s{i}", dtype=dtype, noise=0.1) for i in range(8)]
    merge_checkpoints(LINEAR, folders, [0.125] * 8, output)
    states = [read_tensors(folder) for folder in folders]
    expected, merged = average(states, [0.125] * 8), read_tensors(output)
    differs_from_narrow_sum = False
    for name, values in expected.items():
        assert merged[name].dtype == dtype
        assert torch.equal(merged[name], torch.from_numpy(values).to(dtype))
        narrow = sum(state[name] * 0.125 for state in states)
        differs_from_narrow_sum |= not torch.equal(narrow, merged[name])
    assert differs_from_narrow_sum


def test_output_dtype_is_an_option(three, output):
    report = merge_checkpoints(LINEAR, three, WEIGHTS, OutputFolder(output, "bfloat16"))
    expected = average([read_tensors(folder) for folder in three], WEIGHTS)
    for name, values in read_tensors(output).items():
        assert torch.equal(values, torch.from_numpy(expected[name]).to(torch.bfloat16))
    assert report.dtypes == ("bfloat16",)
    assert json.loads((output / "config.json").read_text())["dtype"] == "bfloat16"


def test_sources_of_different_dtypes_give_the_wider(make_checkpoint, output):
    folders = [make_checkpoint("a", dtype=torch.float16), make_checkpoint("b")]
    merge_checkpoints(LINEAR, folders, [0.5, 0.5], output)
    assert {value.dtype for value in read_tensors(output).values()} == {torch.float32}


@pytest.mark.parametrize("layout", ["sharded", "bin", "legacy_bin", "sharded_bin"])
def test_every_layout_of_the_sources_gives_the_same_bytes(make_checkpoint, three, new_folder, output, layout):
    merge_checkpoints(LINEAR, three, WEIGHTS, output)
    other = new_folder()
    for folder in three:
        folder.rename(f"{folder}_whole")
    again = [make_checkpoint(name, layout=layout) for name in "abc"]
    merge_checkpoints(LINEAR, again, WEIGHTS, other)
    assert (other / "model.safetensors").read_bytes() == (output / "model.safetensors").read_bytes()


def test_transposed_and_shared_storage_in_a_pickle(make_checkpoint, output):
    plain = make_checkpoint("plain", seed=3)

    def transpose(state):
        name = "classifier.dense.weight"
        state[name] = state[name].t().contiguous().t()

    twisted = make_checkpoint("twisted", seed=3, layout="bin", edit=transpose)
    merge_checkpoints(LINEAR, [plain, twisted], [0.5, 0.5], output)
    merged, expected = read_tensors(output), read_tensors(plain)
    assert all(torch.equal(merged[name], expected[name]) for name in expected)


def test_position_ids_of_old_files_are_no_parameters(make_checkpoint, three, output):
    def add_buffer(state):
        state["roberta.embeddings.position_ids"] = torch.arange(20)[None]

    old = make_checkpoint("old", edit=add_buffer)
    merge_checkpoints(LINEAR, [old, three[0]], [0.5, 0.5], output)
    assert "roberta.embeddings.position_ids" not in read_tensors(output)


def test_heads_are_aligned_by_label_name(make_checkpoint, new_folder, output):
    a, b = make_checkpoint("a", seed=1), make_checkpoint("b", seed=2)
    merge_checkpoints(LINEAR, [a, b], [0.6, 0.4], output)
    # Not its own inverse, so that the direction of the permutation shows.
    permuted = LABELS[1:] + LABELS[:1]
    b.rename(f"{b}_straight")
    other = new_folder()
    b = make_checkpoint("b", seed=2, labels=permuted)
    report = merge_checkpoints(LINEAR, [a, b], [0.6, 0.4], other)
    assert same_bits(read_tensors(other), read_tensors(output))
    assert report.findings.reordered == (str(b),)
    assert report.findings.labels == LABELS


def test_first_by_name_gives_the_label_order(make_checkpoint, output):
    permuted = LABELS[2:] + LABELS[:2]
    folders = [make_checkpoint("z"), make_checkpoint("a", labels=permuted)]
    merge_checkpoints(LINEAR, folders, [0.0, 1.0], output)
    assert json.loads((output / "config.json").read_text())["id2label"] == {
        str(index): label for index, label in enumerate(permuted)
    }
    assert same_bits(read_tensors(output), read_tensors(folders[1]))


@pytest.mark.parametrize("chunk", [3, 1000])
def test_state_dicts_and_folders_give_the_same_bits(three, output, monkeypatch, chunk):
    monkeypatch.setattr(executor, "CHUNK_ELEMENTS", chunk)
    merge_checkpoints(LINEAR, three, WEIGHTS, OutputFolder(output, "float16"))
    states = {folder.name: read_tensors(folder) for folder in three}
    kept = {name: {key: value.clone() for key, value in state.items()} for name, state in states.items()}
    weights = dict(zip(reversed(states), reversed(WEIGHTS)))
    assert same_bits(merge_state_dicts(LINEAR, states, weights, dtype="float16"), read_tensors(output))
    assert all(same_bits(states[name], kept[name]) for name in states)


def test_short_reads_and_writes_are_completed(three, new_folder, output, monkeypatch):
    merge_checkpoints(LINEAR, three, WEIGHTS, output)
    other = new_folder()
    preadv, pwrite = os.preadv, os.pwrite
    monkeypatch.setattr(os, "preadv", lambda file, buffers, offset: preadv(file, [buffers[0][:1000]], offset))
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: pwrite(file, data[:1000], offset))
    merge_checkpoints(LINEAR, three, WEIGHTS, other)
    assert (other / "model.safetensors").read_bytes() == (output / "model.safetensors").read_bytes()


def test_systems_without_positioned_calls_write_the_same_bytes(three, new_folder, output, monkeypatch):
    """Windows: what is opened there has one position, and threads share it."""
    merge_checkpoints(LINEAR, three, WEIGHTS, output)
    for name in ("pread", "preadv", "pwrite"):
        monkeypatch.delattr(os, name)
    other = new_folder()
    merge_checkpoints(LINEAR, three, WEIGHTS, other)
    assert (other / "model.safetensors").read_bytes() == (output / "model.safetensors").read_bytes()


def test_progress_ends_at_the_total(three, output):
    calls = []
    report = merge_checkpoints(LINEAR, three, WEIGHTS, output, progress=lambda *counts: calls.append(counts))
    assert calls[-1] == (report.parameters, report.parameters)
    assert calls == sorted(calls)


def shares_and_tensors(draw_count=4):
    values = st.floats(-1e3, 1e3, width=32)
    return st.integers(1, draw_count).flatmap(
        lambda count: st.tuples(
            st.lists(st.integers(0, 100), min_size=count, max_size=count).filter(any),
            array_shapes(max_dims=3, max_side=6).flatmap(
                lambda shape: st.lists(arrays(np.float32, shape, elements=values), min_size=count, max_size=count)
            ),
            st.permutations(range(count)),
        )
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(shares_and_tensors())
def test_convexity_and_symmetry(case):
    counts, tensors, order = case
    weights = [count / sum(counts) for count in counts]
    names = [f"s{index}" for index in range(len(counts))]
    merged = merge_state_dicts(
        LINEAR, {n: {"x": torch.from_numpy(t)} for n, t in zip(names, tensors)}, dict(zip(names, weights))
    )["x"].numpy()
    used = [tensor for tensor, count in zip(tensors, counts) if count]
    slack = 1e-5 * np.max(np.abs(used), axis=0) + 1e-30
    assert (merged >= np.min(used, axis=0) - slack).all()
    assert (merged <= np.max(used, axis=0) + slack).all()
    exact = sum(weight * tensor.astype(np.float64) for weight, tensor in zip(weights, tensors))
    np.testing.assert_allclose(merged, exact, rtol=1e-5, atol=1e-3)
    shuffled = merge_state_dicts(
        LINEAR, {names[i]: {"x": torch.from_numpy(tensors[i])} for i in order}, {names[i]: weights[i] for i in order}
    )["x"].numpy()
    np.testing.assert_array_equal(merged, shuffled)
