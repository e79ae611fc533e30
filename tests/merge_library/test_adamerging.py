"""AdaMerging against autograd through the merge, and the merge against NumPy."""

import copy
import math

import numpy as np
import pytest
import torch
from auto_merge_llm.errors import InputError
from auto_merge_llm.merge import merge_state_dicts
from auto_merge_llm.methods.adamerging import AdaMerging
from toys import LABELS, WEIGHTS, padded, tiny_config, weighted
from transformers import XLMRobertaForSequenceClassification

CLASSES = len(LABELS)
both = pytest.mark.parametrize("per", ["tensor", "model"])


def classifier(seed, dtype=torch.float64):
    torch.manual_seed(seed)
    return XLMRobertaForSequenceClassification(tiny_config()).to(dtype)


def states(names="abc", dtype=torch.float64, noise=0.1):
    """A base and sources near it, as state dicts of the tiny classifier."""
    base = {name: value.clone() for name, value in classifier(0, dtype).state_dict().items()}
    generator = torch.Generator().manual_seed(1)
    return base, {
        source: {
            name: value + noise * torch.randn(value.shape, generator=generator, dtype=dtype)
            for name, value in base.items()
        }
        for source in names
    }


def texts(count=12, size=4, padding=0):
    """Batches of texts of different lengths, padded to the longest of the batch and `padding` tokens more."""
    generator = torch.Generator().manual_seed(2)
    rows = [torch.randint(3, 30, (3 + i % 6,), generator=generator) for i in range(count)]
    return [padded(rows[start : start + size], padding) for start in range(0, count, size)]


BATCHES = texts()


def learn(method, base, sources, batches=BATCHES, weights=WEIGHTS, dtype=torch.float64, **options):
    """What `method` learns with a model whose own values do not matter."""
    return method.learn(classifier(7, dtype), sources, base, batches, weights, **options)


def autograd(base, sources, per, learning_rate, epochs, batches, start=None, bound=lambda row: row):
    """The coefficients by tensor and source: Adam on λ, differentiated through `bound`, the merge and the model."""
    model = classifier(5).eval()
    names = [name for name, _ in model.named_parameters()]
    rows = {
        key: torch.tensor([start or WEIGHTS[source] for source in sources], dtype=torch.float64, requires_grad=True)
        for key in (names if per == "tensor" else ["all"])
    }
    factors = {name: rows[name if per == "tensor" else "all"] for name in names}
    optimizer = torch.optim.Adam(rows.values(), lr=learning_rate)
    entropies = []
    for batch in epochs * batches:
        merged = {
            name: base[name]
            + sum(factor * (state[name] - base[name]) for factor, state in zip(bound(row), sources.values()))
            for name, row in factors.items()
        }
        logits = torch.func.functional_call(model, merged, kwargs=dict(batch)).logits
        entropy = torch.distributions.Categorical(logits=logits).entropy().mean()
        optimizer.zero_grad()
        entropy.backward()
        optimizer.step()
        entropies.append(entropy.item())
    return {name: dict(zip(sources, bound(row).tolist())) for name, row in factors.items()}, entropies


def close(learnt, expected, tolerance):
    return learnt.keys() >= expected.keys() and all(
        learnt[name] == pytest.approx(row, rel=0, abs=tolerance) for name, row in expected.items()
    )


@both
def test_equals_autograd_through_the_merge(per):
    base, sources = states()
    expected, entropies = autograd(base, sources, per, 0.02, 3, BATCHES)
    seen = []
    method = learn(AdaMerging(per, 0.02, 3), base, sources, progress=lambda *step: seen.append(step))
    assert max(abs(value - WEIGHTS[source]) for row in expected.values() for source, value in row.items()) > 0.05
    assert close(method.coefficients, expected, 1e-9)
    assert [step[:2] for step in seen] == [(i + 1, 9) for i in range(9)]
    assert [step[2] for step in seen] == pytest.approx(entropies, rel=1e-10)
    assert (len({tuple(row.values()) for row in method.coefficients.values()}) == 1) == (per == "model")


@both
def test_the_papers_form_starts_at_a_constant_and_is_clamped(per):
    base, sources = states()
    expected, entropies = autograd(base, sources, per, 0.2, 4, BATCHES, 0.3, lambda row: row.clamp(0, 1))
    seen = []
    method = learn(
        AdaMerging(per, 0.2, 4, start=0.3, clamp=True), base, sources, progress=lambda *step: seen.append(step[2])
    )
    assert close(method.coefficients, expected, 1e-9) and seen == pytest.approx(entropies, rel=1e-9)
    learnt = {value for name in expected for value in method.coefficients[name].values()}
    assert {0.0, 1.0} & learnt and all(0 <= value <= 1 for value in learnt)
    # Without the clamp, the same start goes beyond.
    free = learn(AdaMerging(per, 0.2, 4, start=0.3), base, sources)
    assert any(not 0 <= value <= 1 for row in free.coefficients.values() for value in row.values())


def test_no_epoch_from_a_constant_is_task_arithmetic():
    base, sources = states()
    method = learn(AdaMerging(epochs=0, start=0.3), base, sources, [])
    assert method.coefficients == dict.fromkeys(base, dict.fromkeys(sources, 0.3))
    for chosen in (method, AdaMerging(start=0.3)):
        for name, values in merge_state_dicts(chosen, sources, WEIGHTS, base=base).items():
            start = base[name].numpy()
            expected = start + 0.3 * sum(state[name].numpy() - start for state in sources.values())
            np.testing.assert_allclose(values.numpy(), expected, rtol=0, atol=1e-13)


@both
def test_float32_stays_close_to_float64(per):
    base, sources = states()
    expected, _ = autograd(base, sources, per, 0.01, 2, BATCHES)
    start, *single = [{name: value.float() for name, value in state.items()} for state in (base, *sources.values())]
    method = learn(AdaMerging(per, 0.01, 2), start, dict(zip(sources, single)), dtype=torch.float32)
    if per == "tensor":
        # Attention does not see a bias of all keys: the gradient is 0, and Adam follows its rounding.
        expected = {name: row for name, row in expected.items() if not name.endswith("key.bias")}
    assert close(method.coefficients, expected, 1e-5)


@both
def test_the_entropy_falls(per):
    base, sources = states()
    means = []
    for epochs in (1, 5, 20):
        seen = []
        learn(AdaMerging(per, 0.01, epochs), base, sources, progress=lambda *step, seen=seen: seen.append(step[2]))
        means.append(np.mean(seen[-len(BATCHES) :]))
    assert means[0] > means[1] > means[2]
    assert 0 < means[2] < means[0] < math.log(CLASSES)


@both
def test_the_model_is_left_merged_and_as_it_was(per):
    base, sources = states(dtype=torch.float32)
    given = copy.deepcopy((base, sources))
    model = classifier(7, torch.float32).train()
    model.roberta.embeddings.eval()
    frozen = model.classifier.dense.weight.requires_grad_(False)
    modes = [module.training for module in model.modules()]
    method = AdaMerging(per, 0.01, 1).learn(model, sources, base, BATCHES, WEIGHTS)
    merged = merge_state_dicts(method, sources, WEIGHTS, base=base)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, merged[name]), name
        assert parameter.requires_grad == (parameter is not frozen) and parameter.grad is None
    assert [module.training for module in model.modules()] == modes
    for state, before in zip((base, *sources.values()), (given[0], *given[1].values())):
        assert all(torch.equal(state[name], before[name]) for name in before)


def test_the_model_is_as_it_was_after_an_error():
    base, sources = states()
    model = classifier(7).train()
    model.classifier.dense.weight.requires_grad_(False)
    with pytest.raises(InputError, match="text"):
        AdaMerging().learn(model, sources, base, [], WEIGHTS)
    assert model.training and not model.classifier.dense.weight.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())


@both
def test_no_epoch_is_the_weighted_mean(per):
    base, sources = states()
    method = learn(AdaMerging(per, epochs=0), base, sources, [])
    assert method.coefficients == dict.fromkeys(base, WEIGHTS)
    for chosen in (method, AdaMerging(per)):
        merged = merge_state_dicts(chosen, sources, WEIGHTS, base=base)
        for name, values in merged.items():
            np.testing.assert_allclose(values, weighted(sources, name), rtol=0, atol=1e-13)


def test_merge_with_coefficients_against_numpy():
    base, sources = states()
    random = np.random.default_rng(3)
    coefficients = {name: dict(zip("abc", random.normal(size=3).tolist())) for name in base}
    merged = merge_state_dicts(AdaMerging(coefficients=coefficients), sources, WEIGHTS, base=base)
    for name, values in merged.items():
        start = base[name].numpy()
        expected = start + sum(
            coefficients[name][source] * (sources[source][name].numpy() - start) for source in sources
        )
        np.testing.assert_allclose(values.numpy(), expected, rtol=0, atol=1e-12)


@both
def test_the_order_of_sources_and_a_second_run_change_nothing(per):
    base, sources = states()
    backwards = {name: sources[name] for name in reversed(sources)}
    weights = {name: WEIGHTS[name] for name in ("b", "c", "a")}
    one = learn(AdaMerging(per, 0.01), base, sources)
    two = AdaMerging(per, 0.01).learn(classifier(8).train(), backwards, base, BATCHES, weights)
    assert one == two
    merged = [merge_state_dicts(one, each, WEIGHTS, base=base) for each in (sources, backwards)]
    assert all(torch.equal(merged[0][name], merged[1][name]) for name in base)


def test_one_source_of_coefficient_one_is_itself():
    base, sources = states("a")
    method = learn(AdaMerging(epochs=0), base, sources, [], {"a": 1.0})
    for name, values in merge_state_dicts(method, sources, {"a": 1.0}, base=base).items():
        torch.testing.assert_close(values, sources["a"][name], rtol=0, atol=1e-15)


def test_identical_sources_without_learning_are_themselves():
    base, sources = states()
    same = dict.fromkeys(sources, sources["a"])
    for name, values in merge_state_dicts(AdaMerging(), same, WEIGHTS, base=base).items():
        torch.testing.assert_close(values, sources["a"][name], rtol=0, atol=1e-14)


def test_padding_changes_nothing():
    base, sources = states()
    one, two = (
        learn(AdaMerging("tensor", 0.01, 2), base, sources, texts(padding=padding)).coefficients for padding in (0, 7)
    )
    assert close(one, two, 1e-9)


def test_a_source_of_weight_0_takes_no_part():
    base, sources = states()
    weights = {"a": 0.6, "b": 0.4, "c": 0.0}
    method = learn(AdaMerging(), base, sources, weights=weights)
    two = {name: sources[name] for name in "ab"}
    alone = learn(AdaMerging(), base, two, weights={"a": 0.6, "b": 0.4})
    assert method == alone and set(method.coefficients["classifier.dense.weight"]) == {"a", "b"}
    merge_state_dicts(method, sources, weights, base=base)


def test_tensors_that_the_model_lacks_keep_the_weights():
    base, sources = states()
    for state in (base, *sources.values()):
        state["pooler.weight"] = state["classifier.dense.weight"] * 2
    method = learn(AdaMerging("model", 0.01), base, sources)
    assert method.coefficients["pooler.weight"] == WEIGHTS
    assert method.coefficients["classifier.dense.weight"] != WEIGHTS
    merge_state_dicts(method, sources, WEIGHTS, base=base)


def test_a_parameter_that_the_logits_do_not_depend_on_keeps_its_coefficient():
    base, sources = states()
    model = classifier(7)
    model.unused = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    for value, state in enumerate((base, *sources.values())):
        state["unused"] = torch.full((3,), float(value), dtype=torch.float64)
    method = AdaMerging().learn(model, sources, base, BATCHES, WEIGHTS)
    assert method.coefficients["unused"] == WEIGHTS


def test_batches_without_a_length_have_no_known_total():
    base, sources = states()
    seen = []
    learn(AdaMerging(), base, sources, iter(texts()), progress=lambda *step: seen.append(step))
    assert [step[:2] for step in seen] == [(1, None), (2, None), (3, None)]
    with pytest.raises(InputError, match="every epoch"):
        learn(AdaMerging(epochs=2), base, sources, iter(texts()))


def test_bfloat16_autocast_runs_and_keeps_float32_parameters():
    base, sources = states(dtype=torch.float32)
    model = classifier(7, torch.float32)
    method = AdaMerging().learn(model, sources, base, BATCHES, WEIGHTS, autocast=torch.bfloat16)
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert close(method.coefficients, dict.fromkeys(base, WEIGHTS), 3.5e-3)  # three steps of about 1e-3


@pytest.mark.parametrize(
    "options",
    [
        {"per": "layer"},
        {"learning_rate": 0},
        {"learning_rate": -1e-3},
        {"learning_rate": math.nan},
        {"learning_rate": "1"},
        {"epochs": -1},
        {"epochs": 1.5},
        {"epochs": True},
        {"start": -0.1},
        {"start": 1.5},
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        AdaMerging(**options)


@pytest.mark.parametrize("lost", ["tensor", "source"])
def test_missing_coefficients_are_refused(lost):
    base, sources = states()
    coefficients = {name: dict(WEIGHTS) for name in base}
    name = "classifier.dense.weight"
    if lost == "tensor":
        del coefficients[name]
    else:
        del coefficients[name]["b"]
    with pytest.raises(InputError, match=f"{name} has no coefficient for .*b"):
        merge_state_dicts(AdaMerging(coefficients=coefficients), sources, WEIGHTS, base=base)


def test_two_sources_of_one_folder_name_have_coefficients_of_their_own():
    base, sources = states("ab")
    weights = {"somewhere/x/1/a": 0.5, "somewhere/y/1/a": 0.5}
    named = dict(zip(weights, sources.values()))
    method = AdaMerging(coefficients={name: {"x/1/a": 1.0, "y/1/a": 0.0} for name in base})
    merged = merge_state_dicts(method, named, weights, base=base)
    for name, values in merged.items():
        torch.testing.assert_close(values, sources["a"][name])


def test_arguments_that_do_not_go_together_are_refused():
    base, sources = states()
    method, model = AdaMerging(), classifier(7)
    with pytest.raises(InputError, match=r"\(c\)"):
        method.learn(model, sources, base, BATCHES, {"a": 0.5, "b": 0.5})
    with pytest.raises(InputError, match="no weight above 0"):
        method.learn(model, sources, base, BATCHES, dict.fromkeys(sources, 0.0))
    damaged = {**sources, "b": {**sources["b"], "classifier.dense.bias": torch.full((16,), math.nan)}}
    with pytest.raises(InputError, match="entropy is nan at step 1"):
        method.learn(model, damaged, base, BATCHES, WEIGHTS)
    short = {name: value for name, value in base.items() if name != "classifier.dense.bias"}
    with pytest.raises(InputError, match="the base has no tensor classifier.dense.bias"):
        method.learn(model, sources, short, BATCHES, WEIGHTS)
    model.classifier.twin = model.classifier.dense
    with pytest.raises(InputError, match="ties"):
        method.learn(model, sources, base, BATCHES, WEIGHTS)
