"""Methods that look at whole tensors of the sources, against NumPy."""

import math

import numpy as np
import pytest
import torch
from auto_merge_llm import executor
from auto_merge_llm.errors import InputError
from auto_merge_llm.merge import merge_checkpoints, merge_state_dicts
from auto_merge_llm.methods import create
from auto_merge_llm.reductions import column_squares, gram, row_squares
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from toys import read_tensors

WEIGHTS = (0.3, 0.5, 0.2)


def merged_tensor(name, values, weights, base=None):
    states = {f"s{i}": {"x": torch.as_tensor(value)} for i, value in enumerate(values)}
    return merge_state_dicts(
        create(name), states, dict(zip(states, weights)), base=None if base is None else {"x": torch.as_tensor(base)}
    )["x"].numpy()


@pytest.fixture
def agrees(make_checkpoint, output):
    """agrees(name, expected): the merge equals expected(base, tensors, name) in float64 for every tensor."""

    def check(name, expected, noise=0.05, **options):
        folders = [make_checkpoint(source, noise=noise) for source in "abc"]
        base = make_checkpoint("base", noise=0)
        method = create(name, **options)
        report = merge_checkpoints(method, folders, WEIGHTS, output, base=base if method.needs_base else None)
        origin, *states = [read_tensors(folder) for folder in (base, *folders)]
        for key, value in read_tensors(output).items():
            wide = [state[key].double().numpy() for state in states]
            np.testing.assert_allclose(
                value.numpy(), expected(origin[key].double().numpy(), wide), rtol=2e-6, atol=1e-7, err_msg=key
            )
        return report

    return check


# Sums


def test_sums_over_many_blocks_are_exact():
    rng = np.random.default_rng(0)
    # Of many magnitudes and both signs, so that float32 sums, or a block that is left out, would show.
    one, other, origin = (rng.standard_normal((3, 400, 250)) ** 9).astype(np.float32)
    wide = [(values.astype(np.float64) - origin).ravel() for values in (one, other)]
    products = gram([torch.from_numpy(values).view(-1) for values in (one, other)], torch.from_numpy(origin).view(-1))
    for row, left in zip(products.tolist(), wide):
        for product, right in zip(row, wide):
            assert product == pytest.approx(math.fsum(left * right), rel=0, abs=1e-13 * np.abs(left * right).sum())
    rows = row_squares(torch.from_numpy(one), torch.from_numpy(origin)).numpy()
    np.testing.assert_allclose(rows, [math.fsum(row) for row in (wide[0] ** 2).reshape(400, 250)], rtol=1e-13)
    squares = column_squares(torch.from_numpy(one), torch.from_numpy(origin)).numpy()
    columns = (wide[0] ** 2).reshape(400, 250).T
    np.testing.assert_allclose(squares, [math.fsum(column) for column in columns], rtol=1e-13)


# Slerp


def oracle_slerp(one, other, t, fell_back):
    lengths = np.linalg.norm(one) * np.linalg.norm(other)
    cosine = (one * other).sum() / lengths if lengths else 1.0
    fell_back.append(cosine > 0.9995)
    if fell_back[-1]:
        return (1 - t) * one + t * other
    angle = np.arccos(cosine)
    return (np.sin((1 - t) * angle) * one + np.sin(t * angle) * other) / np.sin(angle)


def test_hand_worked_slerp():
    half = math.sqrt(0.5)
    assert merged_tensor("slerp", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [0.5, 0.5]) == pytest.approx([half, half, 0])
    assert merged_tensor("slerp", [[2.0, 0.0, 0.0], [0.0, 4.0, 0.0]], [0.5, 0.5]) == (
        pytest.approx([2 * half, 4 * half, 0])
    )
    # A third of the quarter circle from the heavier one.
    assert merged_tensor("slerp", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [1 / 3, 2 / 3]) == (
        pytest.approx([0.5, math.sqrt(0.75), 0], abs=1e-6)
    )


@pytest.mark.parametrize("noise", [0.05, 0.001])
def test_slerp_equals_numpy(agrees, noise):
    per_tensor = []

    def expected(_, tensors):
        fell_back = []
        merged = oracle_slerp(tensors[1], tensors[0], 0.3 / 0.8, fell_back)
        merged = oracle_slerp(merged, tensors[2], 0.2, fell_back)
        per_tensor.append(any(fell_back))
        return merged

    report = agrees("slerp", expected, noise)
    assert report.counts == {"lerp_tensors": sum(per_tensor)}
    assert any(per_tensor) == (noise == 0.001)


@pytest.mark.parametrize("near", [0, 1])
def test_slerp_ends_at_the_sources(near):
    ends = [[1.0, 2.0, -1.0], [-3.0, 0.5, 2.0]]
    weights = [1e-9, 1 - 1e-9] if near else [1 - 1e-9, 1e-9]
    assert merged_tensor("slerp", ends, weights) == pytest.approx(ends[near], rel=1e-6)


def test_nearly_parallel_opposite_and_zero_vectors_are_interpolated_linearly():
    for ends in [
        ([1.0, 0.0, 0.0], [1.0, 0.01, 0.0]),
        ([1.0, 2.0, 0.0], [-1.0, -2.0, 0.0]),
        ([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]),
    ]:
        assert merged_tensor("slerp", ends, [0.75, 0.25]) == pytest.approx(np.array([0.75, 0.25]) @ ends, abs=1e-6)


vectors_on_a_sphere = (
    arrays(np.float32, 6, elements=st.floats(-5, 5, width=32))
    .filter(lambda vector: np.linalg.norm(vector) > 0.5)
    .map(lambda vector: vector / np.linalg.norm(vector))
)


@settings(max_examples=60, deadline=None)
@given(vectors_on_a_sphere, vectors_on_a_sphere, st.floats(0.05, 0.95))
def test_on_a_sphere_slerp_stays_there_and_equals_karcher(one, other, share):
    if abs(one @ other) > 0.999:
        return
    weights = [1 - share, share]
    slerp = merged_tensor("slerp", [one, other], weights)
    assert np.linalg.norm(slerp) == pytest.approx(1, abs=1e-5)
    angle = np.arccos(np.clip(one @ other, -1, 1))
    assert np.arccos(np.clip(one @ slerp, -1, 1)) == pytest.approx(share * angle, abs=2e-3)
    np.testing.assert_allclose(merged_tensor("karcher", [one, other], weights), slerp, atol=1e-5)


# Karcher mean


def oracle_karcher(tensors, weights):
    lengths = [np.linalg.norm(tensor) for tensor in tensors]
    units = [tensor / length for tensor, length in zip(tensors, lengths)]
    mean = sum(weight * unit for weight, unit in zip(weights, units))
    mean /= np.linalg.norm(mean)
    for _ in range(200):
        pull = np.zeros_like(mean)
        for weight, unit in zip(weights, units):
            flat = unit - (unit * mean).sum() * mean
            size = np.linalg.norm(flat)
            if size > 0:
                pull += weight * np.arctan2(size, (unit * mean).sum()) / size * flat
        size = np.linalg.norm(pull)
        if size > 0:
            mean = np.cos(size) * mean + np.sin(size) / size * pull
    return mean / np.linalg.norm(mean) * np.dot(weights, lengths)


def test_hand_worked_karcher():
    third = math.sqrt(1 / 3)
    assert merged_tensor("karcher", np.eye(3, dtype=np.float32), [1 / 3] * 3) == pytest.approx([third] * 3)
    # Halfway in direction, the mean of the norms 2 and 4 in length.
    assert merged_tensor("karcher", [[2.0, 0.0, 0.0], [0.0, 4.0, 0.0]], [0.5, 0.5]) == (
        pytest.approx([3 * math.sqrt(0.5)] * 2 + [0])
    )


@pytest.mark.parametrize("noise", [0.2, 0.05, 1e-6])
def test_karcher_equals_numpy(agrees, noise):
    report = agrees("karcher", lambda _, tensors: oracle_karcher(tensors, WEIGHTS), noise)
    assert report.counts == {"linear_tensors": 0}


@settings(max_examples=40, deadline=None)
@given(st.lists(arrays(np.float32, 5, elements=st.floats(-1, 1, width=32)), min_size=3, max_size=3))
def test_karcher_is_where_the_pulls_cancel(noise):
    # Within a right angle of one direction the mean is unique.
    tensors = [np.array([4, 0, 0, 0, 0], np.float32) + one for one in noise]
    np.testing.assert_allclose(
        merged_tensor("karcher", tensors, WEIGHTS),
        oracle_karcher([tensor.astype(np.float64) for tensor in tensors], WEIGHTS),
        rtol=1e-5,
        atol=1e-6,
    )


def test_directions_without_a_mean_are_averaged():
    for ends in [([1.0, 2.0, 0.0], [-1.0, -2.0, 0.0]), ([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])]:
        for weights in ([0.5, 0.5], [0.75, 0.25]):
            assert merged_tensor("karcher", ends, weights) == pytest.approx(np.array(weights) @ ends, abs=1e-6)


# The stand-in for Fisher merging


def test_hand_worked_fisher_simple():
    assert merged_tensor("fisher_simple", [[3.0, 4.0, 0.0], [0.0, 0.0, 10.0]], [0.5, 0.5]) == (
        pytest.approx([1, 4 / 3, 20 / 3])
    )


def test_fisher_simple_equals_numpy(agrees):
    def expected(_, tensors):
        sizes = [weight * np.linalg.norm(tensor) for weight, tensor in zip(WEIGHTS, tensors)]
        return sum(size / sum(sizes) * tensor for size, tensor in zip(sizes, tensors))

    agrees("fisher_simple", expected, noise=0.2)


def test_equal_norms_give_the_weighted_mean():
    tensors = [np.roll(np.arange(6, dtype=np.float32), shift) for shift in range(3)]
    expected = sum(weight * tensor for weight, tensor in zip(WEIGHTS, tensors))
    np.testing.assert_allclose(merged_tensor("fisher_simple", tensors, WEIGHTS), expected, rtol=1e-6)


# WIDEN


def oracle_widen(base, tensors, weights):
    if base.ndim != 2:
        return sum(weight * tensor for weight, tensor in zip(weights, tensors))
    kinds = ([], [])
    for tensor in tensors:
        columns = [divergences(base[:, j], tensor[:, j]) for j in range(base.shape[1])]
        for values, ranks in zip(np.array(columns).T, kinds):
            ranks.append((values[:, None] > values[None, :]).mean(1))
    factors = 0
    for ranks in kinds:
        scores = np.array(weights)[:, None] * np.exp(ranks)
        factors = factors + scores / scores.sum(0) / 2
    return base + sum(factor * (tensor - base) for factor, tensor in zip(factors, tensors))


def divergences(base, column):
    m0, m = np.linalg.norm(base), np.linalg.norm(column)
    if m0 == 0 or m == 0:
        return abs(m - m0), float(m0 != m)
    # Columns of one element are parallel; the last bits would rank them all the same.
    return abs(m - m0), round(1 - (base @ column) / (m0 * m), 12)


def test_hand_worked_widen():
    # One row: only magnitudes differ, by (0, 1, 3) and (2, 0, 1); ranks (0, 1, 2)/3 and (2, 0, 1)/3.
    one, other = [[1.0, 2.0, 4.0]], [[3.0, 1.0, 2.0]]
    expected = []
    for a, b, rank_a, rank_b in zip(one[0], other[0], (0, 1 / 3, 2 / 3), (2 / 3, 0, 1 / 3)):
        share = (1 / (1 + math.exp(rank_b - rank_a)) + 0.5) / 2
        expected.append(share * a + (1 - share) * b)
    assert merged_tensor("widen", [one, other], [0.5, 0.5], [[1.0, 1.0, 1.0]])[0] == pytest.approx(expected)
    assert merged_tensor("widen", [one[0], other[0]], [0.75, 0.25], [1.0, 1.0, 1.0]) == (
        pytest.approx([1.5, 1.75, 3.5])
    )


def test_widen_of_hidden_features_equals_numpy(agrees):
    agrees("widen", lambda base, tensors: oracle_widen(base, tensors, WEIGHTS), noise=0.2, embeddings="features")


@pytest.mark.parametrize("chunk", [1 << 18, 97])
def test_widen_of_tokens_equals_numpy(make_checkpoint, output, monkeypatch, chunk):
    monkeypatch.setattr(executor, "CHUNK_ELEMENTS", chunk)
    monkeypatch.setattr(executor, "_SCAN_ELEMENTS", chunk)
    folders, base = [make_checkpoint(source, noise=0.2) for source in "abc"], make_checkpoint("base", noise=0)
    merge_checkpoints(create("widen"), folders, WEIGHTS, output, base=base)
    origin, *states = [read_tensors(folder) for folder in (base, *folders)]
    tables = {f"roberta.embeddings.{kind}_embeddings.weight" for kind in ("word", "position", "token_type")}
    assert tables <= origin.keys()
    for key, value in read_tensors(output).items():
        start, *tensors = [state[key].double().numpy() for state in (origin, *states)]
        if key in tables:
            expected = oracle_widen(start.T, [tensor.T for tensor in tensors], WEIGHTS).T
        else:
            expected = oracle_widen(start, tensors, WEIGHTS)
        np.testing.assert_allclose(value.numpy(), expected, rtol=2e-6, atol=1e-7, err_msg=key)


def test_tables_of_embeddings_are_known_by_their_names():
    rng = np.random.default_rng(0)
    base, one, other = rng.standard_normal((3, 4, 6)).astype(np.float32)

    def merged(name):
        states = {"a": {name: torch.tensor(one)}, "b": {name: torch.tensor(other)}}
        return merge_state_dicts(create("widen"), states, {"a": 0.5, "b": 0.5}, base={name: torch.tensor(base)})[name]

    by_column, by_row = merged("x.weight"), merged("word_embeddings.weight")
    assert not torch.equal(by_column, by_row)
    for name in (
        *("model.embeddings.tok_embeddings.weight", "encoder.rel_embeddings.weight", "model.embed_tokens.weight"),
        *("wte.weight", "shared.weight", "transformer.word_embedding.weight", "embeddings.weight"),
    ):
        assert torch.equal(merged(name), by_row), name
    for name in (
        *("electra.embeddings_project.weight", "encoder.embedding_hidden_mapping_in.weight", "classifier.weight"),
        *("embeddings.LayerNorm.weight", "word_embeddings.bias"),
    ):
        assert torch.equal(merged(name), by_column), name
    with pytest.raises(InputError, match="embeddings is 'words'; choose one of tokens, features"):
        create("widen", embeddings="words")


def test_columns_of_zeros():
    rng = np.random.default_rng(0)
    base, *tensors = rng.standard_normal((4, 5, 6)).astype(np.float32)
    base[:, :3] = 0
    tensors[0][:, 1:5] = 0
    tensors[1][:, 2] = 0
    merged = merged_tensor("widen", tensors, WEIGHTS, base)
    wide = [tensor.astype(np.float64) for tensor in tensors]
    np.testing.assert_allclose(merged, oracle_widen(base.astype(np.float64), wide, WEIGHTS), rtol=1e-5, atol=1e-6)
