"""The diagonal Fisher against a loop of single-example backwards in float64."""

import pytest
import torch
from auto_merge_llm.errors import InputError
from auto_merge_llm.fisher import diagonal_fisher
from toys import LABELS, padded, tiny_config
from transformers import XLMRobertaForSequenceClassification

CLASSES = len(LABELS)
EXACT = dict(rtol=2e-4, atol=1e-9)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return XLMRobertaForSequenceClassification(tiny_config(hidden_size=24, intermediate_size=40)).eval()


def examples(count, longest=9):
    generator = torch.Generator().manual_seed(count)
    lengths = torch.randint(3, longest + 1, (count,), generator=generator)
    # Few different tokens, so that many stand twice in one example.
    rows = [torch.randint(3, 9, (int(length),), generator=generator) for length in lengths]
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    return list(zip(rows, labels))


def batched(items, size):
    for start in range(0, len(items), size):
        rows, labels = zip(*items[start : start + size])
        yield {**padded(rows), "labels": torch.stack(labels)}


def gradients(model, ids, weigh):
    """Float64 gradient of `weigh(log_p)` for one example, by parameter."""
    double = XLMRobertaForSequenceClassification(model.config).double().eval()
    double.load_state_dict(model.state_dict())
    log_p = double(input_ids=ids[None], attention_mask=torch.ones_like(ids)[None]).logits.log_softmax(-1)[0]
    weigh(log_p).backward()
    return {name: parameter.grad for name, parameter in double.named_parameters()}


def oracle(model, items, estimator):
    total = {name: torch.zeros_like(parameter, dtype=torch.float64) for name, parameter in model.named_parameters()}
    for ids, gold in items:
        labels = range(CLASSES) if estimator == "expected" else [int(gold)]
        for label in labels:
            share = []

            def weigh(log_p, label=label, share=share):
                share.append(log_p[label].exp().item() if estimator == "expected" else 1.0)
                return log_p[label]

            for name, gradient in gradients(model, ids, weigh).items():
                total[name] += share[0] * gradient.square()
    return total


@pytest.mark.parametrize("estimator", ["empirical", "expected"])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_equals_a_loop_over_examples(model, estimator, size):
    items = examples(7)
    expected = oracle(model, items, estimator)
    fisher, seen = diagonal_fisher(model, batched(items, size), estimator)
    assert seen == 7 and fisher.keys() == expected.keys()
    for name, values in expected.items():
        torch.testing.assert_close(fisher[name].double(), values, **EXACT)


@pytest.mark.parametrize("workspace", [1, 2000, 1 << 20])
def test_any_number_of_examples_at_a_time(model, monkeypatch, workspace):
    monkeypatch.setattr("auto_merge_llm.fisher_layers._WORKSPACE", {"cpu": workspace})
    items = examples(5, 30)
    fisher, _ = diagonal_fisher(model, batched(items, 5), "empirical")
    for name, values in oracle(model, items, "empirical").items():
        torch.testing.assert_close(fisher[name].double(), values, **EXACT)


def test_sampled_is_unbiased_for_the_expectation(model):
    items = examples(4)
    expected, _ = diagonal_fisher(model, batched(items, 4), "expected")
    runs, copies = 20, 20  # of an example, each with a label of its own
    mean = {name: torch.zeros_like(values) for name, values in expected.items()}
    for seed in range(runs):
        fisher, _ = diagonal_fisher(model, batched(items * copies, 80), "sampled", seed=seed)
        for name, values in fisher.items():
            mean[name] += values / (runs * copies)
    flat = torch.cat([values.flatten() for values in mean.values()])
    exact = torch.cat([values.flatten() for values in expected.values()])
    assert torch.cosine_similarity(flat, exact, dim=0) > 0.99
    assert float(flat.sum() / exact.sum()) == pytest.approx(1, abs=0.1)


def test_sampled_labels_depend_on_seed_and_examples_not_on_batches(model):
    items = examples(6)
    one, _ = diagonal_fisher(model, batched(items, 6), "sampled", seed=5)
    two, _ = diagonal_fisher(model, batched(items, 2), "sampled", seed=5)
    other, _ = diagonal_fisher(model, batched(items, 6), "sampled", seed=6)
    for name in one:
        torch.testing.assert_close(one[name], two[name], **EXACT)
    assert any(not torch.allclose(one[name], other[name]) for name in one)


def test_batch_estimator_is_the_square_of_one_summed_gradient(model):
    items = examples(5)
    total = {name: torch.zeros_like(parameter, dtype=torch.float64) for name, parameter in model.named_parameters()}
    for ids, _ in items:
        for name, gradient in gradients(model, ids, lambda log_p: (log_p.detach().exp().sqrt() * log_p).sum()).items():
            total[name] += gradient
    fisher, _ = diagonal_fisher(model, batched(items, 5), "batch")
    for name, gradient in total.items():
        torch.testing.assert_close(fisher[name].double(), gradient.square(), rtol=1e-3, atol=1e-8)


def test_head_bias_by_hand(model):
    # ∂ log p_y / ∂ bias = 1[y] - p
    ((ids, gold),) = examples(1)
    with torch.no_grad():
        p = model(input_ids=ids[None]).logits.softmax(-1)[0]
    expected = [(float(label == int(gold)) - float(p[label])) ** 2 for label in range(CLASSES)]
    fisher, _ = diagonal_fisher(model, batched([(ids, gold)], 1), "empirical")
    assert fisher["classifier.out_proj.bias"].tolist() == pytest.approx(expected, rel=1e-4)


def test_bfloat16_autocast_stays_close_and_sums_in_float32(model):
    items = examples(6)
    exact, _ = diagonal_fisher(model, batched(items, 3), "empirical")
    rough, _ = diagonal_fisher(model, batched(items, 3), "empirical", autocast=torch.bfloat16)
    assert all(values.dtype == torch.float32 for values in rough.values())
    flat = [torch.cat([values.flatten() for values in each.values()]) for each in (exact, rough)]
    assert torch.cosine_similarity(*flat, dim=0) > 0.995


def test_the_model_is_left_as_it_was(model):
    model.train()
    model.classifier.dense.weight.requires_grad_(False)
    diagonal_fisher(model, batched(examples(2), 2), "sampled")
    assert model.training and not model.classifier.dense.weight.requires_grad
    assert model.classifier.dense.bias.requires_grad and model.classifier.dense.bias.grad is None
    assert not model.classifier.dense._forward_hooks
    model.classifier.dense.weight.requires_grad_(True)
    model.eval()


def test_a_layer_that_nothing_uses_has_no_information(model):
    """One of a kind that no formula knows, which alone would be asked for gradients."""
    expected, _ = diagonal_fisher(model, batched(examples(3), 3), "empirical")
    model.idle = torch.nn.PReLU()
    found, _ = diagonal_fisher(model, batched(examples(3), 3), "empirical")
    assert not found.pop("idle.weight").any() and found.keys() == expected.keys()
    assert all(torch.equal(values, expected[name]) for name, values in found.items())


def test_refusals(model):
    with pytest.raises(InputError, match="estimator"):
        diagonal_fisher(model, [], "exact")
    with pytest.raises(InputError, match="examples"):
        diagonal_fisher(model, [])
