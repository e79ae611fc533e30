"""Short texts in one row: the same answers as text by text."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoConfig, AutoModelForSequenceClassification

from merginguriel.utils.models import packed_attention
from merginguriel.utils.models.packed_attention import TILE, PackedAttention

HERE = ("cpu",)  # where tests can be


def heads(texts, tokens, seed):
    """(texts, 3, tokens, 8) as models have it: a view of tokens with their heads side by side."""
    drawn = torch.randn(texts, tokens, 3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return drawn.transpose(1, 2)


@pytest.mark.parametrize("texts", [1, 2, 7, 40])
@pytest.mark.parametrize("tokens", [1, 2, 5, TILE // 2, TILE // 2 + 1])
@pytest.mark.parametrize("scale", [None, 0.5])
def test_is_attention_text_by_text(texts, tokens, scale):
    query, key, value = (heads(texts, tokens, seed) for seed in range(3))
    factor = 8**-0.5 if scale is None else scale
    expected = (query @ key.transpose(-1, -2) * factor).softmax(-1) @ value
    with PackedAttention(HERE):
        found = scaled_dot_product_attention(query, key, value, scale=scale)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.fixture
def rows(monkeypatch):
    """How many tokens a row had, call by call."""
    seen, packed = [], packed_attention._packed
    monkeypatch.setattr(
        packed_attention,
        "_packed",
        lambda query, *more, **rest: seen.append(query.shape) or packed(query, *more, **rest),
    )
    return seen


@pytest.mark.parametrize("texts", [1, 7, 40])
@pytest.mark.parametrize("tokens", [2, 5, TILE // 2])
def test_so_is_attention_of_texts_that_are_filled_up(texts, tokens):
    query, key, value = (heads(texts, tokens, seed).requires_grad_() for seed in range(3))
    lengths = torch.randint(1, tokens + 1, (texts, 1), generator=torch.Generator().manual_seed(3))
    seen = (torch.arange(tokens) < lengths)[:, None, None].expand(texts, 1, tokens, tokens)
    scores = (query @ key.transpose(-1, -2) * 8**-0.5).masked_fill(~seen, float("-inf"))
    expected = scores.softmax(-1) @ value
    upstream = heads(texts, tokens, 4)
    wanted = torch.autograd.grad(expected, (query, key, value), upstream)
    with PackedAttention(HERE):
        for _ in range(2):  # a second layer has the same mask
            found = scaled_dot_product_attention(query, key, value, attn_mask=seen)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(found, (query, key, value), upstream), wanted, rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("more", [{"attn_mask": torch.zeros(6, 6, dtype=torch.float64)}, {"is_causal": True}])
def test_what_is_more_than_plain_attention_is_left_alone(more, rows):
    query, key, value = (heads(9, 6, seed) for seed in range(3))
    torch.manual_seed(0)
    expected = scaled_dot_product_attention(query, key, value, **more)
    torch.manual_seed(0)
    with PackedAttention(HERE):
        found = scaled_dot_product_attention(query, key, value, **more)
    assert torch.equal(found, expected) and not rows


def test_so_is_another_device_and_what_has_other_keys_than_queries(rows):
    query, key, value = (heads(9, 6, seed) for seed in range(3))
    with PackedAttention():
        scaled_dot_product_attention(query, key, value)
    with PackedAttention(HERE):
        scaled_dot_product_attention(query, key[:, :, :3], value[:, :, :3])
    assert not rows


@pytest.mark.parametrize("kind", ["xlm-roberta", "bert", "distilbert"])
def test_a_model_scores_the_same(kind, rows):
    sizes = {"hidden_size": 24, "dim": 24, "intermediate_size": 48, "hidden_dim": 48}
    depth = {"num_hidden_layers": 2, "n_layers": 2, "num_attention_heads": 3, "n_heads": 3}
    config = AutoConfig.for_model(kind, vocab_size=50, num_labels=4, **sizes, **depth)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    texts = torch.randint(3, 50, (23, 7), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model(input_ids=texts).logits
        with PackedAttention(HERE):
            found = model(input_ids=texts).logits
    assert len(rows) == 2
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
