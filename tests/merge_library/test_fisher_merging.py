"""Fisher merging against NumPy, on given Fishers; tests/test_measuring.py has it with Fishers measured on text."""

import math

import numpy as np
import pytest
import torch
from auto_merge_llm.errors import InputError
from auto_merge_llm.merge import merge_checkpoints, merge_state_dicts
from auto_merge_llm.methods import create
from safetensors.torch import save_file
from toys import LABELS, WEIGHTS, in_dtype, read_tensors, same_bits, weighted


def fishers_of(states, seed=1):
    """Positive numbers over many magnitudes, of another size for each source."""
    generator = torch.Generator().manual_seed(seed)
    return {
        source: {
            name: 10.0 ** (place + 3 * torch.randn(value.shape, generator=generator)) for name, value in state.items()
        }
        for place, (source, state) in enumerate(sorted(states.items()))
    }


def random_states(names="abc"):
    generator = torch.Generator().manual_seed(0)
    return {
        source: {"matrix": torch.randn(7, 11, generator=generator), "vector": torch.randn(13, generator=generator)}
        for source in names
    }


def oracle(states, fishers, weights, normalize=True, floor=1e-6):
    scaled = {}
    for source, fisher in fishers.items():
        wide = {name: value.double().numpy() for name, value in fisher.items()}
        everything = np.concatenate([value.ravel() for value in wide.values()])
        scale = np.sqrt((everything**2).sum()) if normalize else 1.0
        scaled[source] = {
            name: np.maximum(value / scale, floor * everything.mean() / scale) * weights[source]
            for name, value in wide.items()
        }
    return {
        name: sum(scaled[source][name] * states[source][name].double().numpy() for source in states)
        / sum(scaled[source][name] for source in states)
        for name in next(iter(states.values()))
    }


def merge(states, fishers, weights=WEIGHTS, **options):
    return merge_state_dicts(create("fisher", **options), states, weights, measurements=fishers)


@pytest.mark.parametrize("options", [{}, {"normalize": False}, {"floor": 0.5}, {"normalize": False, "floor": 10.0}])
def test_fisher_merging_equals_numpy(options):
    states = random_states()
    fishers = fishers_of(states)
    expected = oracle(states, fishers, WEIGHTS, **options)
    for name, value in merge(states, fishers, **options).items():
        np.testing.assert_allclose(value.numpy(), expected[name], rtol=2e-5, atol=1e-6)


def test_hand_worked_case():
    states = {"a": {"x": torch.tensor([1.0, 1.0, 1.0])}, "b": {"x": torch.tensor([3.0, 3.0, 3.0])}}
    fishers = {"a": {"x": torch.tensor([1.0, 3.0, 0.0])}, "b": {"x": torch.tensor([1.0, 1.0, 0.0])}}
    merged = merge(states, fishers, {"a": 0.5, "b": 0.5}, normalize=False, floor=1e-9)["x"]
    # (1+3)/2, (3·1+1·3)/4, and at the floors 4/3·1e-9 and 2/3·1e-9: (2·1+1·3)/3.
    assert merged.tolist() == pytest.approx([2.0, 1.5, 5 / 3])


def test_equal_fishers_give_the_weighted_mean_whatever_their_size():
    states = random_states()
    one = fishers_of(states)["a"]
    for factor in (1.0, 1e-20, 1e15):
        fishers = {
            source: {name: value * (factor if source == "b" else 1.0) for name, value in one.items()}
            for source in states
        }
        for name, value in merge(states, fishers).items():
            torch.testing.assert_close(value, weighted(states, name), rtol=2e-5, atol=2e-6)


def test_no_information_at_all_gives_the_weighted_mean():
    states = random_states()
    nothing = {
        source: {name: torch.zeros_like(value) for name, value in state.items()} for source, state in states.items()
    }
    for name, value in merge(states, nothing).items():
        torch.testing.assert_close(value, weighted(states, name))


def test_one_source_identical_sources_and_one_hot_weights():
    states = random_states()
    fishers = fishers_of(states)
    alone = merge({"a": states["a"]}, {"a": fishers["a"]}, {"a": 1.0})
    assert all(torch.equal(alone[name], states["a"][name]) for name in alone)
    same = merge(dict.fromkeys("abc", states["a"]), fishers)
    one_hot = merge(states, fishers, {"a": 0.0, "b": 1.0, "c": 0.0})
    for name in same:
        torch.testing.assert_close(same[name], states["a"][name], rtol=1e-6, atol=1e-6)
        assert torch.equal(one_hot[name], states["b"][name])


def saved(fishers, folder):
    """The files of the Fishers, by source."""
    files = {name: folder / f"{name}.fisher.safetensors" for name in fishers}
    for name, fisher in fishers.items():
        save_file(fisher, files[name])
    return files


def test_order_threads_pieces_and_shards_change_no_bit(make_checkpoint, tmp_path, merges_in_every_way):
    folders = {name: make_checkpoint(name, noise=0.05) for name in "abc"}
    states = {name: read_tensors(folder) for name, folder in folders.items()}
    fishers = fishers_of(states)
    in_memory = merge(dict(reversed(states.items())), fishers)
    for merged, _ in merges_in_every_way(create("fisher"), folders, measurements=saved(fishers, tmp_path)):
        assert same_bits(merged, in_memory)


def test_fishers_follow_their_labels(make_checkpoint, output, tmp_path):
    permuted = tuple(reversed(LABELS))
    one, other = make_checkpoint("a"), make_checkpoint("b", labels=permuted)
    states = {"a": read_tensors(one), "b": read_tensors(other)}
    fishers = fishers_of(states)
    files = saved(fishers, tmp_path)
    merge_checkpoints(create("fisher"), [one, other], [0.5, 0.5], output, measurements=[files["a"], files["b"]])
    rows = [permuted.index(label) for label in LABELS]
    for kept in (states["b"], fishers["b"]):
        for kind in ("weight", "bias"):
            kept[f"classifier.out_proj.{kind}"] = kept[f"classifier.out_proj.{kind}"][rows]
    expected = merge(states, fishers, {"a": 0.5, "b": 0.5})
    assert same_bits(read_tensors(output), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_sources_are_merged_in_float32(dtype):
    states = in_dtype(random_states(), dtype)
    fishers = fishers_of(states)
    wide = merge(in_dtype(states, torch.float32), fishers)
    assert all(torch.equal(value, wide[name].to(dtype)) for name, value in merge(states, fishers).items())


def test_what_is_wrong_is_named():
    states = random_states()
    fishers = fishers_of(states)
    with pytest.raises(InputError, match="needs the measured fisher of every source"):
        merge_state_dicts(create("fisher"), states, WEIGHTS)
    with pytest.raises(InputError, match="Linear takes no measurements"):
        merge_state_dicts(create("linear"), states, WEIGHTS, measurements=fishers)
    with pytest.raises(InputError, match=r"measurement of b does not belong to the sources \(vector\)"):
        merge(states, {**fishers, "b": {"matrix": fishers["b"]["matrix"]}})
    damaged = {name: value.clone() for name, value in fishers["b"].items()}
    damaged["vector"][3] = math.nan
    with pytest.raises(InputError, match="measurement of b: what was measured for vector has NaN"):
        merge(states, {**fishers, "b": damaged})
    for options, message in [
        ({"floor": 0}, "floor is 0"),
        ({"floor": -1}, "floor is -1"),
        ({"estimator": "exact"}, "estimator is 'exact'"),
    ]:
        with pytest.raises(InputError, match=message):
            create("fisher", **options)
