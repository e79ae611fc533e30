"""RegMean and its Gram matrices against NumPy."""

import numpy as np
import pytest
import torch
from auto_merge_llm.errors import InputError
from auto_merge_llm.gram_solve import are_small, solve_in_float32
from auto_merge_llm.input_grams import input_grams
from auto_merge_llm.merge import merge_state_dicts
from auto_merge_llm.methods import create
from safetensors.torch import save_file
from toys import WEIGHTS, in_dtype, padded, read_tensors, same_bits, weighted
from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

NAME = "roberta.encoder.layer.0.intermediate.dense.weight"


@pytest.fixture
def model(tiny_model):
    state, described = tiny_model
    model = XLMRobertaForSequenceClassification(XLMRobertaConfig(**described))
    model.load_state_dict(state)
    return model.train()


def batch_of(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return padded([torch.randint(2, 50, (length,), generator=generator) for length in lengths])


def test_grams_leave_padding_out_and_do_not_depend_on_batches(model):
    batch = batch_of([3, 7, 5])
    grams, seen = input_grams(model, [batch])
    assert seen == 3 and model.training
    alone = [
        {name: values[row : row + 1, :length] for name, values in batch.items()} for row, length in enumerate([3, 7, 5])
    ]
    one_by_one, _ = input_grams(model, alone)
    linear = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    assert grams.keys() == linear == one_by_one.keys()
    for name in grams:
        torch.testing.assert_close(grams[name], one_by_one[name], rtol=1e-4, atol=1e-5)
    # The first layer's inputs are the embeddings: by NumPy, token by token.
    model.eval()
    expected = np.zeros((16, 16))
    for single in alone:
        with torch.no_grad():
            rows = model.roberta.embeddings(input_ids=single["input_ids"])[0].double().numpy()
        for row in rows:
            expected += np.outer(row, row)
    query = grams["roberta.encoder.layer.0.attention.self.query.weight"]
    np.testing.assert_allclose(query, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="need examples"):
        input_grams(model, [])


def problem(names="abc", rows=40, out=4, width=6):
    rng = np.random.default_rng(0)
    inputs = {name: rng.standard_normal((rows, width)) * rng.uniform(0.1, 3, width) for name in names}
    states = {
        name: {
            "w": torch.tensor(rng.standard_normal((out, width)), dtype=torch.float32),
            "b": torch.tensor(rng.standard_normal(out), dtype=torch.float32),
        }
        for name in names
    }
    grams = {name: {"w": torch.tensor(values.T @ values)} for name, values in inputs.items()}
    return inputs, states, grams


def merge(states, grams, weights=WEIGHTS, **options):
    return merge_state_dicts(create("regmean", **options), states, weights, measurements=grams)


def by_numpy(states, grams, alpha, ridge):
    left, right = 0, 0
    for name, weight in WEIGHTS.items():
        gram = grams[name]["w"].double().numpy()
        width = len(gram)
        regular = np.where(np.eye(width, dtype=bool), gram, alpha * gram) + ridge * gram.trace() / width * np.eye(width)
        left, right = left + weight * regular, right + weight * regular @ states[name]["w"].double().numpy().T
    return np.linalg.solve(left, right).T


@pytest.mark.parametrize("options", [{}, {"alpha": 0.5, "ridge": 0.1}, {"alpha": 1.0, "ridge": 0.0}, {"alpha": 0.0}])
def test_regmean_equals_numpy(options):
    _, states, grams = problem()
    expected = by_numpy(states, grams, options.get("alpha", 0.9), options.get("ridge", 1e-6))
    merged = merge(states, grams, **options)
    np.testing.assert_allclose(merged["w"], expected, rtol=2e-6, atol=1e-6)
    torch.testing.assert_close(merged["b"], weighted(states, "b"))


def test_it_minimises_the_difference_of_the_outputs():
    inputs, states, grams = problem()
    roots = {name: np.sqrt(weight) * inputs[name] for name, weight in WEIGHTS.items()}
    stacked = np.concatenate(list(roots.values()))
    outputs = np.concatenate([roots[name] @ states[name]["w"].double().numpy().T for name in roots])
    best = np.linalg.lstsq(stacked, outputs, rcond=None)[0].T
    np.testing.assert_allclose(merge(states, grams, alpha=1.0, ridge=0.0)["w"], best, rtol=1e-5, atol=1e-6)


def test_hand_worked_diagonal():
    states = {"a": {"w": torch.tensor([[1.0, 1.0]])}, "b": {"w": torch.tensor([[3.0, 3.0]])}}
    grams = {"a": {"w": torch.tensor([[1.0, 9.0], [9.0, 3.0]])}, "b": {"w": torch.tensor([[1.0, 7.0], [7.0, 1.0]])}}
    merged = merge(states, grams, {"a": 0.5, "b": 0.5}, alpha=0.0, ridge=0.0)
    assert merged["w"].tolist() == [[pytest.approx(2.0), pytest.approx(1.5)]]


def test_trivial_merges_are_trivial():
    _, states, grams = problem()
    alone = merge({"a": states["a"]}, {"a": grams["a"]}, {"a": 1.0})
    one_hot = merge(states, grams, {"a": 0.0, "b": 1.0, "c": 0.0})
    same = merge(dict.fromkeys("abc", states["a"]), grams)
    equal = merge(states, dict.fromkeys("abc", grams["a"]))
    for name in ("w", "b"):
        assert torch.equal(alone[name], states["a"][name]) and torch.equal(one_hot[name], states["b"][name])
        torch.testing.assert_close(same[name], states["a"][name])
        torch.testing.assert_close(equal[name], weighted(states, name), rtol=1e-5, atol=1e-6)


def test_order_threads_pieces_and_shards_change_no_bit(model, make_checkpoint, tmp_path, merges_in_every_way):
    folders = {name: make_checkpoint(name, noise=0.05) for name in "abc"}
    states = {name: read_tensors(folder) for name, folder in folders.items()}
    grams, files = {}, {name: tmp_path / f"{name}.gram.safetensors" for name in "abc"}
    for seed, name in enumerate("abc"):
        grams[name] = input_grams(model, [batch_of([5, 9, 12, 4], seed)])[0]
        save_file(grams[name], files[name])
    in_memory = merge(dict(reversed(states.items())), grams, ridge=1e-3)
    assert not torch.allclose(in_memory[NAME], weighted(states, NAME))
    for merged, _ in merges_in_every_way(create("regmean", ridge=1e-3), folders, measurements=files):
        assert same_bits(merged, in_memory)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_sources_are_merged_wide(dtype):
    _, states, grams = problem()
    narrow = in_dtype(states, dtype)
    wide = merge(in_dtype(narrow, torch.float32), grams)
    assert all(torch.equal(value, wide[name].to(dtype)) for name, value in merge(narrow, grams).items())


def test_what_is_wrong_is_named():
    _, states, grams = problem()
    with pytest.raises(InputError, match="needs the measured gram of every source"):
        merge_state_dicts(create("regmean"), states, WEIGHTS)
    with pytest.raises(InputError, match=r"measurement of b does not belong to the sources \(w\)"):
        merge(states, {**grams, "b": {"w": torch.eye(5)}})
    damaged = {"w": grams["b"]["w"].clone()}
    damaged["w"][0, 1] = torch.nan
    with pytest.raises(InputError, match="measurement of b: what was measured for w has NaN"):
        merge(states, {**grams, "b": damaged})
    with pytest.raises(InputError, match="not positive definite; raise the ridge"):
        merge(states, {name: {"w": torch.ones(6, 6) - 2 * torch.eye(6)} for name in grams}, alpha=1.0, ridge=0.0)
    zeros = {name: {"w": torch.zeros(6, 6)} for name in grams}
    torch.testing.assert_close(merge(states, zeros)["w"], weighted(states, "w"))
    for options, message in [({"alpha": 1.1}, "alpha is 1.1"), ({"ridge": -1}, "ridge is -1")]:
        with pytest.raises(InputError, match=message):
            create("regmean", **options)


def gram_problem(condition, apart=0.05, out=48, width=160):
    """Float32 weights and Gram matrices of three sources, of features whose variances span `condition`."""
    rng = np.random.default_rng(0)
    scales = condition ** (-0.5 * rng.permutation(width) / width)
    start = rng.standard_normal((out, width))
    states, grams = {}, {}
    for name in "abc":
        # Fewer inputs than features, so that no Gram matrix has full rank.
        rows = (rng.standard_normal((width // 2, width)) + rng.standard_normal(width)) * scales
        states[name] = {"w": torch.tensor(start + apart * rng.standard_normal((out, width)), dtype=torch.float32)}
        grams[name] = {"w": torch.tensor(rows.T @ rows, dtype=torch.float32)}
    return states, grams


def assert_close_to_float64(merged, states, grams, alpha=0.9, ridge=1e-6):
    expected = by_numpy(states, grams, alpha, ridge)
    wrong = merged.double().numpy() - expected
    assert np.linalg.norm(wrong) <= 1e-5 * np.linalg.norm(expected)
    assert np.abs(wrong).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("condition", [1e0, 1e2, 1e4, 1e6, 1e8, 1e10])
@pytest.mark.parametrize("options", [{}, {"alpha": 0.99}, {"alpha": 1.0, "ridge": 1e-7}, {"ridge": 0.0}])
def test_float32_grams_give_what_float64_gives(condition, options):
    states, grams = gram_problem(condition)
    assert_close_to_float64(merge(states, grams, **options)["w"], states, grams, **options)


@pytest.fixture
def in_float32(monkeypatch):
    """Whether float32 was enough, a truth value a matrix."""
    enough = []

    def watched(terms):
        merged = solve_in_float32(terms)
        enough.append(merged is not None)
        return merged

    monkeypatch.setattr("auto_merge_llm.methods.regmean.solve_in_float32", watched)
    return enough


def test_float32_is_used_as_far_as_it_does(in_float32):
    """The farther apart the sources, the more of the result is rounded: float64 takes over before it is too much."""
    for apart in 10.0 ** np.arange(-4, 3, 0.25):
        states, grams = gram_problem(1e4, apart, out=200)
        assert_close_to_float64(merge(states, grams)["w"], states, grams)
    used = in_float32.index(False)
    assert used > 5 and not any(in_float32[used:])


def test_float32_is_not_tried_where_its_error_cannot_be_told(in_float32):
    states, grams = gram_problem(1e2)
    wide = {name: {"w": state["w"].double()} for name, state in states.items()}
    tiny, huge = ({name: {"w": gram["w"] * scale} for name, gram in grams.items()} for scale in (1e-30, 1e30))
    merged = merge(states, grams)["w"]
    for other, measured in [(wide, grams), (states, tiny), (states, huge)]:
        torch.testing.assert_close(merge(other, measured)["w"].float(), merged, rtol=1e-4, atol=1e-5)
    merge(states, grams, alpha=1.0)
    assert in_float32 == [True, False, False, True, False]


@pytest.mark.parametrize("apart", [0.001, 1.0])
def test_orders_of_sources_and_threads_give_the_same_bytes(apart, in_float32):
    states, grams = gram_problem(1e4, apart, width=600)
    merged, before = merge(states, grams), torch.get_num_threads()
    assert_close_to_float64(merged["w"], states, grams)
    for order, threads in [("cab", 1), ("bca", 2)]:
        torch.set_num_threads(threads)
        again = merge({name: states[name] for name in order}, {name: grams[name] for name in order})
        torch.set_num_threads(before)
        assert same_bits(merged, again)
    assert in_float32 == 3 * [apart < 0.01]


def test_errors_count_by_their_norm_and_by_their_largest():
    """The norm decides where one element of the matrix is much larger than all others."""
    matrix, outlier = torch.ones(64, 100), torch.ones(64, 100)
    outlier[0, 0] = 100
    everywhere, one = torch.full((32, 100), 1e-6), torch.zeros(32, 100)
    one[3, 4] = 1e-6
    for errors, of, largest in [
        (one, matrix, 9),
        (one, outlier, 400),
        (everywhere, matrix, 1.7),
        (everywhere, outlier, 7),
    ]:
        assert are_small(largest * errors, of) and not are_small(1.2 * largest * errors, of)
