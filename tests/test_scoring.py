"""The evaluator against the plainest possible one: one text, one forward, no padding."""

import numpy as np
import pytest
import torch

from merginguriel.utils import models, scoring


@pytest.fixture(scope="module")
def classifier(models_root):
    return models.load_classifier(models_root / "tiny_massive_k_nl-NL", "cpu", torch.float32)


@pytest.mark.parametrize("budget", [1, 24, 10_000])
def test_logits_do_not_depend_on_batching(classifier, monkeypatch, budget):
    model, tokenizer = classifier
    texts = ["maak my wakker om sewe", "x", "speel jazz in die kombuis asseblief", "goeie more", "", "speel jazz"]
    token_ids = scoring.tokenise(tokenizer, texts)
    with torch.inference_mode():
        expected = np.stack([model(input_ids=torch.tensor([ids])).logits[0].numpy() for ids in token_ids])
    monkeypatch.setattr(scoring, "TOKENS_PER_BATCH", budget)
    assert scoring.logits(model, token_ids, tokenizer.pad_token_id) == pytest.approx(expected, abs=1e-5)


def test_batches_hold_the_token_budget(monkeypatch):
    monkeypatch.setattr(scoring, "TOKENS_PER_BATCH", 10)
    token_ids = [[0] * length for length in (2, 2, 3, 4, 12)]
    batches = list(scoring._batches(range(5), token_ids))
    assert batches == [[0, 1, 2], [3], [4]]


def test_long_texts_are_cut(classifier):
    _, tokenizer = classifier
    assert len(scoring.tokenise(tokenizer, ["jazz " * 500], max_tokens=16)[0]) == 16
