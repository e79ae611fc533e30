"""The evaluator against the plainest possible one: one text, one forward, no padding."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from merginguriel.utils.models import devices, loading, scoring
from merginguriel.utils.models.tokens import TokenCache, Tokens, tokenise

CONFIG = SimpleNamespace(pad_token_id=-1, hidden_size=32)
TEXTS = ["maak my wakker om sewe", "x", "speel jazz in die kombuis asseblief", "goeie more", "", "speel jazz"]


@pytest.fixture(scope="module")
def source(models_root):
    return models_root / "tiny_massive_k_nl-NL"


@pytest.fixture(scope="module")
def classifier(source):
    return loading.load_classifier(source, "cpu", torch.float32)


@pytest.mark.parametrize(
    "can, expected", [({"amx_bf16": True}, torch.bfloat16), ({"amx_bf16": False}, torch.float32), ({}, torch.float32)]
)
def test_precision_is_that_of_the_matrix_units(monkeypatch, can, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can, raising=False)
    assert devices.evaluation_dtype("cpu") == expected
    assert devices.evaluation_dtype("cuda:1") == torch.bfloat16


def test_a_torch_that_cannot_say_what_the_cpu_has_scores_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert devices.evaluation_dtype("cpu") == torch.float32


@pytest.mark.parametrize("budget", [1, 24, 10_000])
def test_logits_do_not_depend_on_batching(classifier, monkeypatch, budget):
    model, tokenizer = classifier
    tokens = tokenise(tokenizer, TEXTS, 128)
    assert list(tokens) == tokenizer(TEXTS)["input_ids"]
    with torch.inference_mode():
        expected = np.stack([model(input_ids=torch.tensor([ids])).logits[0].numpy() for ids in tokens])
    monkeypatch.setitem(scoring.TOKENS_PER_BATCH, "cpu", budget)
    assert scoring.logits(model, tokens) == pytest.approx(expected, abs=1e-5)


def test_batches_hold_the_token_budget(monkeypatch):
    monkeypatch.setitem(scoring.TOKENS_PER_BATCH, "cpu", 10)
    lengths = [12, 2, 4, 3]
    tokens = Tokens(np.arange(21, dtype=np.int32), np.cumsum([0, *lengths]))
    batches = scoring.make_batches(tokens, CONFIG, "cpu")
    assert batches.order.tolist() == [1, 3, 2, 0]
    ids = [batch["input_ids"].tolist() for batch in batches.inputs]
    assert ids == [[[12, 13, -1], [18, 19, 20]], [[14, 15, 16, 17]], [list(range(12))]]
    # Without padding there is nothing to mask.
    masks = [batch["attention_mask"].tolist() if "attention_mask" in batch else None for batch in batches.inputs]
    assert masks == [[[1, 1, 0], [1, 1, 1]], None, None]


@pytest.mark.parametrize("budget, cuts", [(24, [2, 2, 1]), (25, [4, 1]), (100, [5]), (8, [2, 1, 1, 1])])
def test_a_batch_that_holds_enough_ends_where_texts_get_longer(monkeypatch, budget, cuts):
    """Two texts of three tokens are a quarter of 24."""
    monkeypatch.setitem(scoring.TOKENS_PER_BATCH, "cpu", budget)
    lengths = [3, 5, 3, 6, 5]
    tokens = Tokens(np.arange(22, dtype=np.int32), np.cumsum([0, *lengths]))
    made = scoring.make_batches(tokens, CONFIG, "cpu").inputs
    assert [len(batch["input_ids"]) for batch in made] == cuts


def test_the_batches_of_a_gpu_hold_as_many_features_whatever_the_width(monkeypatch):
    monkeypatch.setattr(scoring, "FEATURES_PER_BATCH", 960)
    lengths = np.full(20, 3)
    small, wide = (scoring.Limits.of(SimpleNamespace(hidden_size=size), "cuda") for size in (32, 64))
    assert (small, wide) == (scoring.Limits(30), scoring.Limits(15))
    assert scoring._cuts(lengths, small, 1) == [(0, 10), (10, 20)]


def test_where_a_model_holds_a_value_for_each_pair_of_tokens_long_texts_are_fewer(monkeypatch):
    monkeypatch.setattr(scoring, "PAIRS_PER_BATCH", 2 * 72)
    config = SimpleNamespace(hidden_size=1, num_attention_heads=2, _attn_implementation="eager")
    limits = scoring.Limits.of(config, "cuda")
    assert limits == scoring.Limits(scoring.FEATURES_PER_BATCH, 72)
    assert scoring._cuts(np.array([3] * 9 + [6] * 3 + [20]), limits, 1) == [(0, 8), (8, 10), (10, 12), (12, 13)]
    config._attn_implementation = "sdpa"
    assert scoring.Limits.of(config, "cuda").squares == np.inf
    without_heads = SimpleNamespace(hidden_size=1, _attn_implementation="eager")  # as FNet is
    assert scoring.Limits.of(without_heads, "cuda").squares == np.inf


@pytest.mark.parametrize("budget", [1, 10, 100])
def test_texts_that_have_no_token_at_all_are_filled_up(monkeypatch, budget):
    """A decoder's tokenizer adds none to an empty text."""
    monkeypatch.setitem(scoring.TOKENS_PER_BATCH, "cpu", budget)
    tokens = Tokens(np.arange(5, dtype=np.int32), np.cumsum([0, 3, 0, 2, 0]))
    made = scoring.make_batches(tokens, CONFIG, "cpu")
    assert sorted(made.order) == [0, 1, 2, 3] and sum(len(batch["input_ids"]) for batch in made.inputs) == 4
    first = made.inputs[0]
    assert (first["input_ids"][:2] == -1).all() and not first["attention_mask"][:2].any()
    assert all(batch["input_ids"].shape[1] for batch in made.inputs)


def test_several_sets_of_texts_are_batched_together(source, classifier):
    model, _ = classifier
    cache, parts = scoring.BatchCache(TokenCache()), [TEXTS, TEXTS[2:3], TEXTS[::-1]]
    together = cache.batches(source, model, parts, 128)
    assert cache.batches(source, model, parts, 128) is together
    alone = [scoring.batch_logits(model, cache.batches(source, model, [part], 128)) for part in parts]
    assert scoring.batch_logits(model, together) == pytest.approx(np.concatenate(alone), abs=1e-5)


def test_long_texts_are_cut(classifier):
    _, tokenizer = classifier
    assert len(tokenise(tokenizer, ["jazz " * 500], max_tokens=16)[0]) == 16


def test_tokens_are_made_once_a_content(source, tmp_path, monkeypatch, caplog):
    made = []
    load = loading.load_tokenizer
    monkeypatch.setattr(loading, "load_tokenizer", lambda path: made.append(path) or load(path))
    first = TokenCache(tmp_path).tokens(source, TEXTS, 128)
    cache = TokenCache(tmp_path)
    again = cache.tokens(source, TEXTS, 128)
    assert list(again) == list(first) and cache.tokens(source, TEXTS, 128) is again and len(made) == 1
    (file,) = tmp_path.iterdir()
    for damage in (file.read_bytes()[:-40], b"", file.read_bytes().replace(b"ids", b"idx")):
        file.write_bytes(damage)
        assert list(TokenCache(tmp_path).tokens(source, TEXTS, 128)) == list(first)
    assert len(made) == 4 and sum("damaged" in record.message for record in caplog.records) == 3
    assert list(TokenCache(tmp_path).tokens(source, TEXTS, max_tokens=3)) != list(first)
    assert len(made) == 5


def test_a_tokenizer_is_loaded_once_for_all_texts_and_models(source, tmp_path, monkeypatch):
    twin, made = shutil.copytree(source, tmp_path / "twin"), []
    load = loading.load_tokenizer
    monkeypatch.setattr(loading, "load_tokenizer", lambda path: made.append(path) or load(path))
    cache = TokenCache()
    for path, texts in ((source, TEXTS), (source, TEXTS[:2]), (twin, TEXTS), (twin, TEXTS[1:])):
        cache.tokens(path, texts, 128)
    assert made == [source]


def test_a_tokenizer_is_read_once(source, tmp_path, monkeypatch):
    folder, read, read_bytes = shutil.copytree(source, tmp_path / "copy"), [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path.name) or read_bytes(path))
    cache = TokenCache()
    for texts in (TEXTS, TEXTS[:3]):
        cache.tokens(folder, texts, 128)
    assert read.count("tokenizer.json") == 1


def test_another_tokenizer_is_another_content(source, tmp_path):
    other = shutil.copytree(source, tmp_path / "other")
    config = (other / "tokenizer.json").read_text().replace('"<unk>"', '"<s>"')
    assert loading.tokenizer_files_sha256(source) == loading.tokenizer_files_sha256(other)
    (other / "tokenizer.json").write_text(config)
    assert loading.tokenizer_files_sha256(source) != loading.tokenizer_files_sha256(other)
