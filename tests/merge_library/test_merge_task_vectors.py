"""Methods on task vectors, against NumPy."""

import hashlib

import numpy as np
import pytest
import torch
from auto_merge_llm import magnitudes
from auto_merge_llm.merge import merge_checkpoints, merge_state_dicts
from auto_merge_llm.methods import create, dare
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from toys import WEIGHTS, read_tensors, weighted


def hand(name, base, states, weights, **options):
    states = {source: {"x": torch.tensor(values)} for source, values in states.items()}
    merged = merge_state_dicts(
        create(name, **options), states, dict(zip(states, weights)), base={"x": torch.tensor(base)}
    )
    return merged["x"].tolist()


@pytest.fixture
def trained(make_checkpoint):
    """A base and three sources of it."""
    return make_checkpoint("base", noise=0), [make_checkpoint(name, noise=0.05) for name in "abc"]


@pytest.fixture
def agrees(trained, output):
    """agrees(name, expected, **options): the merge equals expected(base, vectors) of float32 NumPy arrays."""

    def check(name, expected, rtol=1e-6, **options):
        base, folders = trained
        report = merge_checkpoints(create(name, **options), folders, list(WEIGHTS.values()), output, base=base)
        origin = {key: value.numpy() for key, value in read_tensors(base).items()}
        vectors = [
            {key: value.numpy() - origin[key] for key, value in read_tensors(folder).items()} for folder in folders
        ]
        merged = read_tensors(output)
        for key, values in expected(origin, vectors).items():
            np.testing.assert_allclose(merged[key].numpy(), values, rtol=rtol, atol=1e-7, err_msg=key)
        return report

    return check


def mean(vectors, key):
    return sum(np.float32(weight) * vector[key] for weight, vector in zip(WEIGHTS.values(), vectors))


def test_two_sources_of_one_folder_name_are_dropped_from_independently():
    base = {"x": torch.zeros(1000)}
    method = create("dare", drop_rate=0.5, seed=1)
    apart = {folder: {"x": torch.ones(1000)} for folder in ("nl/newest", "de/newest")}
    merged = merge_state_dicts(method, apart, dict.fromkeys(apart, 0.5), base=base)["x"]
    # Kept by both, by one, by neither: one mask for both would leave no ones.
    assert {0.0, 1.0, 2.0} == set(merged.tolist())


# Task arithmetic


def test_hand_worked_task_arithmetic():
    base, states = [1.0, 1.0, 1.0], {"a": [2.0, 1.0, 0.0], "b": [3.0, 1.0, 1.0]}
    assert hand("task_arithmetic", base, states, [0.75, 0.25], scaling=0.5) == [2.5, 1.0, 0.5]
    assert hand("task_arithmetic", base, states, [0.75, 0.25], scaling=1, form="mean") == [2.25, 1.0, 0.25]


def test_task_arithmetic_equals_numpy(agrees):
    agrees(
        "task_arithmetic",
        lambda base, vectors: {
            key: base[key] + np.float32(0.3) * sum(vector[key] for vector in vectors) for key in base
        },
    )


def test_mean_form_equals_numpy(agrees):
    agrees(
        "task_arithmetic",
        lambda base, vectors: {key: base[key] + np.float32(0.7) * mean(vectors, key) for key in base},
        form="mean",
        scaling=0.7,
    )


# Model Stock


def test_hand_worked_stock():
    # The cosine of (1, 1, 0) and (1, 0, 1) is 1/2, so t = 2/3.
    assert hand("stock", [3.0, 3.0, 3.0], {"a": [4.0, 4.0, 3.0], "b": [4.0, 3.0, 4.0]}, [0.5, 0.5]) == (
        pytest.approx([3 + 2 / 3, 3 + 1 / 3, 3 + 1 / 3])
    )


def test_orthogonal_and_opposed_stock_is_the_base():
    assert hand("stock", [1.0, 1.0, 1.0], {"a": [2.0, 1.0, 1.0], "b": [1.0, 3.0, 1.0]}, [0.5, 0.5]) == [1, 1, 1]
    assert hand("stock", [0.0, 0.0, 0.0], {"a": [2.0, 1.0, 1.0], "b": [-2.0, -1.0, 0]}, [0.9, 0.1]) == [0, 0, 0]


def test_stock_equals_numpy(agrees):
    fell_back = []

    def expected(base, vectors):
        merged = {}
        for key in base:
            flat = [vector[key].astype(np.float64).ravel() for vector in vectors]
            unit = [values / np.linalg.norm(values) for values in flat]
            cosine = np.mean([unit[i] @ unit[j] for i, j in ((0, 1), (0, 2), (1, 2))])
            share = 3 * cosine / (1 + 2 * cosine) if cosine > 0 else 0
            fell_back.append(share == 0)
            merged[key] = base[key] + share * mean(vectors, key)
        return merged

    report = agrees("stock", expected)
    assert 0 < report.counts["base_tensors"] == sum(fell_back) < len(fell_back)


# Breadcrumbs


def test_hand_worked_breadcrumbs():
    def crumbs(base, values, scaling=1, **options):
        return hand("breadcrumbs", base, {"a": values}, [1.0], scaling=scaling, **options)

    third = 1 / 3
    assert crumbs([1.0] * 3, [4.0, -1.0, 2.0], 0.5, gamma=third, beta=third) == [1.0, 0.0, 1.0]
    # Row by row; of equal magnitudes the first is the larger.
    rows = crumbs([[0.0] * 3] * 2, [[4.0, -1.0, 2.0], [1.0, -1.0, 1.0]], gamma=third, beta=third)
    assert rows == [[0.0, 0.0, 2.0], [0.0, -1.0, 0.0]]
    assert crumbs([0.0] * 3, [1.0, -1.0, 1.0], gamma=0, beta=third) == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("gamma, beta", [(0.006, 0.15), (0.1, 0.5), (0.3, 0.7), (0.0, 1.0), (0.3, 0.0), (1.0, 0.0)])
def test_breadcrumbs_equals_numpy(agrees, gamma, beta):
    def expected(base, vectors):
        merged = {}
        for key, origin in base.items():
            total = np.zeros_like(origin)
            for vector in vectors:
                rows = vector[key].reshape(len(origin) if origin.ndim > 1 else 1, -1)
                ranks = np.argsort(np.argsort(-np.abs(rows), axis=1, kind="stable"), axis=1)
                top, kept = round(gamma * rows.shape[1]), round(beta * rows.shape[1])
                total += (rows * ((ranks >= top) & (ranks < top + kept))).reshape(origin.shape)
            merged[key] = origin + np.float32(0.2) * total
        return merged

    agrees("breadcrumbs", expected, gamma=gamma, beta=beta)


# DARE


def oracle_mask(drop_rate, seed, tensor, source, count):
    """The whole stream from its beginning, one 32-bit draw an element."""
    key = hashlib.sha256(f"{seed}\0{tensor}\0{source}".encode()).digest()[:16]
    words = np.random.PCG64DXSM(int.from_bytes(key, "little")).random_raw(count)
    draws = np.stack([words & 0xFFFFFFFF, words >> np.uint64(32)], axis=1).ravel()[:count]
    return draws / 2**32 >= drop_rate


def dropped(vectors, drop_rate, seed):
    def drop(source, key, values):
        mask = oracle_mask(drop_rate, seed, key, source, values.size).reshape(values.shape)
        return values * mask / np.float32(1 - drop_rate)

    return [{key: drop(source, key, vector[key]) for key in vector} for source, vector in zip("abc", vectors)]


def test_hand_worked_dare(monkeypatch):
    monkeypatch.setattr(dare, "keep_mask", lambda *_: torch.tensor([1.0, 0.0, 1.0]))
    assert hand("dare", [1.0, 1.0, 1.0], {"a": [2.0, 3.0, 4.0]}, [1.0]) == [3.0, 1.0, 7.0]


@pytest.mark.parametrize("drop_rate, seed", [(0.5, 0), (0.9, 7), (0.0, 1)])
def test_dare_equals_numpy(agrees, drop_rate, seed):
    agrees(
        "dare",
        lambda base, vectors: {key: base[key] + mean(dropped(vectors, drop_rate, seed), key) for key in base},
        drop_rate=drop_rate,
        seed=seed,
    )


@pytest.mark.parametrize("drop_rate", [0.3, 0.9])
def test_dare_is_unbiased_over_seeds(drop_rate):
    generator = torch.Generator().manual_seed(0)
    base = {"x": torch.randn(40, generator=generator)}
    states = {name: {"x": torch.randn(40, generator=generator)} for name in "ab"}
    weights, seeds = {"a": 0.6, "b": 0.4}, 500
    runs = np.stack(
        [
            merge_state_dicts(create("dare", drop_rate=drop_rate, seed=seed), states, weights, base=base)["x"].numpy()
            for seed in range(seeds)
        ]
    )
    vectors = np.stack([weights[name] * (states[name]["x"] - base["x"]).numpy() for name in "ab"])
    deviation = np.sqrt((vectors**2).sum(0) * drop_rate / (1 - drop_rate))
    errors = (runs.mean(0) - base["x"].numpy() - vectors.sum(0)) / (deviation / np.sqrt(seeds))
    assert np.abs(errors).max() < 4.5
    np.testing.assert_allclose(runs.std(0), deviation, rtol=0.25)


def test_masks_depend_on_seed_tensor_and_source_only():
    def masked(seed=0, tensor="x", source="a", other=None):
        states = {source: {tensor: torch.ones(4000)}} | ({other: {tensor: torch.ones(4000)}} if other else {})
        weights = {name: 1.0 if name == source else 0.0 for name in states}
        merged = merge_state_dicts(create("dare", seed=seed), states, weights, base={tensor: torch.zeros(4000)})
        return merged[tensor].numpy() > 0

    first = masked()
    assert abs(first.mean() - 0.5) < 0.04
    np.testing.assert_array_equal(first, masked(other="0"))
    for changed in (masked(seed=1), masked(tensor="y"), masked(source="b")):
        assert abs((first == changed).mean() - 0.5) < 0.04


def test_a_source_is_known_by_its_folders_name_wherever_it_is(trained, new_folder, output):
    base, folders = trained
    merge_checkpoints(create("dare"), folders, list(WEIGHTS.values()), output, base=base)
    elsewhere, other = new_folder("elsewhere"), new_folder()
    moved = [folder.rename(elsewhere / folder.name) for folder in folders]
    merge_checkpoints(create("dare"), moved, list(WEIGHTS.values()), other, base=base)
    assert (output / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()


# TIES


def ties(base, vectors, density, scaling=1.0, scope="model"):
    def cut(values):
        return np.sort(np.abs(values))[::-1][max(1, round(density * values.size)) - 1]

    trimmed = []
    for vector in vectors:
        whole = cut(np.concatenate([values.ravel() for values in vector.values()]))
        cuts = {key: whole if scope == "model" else cut(values.ravel()) for key, values in vector.items()}
        trimmed.append({key: np.where(np.abs(x) >= cuts[key], x, np.float32(0)) for key, x in vector.items()})
    elected = {key: np.sign(mean(trimmed, key)) for key in base}
    majority = 1 if sum(signs.sum() for signs in elected.values()) >= 0 else -1
    merged = {}
    for key in base:
        signs = np.where(elected[key] == 0, majority, elected[key])
        agree = [np.sign(vector[key]) == signs for vector in trimmed]
        total = sum(weight * vector[key] * mask for weight, vector, mask in zip(WEIGHTS.values(), trimmed, agree))
        share = sum(weight * mask for weight, mask in zip(WEIGHTS.values(), agree))
        merged[key] = base[key] + scaling * np.divide(total, share, out=np.zeros_like(total), where=share > 0)
    return merged


def test_hand_worked_ties():
    # Two of three elements stay: (3, −2, 0) and (0, 2, −4).
    states = {"a": [3.0, -2.0, 1.0], "b": [1.0, 2.0, -4.0]}
    assert hand("ties", [0.0] * 3, states, [0.75, 0.25], density=2 / 3) == [3.0, -2.0, -4.0]
    moved = {name: [x + 1 for x in values] for name, values in states.items()}
    assert hand("ties", [1.0] * 3, moved, [0.75, 0.25], density=2 / 3, scaling=0.5) == [2.5, 0.0, -1.0]
    # The second element is a draw, and so is the model: plus.
    assert hand("ties", [0.0] * 3, states, [0.5, 0.5], density=2 / 3) == [3.0, 2.0, -4.0]


def test_global_majority_decides_a_draw():
    states = {"a": [-3.0, -2.0, 1.0], "b": [-1.0, 2.0, -4.0]}
    assert hand("ties", [0.0] * 3, states, [0.5, 0.5], density=2 / 3) == [-3.0, -2.0, -4.0]
    # The majority is the model's, not the tensor's.
    for scope in ("model", "tensor"):
        draw = {
            "a": {"x": torch.tensor([2.0]), "y": torch.full((5,), -2.0)},
            "b": {"x": torch.tensor([-2.0]), "y": torch.full((5,), -2.0)},
        }
        base = {"x": torch.zeros(1), "y": torch.zeros(5)}
        merged = merge_state_dicts(create("ties", scope=scope), draw, {"a": 0.5, "b": 0.5}, base=base)
        assert merged["x"].tolist() == [-2.0]


def test_disjoint_mean_is_weighted():
    states = {"a": [1.0, 1.0, -8.0], "b": [2.0, -4.0, 2.0], "c": [4.0, 4.0, 1.0]}
    merged = hand("ties", [0.0] * 3, states, [0.5, 0.25, 0.25], density=1)
    assert merged == pytest.approx([2.0, 2.0, -8.0])


@pytest.mark.parametrize(
    "density, scaling, scope",
    [(0.2, 1.0, "model"), (0.01, 0.5, "model"), (1.0, 1.0, "model"), (0.2, 1.0, "tensor"), (1e-9, 1.0, "tensor")],
)
def test_ties_equals_numpy(agrees, density, scaling, scope):
    agrees(
        "ties",
        lambda base, vectors: ties(base, vectors, density, scaling, scope),
        density=density,
        scaling=scaling,
        scope=scope,
    )


@pytest.mark.parametrize("density, scope", [(0.2, "model"), (1.0, "model"), (0.2, "tensor")])
def test_dare_ties_equals_numpy(agrees, density, scope):
    agrees(
        "dare_ties",
        lambda base, vectors: ties(base, dropped(vectors, 0.5, 3), density, 1.0, scope),
        seed=3,
        density=density,
        scope=scope,
    )


def test_density_1_and_agreeing_signs_give_the_mean():
    generator = torch.Generator().manual_seed(0)
    base = {"x": torch.randn(50, generator=generator)}
    signs = torch.randn(50, generator=generator).sign()
    states = {name: {"x": base["x"] + signs * torch.rand(50, generator=generator)} for name in "abc"}
    expected = weighted(states, "x")
    for method in (create("ties", density=1), create("dare_ties", density=1, drop_rate=0)):
        merged = merge_state_dicts(method, states, WEIGHTS, base=base)["x"]
        torch.testing.assert_close(merged, expected, rtol=1e-6, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(arrays(np.float32, (2, 5), elements=st.floats(-9, 9, width=32)), min_size=3, max_size=3),
    st.sampled_from([0.1, 0.5, 1.0]),
    st.sampled_from(["model", "tensor"]),
)
def test_ties_lies_between_zero_and_the_farthest_vector(vectors, density, scope):
    states = {name: {"x": torch.from_numpy(vector)} for name, vector in zip("abc", vectors)}
    merged = merge_state_dicts(
        create("ties", density=density, scope=scope), states, WEIGHTS, base={"x": torch.zeros(2, 5)}
    )["x"].numpy()
    slack = 1e-6 * np.max(np.abs(vectors), axis=0) + 1e-30
    assert (merged <= np.maximum(np.max(vectors, axis=0), 0) + slack).all()
    assert (merged >= np.minimum(np.min(vectors, axis=0), 0) - slack).all()
    expected = ties({"x": np.zeros((2, 5), np.float32)}, [{"x": vector} for vector in vectors], density, scope=scope)
    np.testing.assert_allclose(merged, expected["x"], rtol=1e-5, atol=1e-30)


# Subnormal numbers and zeros, many equal values, the largest float.
float_bits = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 1.0000001192092896, 1e-45, 3.4028234663852886e38]),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(arrays(np.float32, st.integers(1, 9), elements=float_bits), min_size=1, max_size=2),
    st.floats(0, 1, exclude_min=True),
)
def test_the_cut_is_the_kth_largest_magnitude(pieces, density):
    def scan(measure):
        return sum(measure([torch.from_numpy(piece), torch.from_numpy(-piece * np.float32(0.5))]) for piece in pieces)

    values = np.concatenate(pieces)
    kept = max(1, round(density * values.size))
    expected = [np.sort(np.abs(vector))[::-1][kept - 1] for vector in (values, values * np.float32(0.5))]
    assert magnitudes.cuts(scan, density) == expected
