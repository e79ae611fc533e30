"""What every method promises: nothing but the inputs decides the result, and the trivial merges are trivial."""

import itertools
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from auto_merge_llm.errors import InputError
from auto_merge_llm.merge import merge_state_dicts
from auto_merge_llm.methods import METHODS, create, defaults
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from toys import WEIGHTS, in_dtype, read_tensors, same_bits

# Each method as it comes, and every variant that takes another path. Those that rest on measurements have their own
# files: test_fisher_merging.py, test_regmean.py.
SETTINGS = [(name, {}) for name in METHODS if name != "passthrough" and not create(name).measurement] + [
    ("task_arithmetic", {"form": "mean"}),
    ("widen", {"embeddings": "features"}),
    ("ties", {"scope": "tensor"}),
    ("dare_ties", {"scope": "tensor"}),
    ("breadcrumbs", {"beta": 0.5, "gamma": 0.1}),
]
# The settings under which a method is a kind of average: nothing dropped, λ = 1.
AVERAGES = [
    ("linear", {}),
    ("slerp", {}),
    ("karcher", {}),
    ("stock", {}),
    ("fisher_simple", {}),
    ("widen", {}),
    ("adamerging", {}),
    ("task_arithmetic", {"form": "mean", "scaling": 1.0}),
    ("ties", {"density": 1.0}),
    ("ties", {"density": 1.0, "scope": "tensor"}),
    ("dare", {"drop_rate": 0.0}),
    ("dare_ties", {"drop_rate": 0.0, "density": 1.0}),
]
EXACT = ("linear", "slerp", "karcher", "stock", "fisher_simple")


def label(case):
    name, options = case
    return "-".join([name, *map(str, options.values())])


every_method = pytest.mark.parametrize("case", SETTINGS, ids=label)
every_average = pytest.mark.parametrize("case", AVERAGES, ids=label)


def merge(case, states, weights, base, **options):
    method = create(case[0], **case[1])
    return merge_state_dicts(method, states, weights, base=base if method.needs_base else None, **options)


def random_states(names="abc", *, noise=0.3, seed=0):
    """A base and sources: a matrix, a vector and a tensor of three dimensions."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"matrix": (7, 11), "vector": (13,), "cube": (3, 4, 5)}
    base = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return base, {
        source: {name: value + noise * torch.randn(value.shape, generator=generator) for name, value in base.items()}
        for source in names
    }


@every_method
def test_order_threads_pieces_shards_and_place_change_no_bit(case, make_checkpoint, merges_in_every_way):
    method = create(case[0], **case[1])
    base = make_checkpoint("base", noise=0) if method.needs_base else None
    folders = {name: make_checkpoint(name, noise=0.05) for name in "abc"}
    (first, counts), *others = merges_in_every_way(method, folders, base)
    for again, counted in others:
        assert same_bits(again, first) and counted == counts
    states = {name: read_tensors(folder) for name, folder in folders.items()}
    in_memory = merge(case, dict(reversed(states.items())), WEIGHTS, base and read_tensors(base))
    assert same_bits(in_memory, first)


@every_method
def test_threads_change_no_bit_of_a_tensor_that_torch_would_split(case):
    generator = torch.Generator().manual_seed(0)
    base = {"matrix": torch.randn(300, 301, generator=generator)}
    states = {name: {"matrix": base["matrix"] + 0.3 * torch.randn(300, 301, generator=generator)} for name in "abc"}
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(merge(case, states, WEIGHTS, base))
    assert same_bits(*results)


@every_method
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_dtypes_are_merged_in_float32(case, dtype):
    base, states = random_states()
    narrow = in_dtype({**states, "base": base}, dtype)
    wide = in_dtype(narrow, torch.float32)
    base, start = narrow.pop("base"), wide.pop("base")
    expected = merge(case, wide, WEIGHTS, start)
    merged = merge(case, narrow, WEIGHTS, base)
    for name, value in merged.items():
        assert value.dtype == dtype
        assert torch.equal(value, expected[name].to(dtype))


@every_method
def test_float64_stays_float64(case):
    base, states = random_states()
    expected = merge(case, states, WEIGHTS, base)
    merged = merge(case, in_dtype(states, torch.float64), WEIGHTS, base)
    for name, value in merged.items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(value.float(), expected[name], rtol=1e-5, atol=1e-6)


@every_average
def test_one_source_gives_itself(case):
    base, states = random_states("a")
    merged = merge(case, states, {"a": 1.0}, base)
    if case[0] in EXACT:
        assert same_bits(merged, states["a"])
    for name, value in states["a"].items():
        torch.testing.assert_close(merged[name], value, rtol=1e-6, atol=1e-6)


def test_one_source_through_a_sum_gives_itself():
    base, states = random_states("a")
    for case in [("task_arithmetic", {"scaling": 1.0}), ("breadcrumbs", {"beta": 1.0, "gamma": 0.0, "scaling": 1.0})]:
        for name, value in merge(case, states, {"a": 1.0}, base).items():
            torch.testing.assert_close(value, states["a"][name], rtol=1e-6, atol=1e-6)


@every_average
def test_identical_sources_give_themselves(case):
    base, states = random_states("a")
    merged = merge(case, {name: states["a"] for name in "abc"}, WEIGHTS, base)
    for name, value in states["a"].items():
        torch.testing.assert_close(merged[name], value, rtol=1e-6, atol=1e-6)


@every_average
@pytest.mark.parametrize("chosen", "abc")
def test_one_hot_weights_give_that_source(case, chosen):
    base, states = random_states()
    merged = merge(case, states, {name: float(name == chosen) for name in states}, base)
    for name, value in states[chosen].items():
        torch.testing.assert_close(merged[name], value, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["task_arithmetic", "ties", "dare_ties", "breadcrumbs"])
def test_scaling_0_gives_the_base(name):
    base, states = random_states()
    merged = merge((name, {"scaling": 0}), states, WEIGHTS, base)
    assert all(torch.equal(merged[key], base[key]) for key in base)


@every_method
def test_sources_that_equal_the_base_give_the_base(case):
    base, _ = random_states()
    merged = merge(case, {name: base for name in "abc"}, WEIGHTS, base)
    for name, value in base.items():
        torch.testing.assert_close(merged[name], value, rtol=1e-6, atol=1e-6)


@every_method
def test_zeros_opposites_and_single_elements_stay_finite(case):
    zeros = {
        "matrix": torch.zeros(2, 3),
        "vector": torch.zeros(3),
        "scalar": torch.tensor(0.0),
        "empty": torch.empty(0, 3),
    }
    ones = {name: torch.ones_like(value) for name, value in zeros.items()}
    opposite = {name: -value for name, value in ones.items()}
    for states in ({"a": zeros, "b": zeros}, {"a": zeros, "b": ones}, {"a": ones, "b": opposite}):
        merged = merge(case, states, {"a": 0.5, "b": 0.5}, zeros)
        assert all(value.isfinite().all() and value.shape == zeros[name].shape for name, value in merged.items())


@every_method
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["b", "base"])
def test_nan_and_infinity_are_found_wherever_they_are(case, value, where):
    base, states = random_states()
    if where == "base" and not create(case[0]).needs_base:
        pytest.skip("takes no base")
    for element in (0, 5, 12):
        damaged = {name: dict(state) for name, state in states.items()} | {"base": dict(base)}
        damaged[where]["vector"] = damaged[where]["vector"].clone()
        damaged[where]["vector"][element] = value
        origin = damaged.pop("base")
        with pytest.raises(InputError, match=f"{where}: tensor vector has 1 NaN or infinite values"):
            merge(case, damaged, WEIGHTS, origin)


@every_method
def test_inputs_in_memory_stay_as_they_are(case):
    base, states = random_states()
    kept_base, kept = random_states()
    merge(case, states, WEIGHTS, base)
    assert same_bits(base, kept_base) and all(same_bits(states[name], kept[name]) for name in states)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_order_and_powers_of_two_commute_with_every_method(data):
    case = data.draw(st.sampled_from(SETTINGS))
    # No subnormal numbers: their rounding does not scale.
    values = st.integers(-1000, 1000).map(lambda number: number / 64)
    drawn = [torch.from_numpy(data.draw(arrays(np.float32, (3, 4), elements=values))) for _ in range(4)]
    base, states = {"x": drawn[0]}, {name: {"x": value} for name, value in zip("abc", drawn[1:])}
    order = data.draw(st.sampled_from(list(itertools.permutations("abc"))))
    merged = merge(case, states, WEIGHTS, base)
    shuffled = merge(case, {name: states[name] for name in order}, {name: WEIGHTS[name] for name in order}, base)
    assert same_bits(merged, shuffled)
    scaled = merge(case, {name: {"x": 4 * state["x"]} for name, state in states.items()}, WEIGHTS, {"x": 4 * base["x"]})
    assert torch.equal(scaled["x"], 4 * merged["x"])


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("task_arithmetic", {"form": "max"}, "form is 'max'; choose one of sum, mean"),
        ("task_arithmetic", {"scaling": -0.1}, "scaling is -0.1, not a number from 0; correct it"),
        ("task_arithmetic", {"scaling": math.inf}, "scaling is inf"),
        ("ties", {"density": 0}, "density is 0, which trims everything"),
        ("ties", {"density": 1.1}, "density is 1.1, not a number from 0 to 1"),
        ("ties", {"density": math.nan}, "density is nan"),
        ("ties", {"density": "0.2"}, "density is '0.2'"),
        ("ties", {"scope": "layer"}, "scope is 'layer'; choose one of model, tensor"),
        ("ties", {"scaling": -1}, "scaling is -1"),
        ("dare", {"drop_rate": 1.0}, "drop_rate is 1.0, not a number from 0 to below 1"),
        ("dare", {"seed": -1}, "seed is -1, not a whole number"),
        ("dare", {"seed": 0.5}, "seed is 0.5, not a whole number"),
        ("dare_ties", {"drop_rate": -0.1}, "drop_rate is -0.1"),
        ("dare_ties", {"density": 2}, "density is 2"),
        ("breadcrumbs", {"beta": -0.1}, "beta is -0.1"),
        ("breadcrumbs", {"gamma": True}, "gamma is True"),
        ("breadcrumbs", {"beta": 0.7, "gamma": 0.4}, "beta 0.7 and gamma 0.4 sum to more than 1"),
        ("slerp", {"t": 0.5}, "slerp has no hyper-parameter t; it takes none"),
    ],
)
def test_values_out_of_range_are_refused(name, options, message):
    with pytest.raises(InputError, match=message) as caught:
        create(name, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["task_arithmetic", "ties", "dare", "dare_ties", "breadcrumbs", "stock", "widen"])
def test_task_vectors_need_a_base(name):
    _, states = random_states()
    with pytest.raises(InputError, match="needs the base model"):
        merge_state_dicts(create(name), states, WEIGHTS)


@pytest.mark.parametrize("name", METHODS)
def test_defaults_are_those_of_the_class(name):
    assert defaults(name) == asdict(create(name))
