"""θ₀ + S(θ − θ₀) on the merge θ of any method, against NumPy."""

import math

import numpy as np
import pytest
import torch
from auto_merge_llm.errors import InputError
from auto_merge_llm.executor import Stretch
from auto_merge_llm.merge import merge_checkpoints, merge_state_dicts, merge_to_memory
from auto_merge_llm.methods import METHODS, create
from auto_merge_llm.output_folder import OutputFolder
from toys import LABELS, WEIGHTS, average, in_dtype, read_tensors, same_bits

EVERY = [name for name in METHODS if name != "passthrough" and not create(name).measurement]
every_method = pytest.mark.parametrize("name", EVERY)


def stretched(merged, base, length):
    """In float32, rounded after every operation."""
    moved = (np.float32(merged) - np.float32(base)).astype(np.float32)
    return (moved * np.float32(length)).astype(np.float32) + np.float32(base)


def states(names="abc"):
    generator = torch.Generator().manual_seed(0)
    base = {"w": torch.randn(7, 11, generator=generator), "b": torch.randn(13, generator=generator)}
    return base, {
        source: {name: value + 0.3 * torch.randn(value.shape, generator=generator) for name, value in base.items()}
        for source in names
    }


def merge(name, sources, base, weights=WEIGHTS):
    return merge_state_dicts(create(name), sources, weights, base=base)


@every_method
@pytest.mark.parametrize("length", [0.0, 0.4, 1.7])
def test_every_merge_is_stretched_in_float32(name, length):
    base, sources = states()
    plain = merge(name, sources, base if create(name).needs_base else None)
    long = merge(name, sources, Stretch(base, length))
    for key, values in long.items():
        assert np.array_equal(values.numpy(), stretched(plain[key].numpy(), base[key].numpy(), length)), key
        assert length or torch.equal(values, base[key])


def test_the_stretched_average_is_numpys():
    base, sources = states()
    mean = average(list(sources.values()), list(WEIGHTS.values()))
    for key, values in merge("linear", sources, Stretch(base, 1.25)).items():
        assert np.array_equal(values.numpy(), stretched(mean[key], base[key].numpy(), 1.25))


def test_hand_worked():
    merged = merge("linear", {"a": {"w": torch.tensor([3.0])}}, Stretch({"w": torch.tensor([1.0])}, 1.5), {"a": 1.0})
    assert merged["w"].tolist() == [4.0]
    copied = merge("passthrough", {"a": {"w": torch.tensor([3.0])}}, Stretch({"w": torch.tensor([1.0])}, 2), {"a": 1.0})
    assert copied["w"].tolist() == [5.0]


@pytest.mark.parametrize("name", ["linear", "slerp", "ties", "widen"])
def test_streams_memory_order_threads_and_shards_make_the_same_bytes(name, make_checkpoint, merges_in_every_way):
    base = make_checkpoint("base", noise=0)
    folders = {source: make_checkpoint(source, noise=0.05) for source in "abc"}
    weights = [WEIGHTS[source] for source in folders]
    in_memory = merge_to_memory(create(name), list(folders.values()), weights, base=Stretch(base, 1.3)).state
    for merged, _ in merges_in_every_way(create(name), folders, Stretch(base, 1.3)):
        assert same_bits(merged, in_memory)
    plain = merge_to_memory(
        create(name), list(folders.values()), weights, base=base if create(name).needs_base else None
    )
    assert not same_bits(in_memory, plain.state)


def test_heads_are_aligned_by_the_names_of_their_labels(make_checkpoint, output, new_folder):
    backwards = tuple(reversed(LABELS))
    one, other = make_checkpoint("a"), make_checkpoint("b", labels=backwards)
    base = make_checkpoint("base", noise=0, labels=LABELS[2:] + LABELS[:2])
    merge_checkpoints(create("linear"), [one, other], [0.5, 0.5], output, base=Stretch(base, 1.5))
    start, first, second, merged = map(read_tensors, (base, one, other, output))
    order = [base_label for base_label in LABELS[2:] + LABELS[:2]]
    for key in ("classifier.out_proj.weight", "classifier.out_proj.bias"):
        for row, label in enumerate(LABELS):
            origin = start[key][order.index(label)].double()
            mean = (first[key][row].double() + second[key][backwards.index(label)].double()) / 2
            torch.testing.assert_close(merged[key][row].double(), origin + 1.5 * (mean - origin), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_sources_are_stretched_wide(dtype):
    base, sources = states()
    narrow = in_dtype({**sources, "base": base}, dtype)
    wide = in_dtype(narrow, torch.float32)
    start, wide_start = narrow.pop("base"), wide.pop("base")
    expected = merge("linear", wide, Stretch(wide_start, 1.5))
    for key, values in merge("linear", narrow, Stretch(start, 1.5)).items():
        assert torch.equal(values, expected[key].to(dtype))


@every_method
def test_a_length_of_1_changes_no_bit(name):
    base, sources = states()
    if create(name).needs_base:
        assert same_bits(merge(name, sources, Stretch(base, 1.0)), merge(name, sources, base))
    else:
        with pytest.raises(InputError, match="takes no base model"):
            merge(name, sources, Stretch(base, 1.0))


def test_what_is_wrong_is_named(make_checkpoint, new_folder):
    base, sources = states()
    for length in (-0.1, math.nan, math.inf, "2"):
        with pytest.raises(InputError, match="length is "):
            Stretch(base, length)
    with pytest.raises(InputError, match="length 1.5 needs the base model; name it"):
        merge("linear", sources, Stretch(None, 1.5))
    base["b"][5] = math.nan
    with pytest.raises(InputError, match="base: tensor b has 1 NaN"):
        merge("linear", sources, Stretch(base, 1.5))
    folders = [make_checkpoint(name, noise=50, dtype=torch.float16) for name in "ab"]
    start = make_checkpoint("base", noise=0, dtype=torch.float16)
    with pytest.raises(InputError, match="too large for torch.float16"):
        merge_checkpoints(
            create("linear"),
            folders,
            [0.5, 0.5],
            OutputFolder(new_folder("out")),
            base=Stretch(start, 1e4),
            allow_mismatched_heads=True,
        )
