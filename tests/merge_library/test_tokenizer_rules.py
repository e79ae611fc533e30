"""Which tokenizers are the same: those that make the same tokens, whatever their files look like."""

import json

import pytest
from auto_merge_llm import tokenizer_rules
from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError
from auto_merge_llm.merge import merge_checkpoints
from auto_merge_llm.methods import create
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

VOCABULARY = [("<s>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("▁jazz", -3.0), ("a", -4.0), ("z", -5.0)]


def tokenizer(scores=VOCABULARY):
    built = Tokenizer(models.Unigram(list(scores), unk_id=2))
    built.normalizer = normalizers.NFKC()
    built.pre_tokenizer = pre_tokenizers.Metaspace()
    built.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    return built


@pytest.fixture
def two(make_checkpoint):
    """two(change, settings) -> a model, and another whose tokenizer or tokenizer_config.json is changed."""

    def make(change=lambda built: None, settings=None):
        folders = [make_checkpoint(name) for name in "ab"]
        for folder, edit in zip(folders, (lambda built: None, change)):
            built = tokenizer()
            (folder / "tokenizer.json").write_text((edit(built) or built).to_str())
            (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
        (folders[1] / "tokenizer_config.json").write_text(json.dumps(settings or {}))
        return folders

    return make


def scores(built):
    return tokenizer([(piece, score - 2 * (piece == "▁jazz")) for piece, score in VOCABULARY])


@pytest.mark.parametrize(
    "change, settings, said",
    [
        (lambda built: setattr(built, "normalizer", normalizers.Lowercase()), None, "normalizer"),
        (lambda built: setattr(built, "pre_tokenizer", pre_tokenizers.Whitespace()), None, "pre_tokenizer"),
        (lambda built: setattr(built, "post_processor", processors.ByteLevel()), None, "post_processor"),
        (scores, None, "model"),
        (lambda built: built.add_tokens(["jazz"]) and None, None, "added_tokens"),
        (lambda built: None, {"do_lower_case": True}, "do_lower_case"),
    ],
    ids=["normalizer", "pre_tokenizer", "post_processor", "scores", "added", "settings"],
)
def test_the_same_vocabulary_with_other_rules_is_refused(two, output, change, settings, said):
    one, other = two(change, settings)
    with pytest.raises(InputError, match=rf"different tokenizers \({said}\)"):
        merge_checkpoints(create("linear"), [one, other], [0.5, 0.5], output)
    assert Checkpoint(one).tokenizer_fingerprint != Checkpoint(other).tokenizer_fingerprint


def test_the_same_rules_written_otherwise_merge(two, output):
    """As older versions of the library tokenizers have written Metaspace; and truncation is the caller's."""

    one, other = two(lambda built: built.enable_truncation(5))
    content = json.loads((other / "tokenizer.json").read_text())
    content["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
    (other / "tokenizer.json").write_text(json.dumps(content))
    assert tokenizer_rules.differences(one / "tokenizer.json", other / "tokenizer.json") == []
    merge_checkpoints(create("linear"), [one, other], [0.5, 0.5], output)


def test_what_transformers_could_not_read_is_refused(two, output):
    one, other = two(settings={"auto_map": True})
    with pytest.raises(InputError, match=r"tokenizer_config\.json has the auto_map True"):
        merge_checkpoints(create("linear"), [one, other], [0.5, 0.5], output)
    assert not list(output.glob("*"))
