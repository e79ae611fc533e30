"""Folders that transformers loads, or refuses, and what is said of them."""

import hashlib
import io
import json
import os
import shutil
from importlib.metadata import version

import pytest
import torch
from auto_merge_llm.errors import InputError
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification, CanineConfig, DebertaV2Config, XLMRobertaConfig

from merginguriel.utils.models import loading
from merginguriel.utils.models.model_folder import files_of
from merginguriel.utils.storage import atomic

PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "jazz", "speel", "##en")


@pytest.fixture
def source(models_root, tmp_path):
    return shutil.copytree(models_root / "tiny_massive_k_nl-NL", tmp_path / "source")


def edit(folder, name, **changes):
    content = json.loads((folder / name).read_text()) if (folder / name).is_file() else {}
    (folder / name).write_text(json.dumps({**content, **changes}))


def said_of(read, folder):
    with pytest.raises(InputError) as caught:
        read(folder)
    message = str(caught.value)
    assert "\n" not in message and ";" in message and str(folder) in message
    return message


def load_model(folder):
    return loading.load_model(folder, "cpu", torch.float32)


def test_a_model_that_answers_with_fewer_layers_than_it_has_is_refused(source):
    edit(source, "config.json", num_hidden_layers=0)
    assert "num_hidden_layers is 0" in said_of(load_model, source)


def test_surplus_weights_are_refused_where_the_encoder_has_no_place_for_them(source, caplog):
    """Whatever they are called: here names that headers tell nothing of."""
    state = load_file(source / "model.safetensors")
    expected = load_model(source).state_dict()
    save_file({**state, "lm_head.bias": torch.zeros(3)}, source / "model.safetensors", {"format": "pt"})
    kept = load_model(source).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in kept.items())
    assert "weights that no classifier has are left out, lm_head.bias among them" in caplog.text
    save_file({**state, "roberta.encoder.norm.weight": torch.ones(16)}, source / "model.safetensors", {"format": "pt"})
    assert "no place for, roberta.encoder.norm.weight among them" in said_of(load_model, source)


def test_missing_weights_are_named(source):
    state = load_file(source / "model.safetensors")
    del state["classifier.dense.weight"]
    save_file(state, source / "model.safetensors", {"format": "pt"})
    assert "lacks weights, classifier.dense.weight among them" in said_of(load_model, source)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"hidden_act": "no such thing"}, "no such thing"),
        ({"model_type": "no such thing"}, "no such thing"),
        ({"num_attention_heads": "two"}, ""),
        ({"hidden_size": 24}, ""),
    ],
)
def test_what_transformers_says_is_told_and_not_called_damage(source, changes, words):
    edit(source, "config.json", **changes)
    message = said_of(load_model, source)
    assert message.startswith(f"transformers cannot load {source}: ") and words in message and "damage" not in message


def test_only_broken_files_are_called_damaged(source):
    content = (source / "tokenizer.json").read_text()
    (source / "tokenizer.json").write_text(content[: len(content) // 2])
    assert "tokenizer.json is not valid JSON; it is damaged" in said_of(loading.load_tokenizer, source)
    (source / "tokenizer.json").write_text('{"model": {"type": "BPE"}}')
    message = said_of(loading.load_tokenizer, source)
    assert message.startswith("transformers cannot load") and "damage" not in message
    weights = source / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "damaged or only partly written" in said_of(load_model, source)


def only(folder, config, **files):
    """A folder with this configuration and no tokenizer but `files`."""
    folder.mkdir()
    (folder / "config.json").write_text(config.to_json_string())
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def small(kind, **options):
    sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    return kind(**{**sizes, **options})


def test_a_vocabulary_alone_is_a_tokenizer(tmp_path):
    folder = only(tmp_path / "bert", small(BertConfig, vocab_size=8), **{"vocab.txt": "\n".join(PIECES).encode()})
    BertForSequenceClassification(BertConfig.from_pretrained(folder)).save_pretrained(folder)
    model, tokenizer = loading.load_classifier(folder, "cpu", torch.float32)
    assert tokenizer("speelen jazz")["input_ids"] == [2, 6, 7, 5, 3]
    assert {"vocab.txt", "config.json", "model.safetensors"} == files_of(folder).keys()


def test_special_tokens_have_rows(tmp_path):
    """transformers gives a vocabulary without [CLS] one beyond the model's rows."""
    words = "\n".join(PIECES[1:2] + PIECES[5:]).encode()
    folder = only(tmp_path / "bert", small(BertConfig, vocab_size=4), **{"vocab.txt": words})
    assert "lacks [" in said_of(loading.load_tokenizer, folder)


def test_a_sentencepiece_model_alone_is_a_tokenizer(tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    model, ids = io.BytesIO(), dict(pad_id=0, bos_id=1, eos_id=2, unk_id=3)
    pieces = dict(pad_piece="[PAD]", bos_piece="[CLS]", eos_piece="[SEP]", unk_piece="[UNK]")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["speel jazz", "speel musiek", "maak wakker"] * 5),
        model_writer=model,
        vocab_size=20,
        minloglevel=2,
        **ids,
        **pieces,
    )
    folder = only(tmp_path / "deberta", small(DebertaV2Config, vocab_size=30), **{"spm.model": model.getvalue()})
    expected = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).encode("speel jazz maak")
    assert loading.load_tokenizer(folder)("speel jazz maak")["input_ids"] == [1, *expected, 2]


def test_a_sentencepiece_model_without_its_library(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    folder = only(tmp_path / "deberta", small(DebertaV2Config, vocab_size=30), **{"spm.model": b"x"})
    assert "spm.model needs the library sentencepiece; pip install sentencepiece" in said_of(
        loading.load_tokenizer, folder
    )


@pytest.mark.parametrize("name", ["vocab.txt", "tokenizer_config.json"])
def test_a_tokenizer_that_transformers_would_make_up_is_refused(tmp_path, name):
    """transformers 5 reads XLM-R without its vocabulary as five special tokens, and goes on; 4 has an error."""
    content = "\n".join(PIECES).encode() if name == "vocab.txt" else b"{}"
    folder = only(tmp_path / "xlmr", small(XLMRobertaConfig, vocab_size=50), **{name: content})
    message = said_of(loading.load_tokenizer, folder)
    assert ("has none of " if version("transformers") >= "5" else "transformers cannot load") in message


def test_characters_need_no_vocabulary(tmp_path):
    folder = only(tmp_path / "canine", CanineConfig(), **{"tokenizer_config.json": b"{}"})
    assert loading.load_tokenizer(folder)("ab")["input_ids"][1:3] == [97, 98]


def test_no_tokenizer(tmp_path):
    folder = only(tmp_path / "none", small(BertConfig, vocab_size=8))
    assert "has no tokenizer files" in said_of(loading.load_tokenizer, folder)
    assert "has no tokenizer files" in said_of(lambda path: loading.load_classifier(path, "cpu", torch.float32), folder)


def test_old_names_are_read(tmp_path):
    """LayerNorm.gamma and beta, which transformers reads as weight and bias."""
    folder = only(tmp_path / "bert", small(BertConfig, vocab_size=8), **{"vocab.txt": "\n".join(PIECES).encode()})
    model = BertForSequenceClassification(BertConfig.from_pretrained(folder))
    model.save_pretrained(folder)
    state = load_file(folder / "model.safetensors")
    for name in [name for name in state if "LayerNorm" in name]:
        state[name.replace(".weight", ".gamma").replace(".bias", ".beta")] = state.pop(name) + 0.5
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    for name, value in load_model(folder).state_dict().items():
        assert torch.equal(value, model.state_dict()[name] + ("LayerNorm" in name) * 0.5), name


def test_tokenizers_are_saved_and_read_under_a_name_that_transformers_4_and_5_have(tiny_base, models_root, tmp_path):
    """5 writes TokenizersBackend, which 4.57 does not know; folders that have it are read all the same."""
    by_5 = json.loads((tiny_base / "tokenizer_config.json").read_text())
    assert by_5["tokenizer_class"] in ("TokenizersBackend", "PreTrainedTokenizerFast")
    initial = models_root / "init/tiny_seed42"
    assert json.loads((initial / "tokenizer_config.json").read_text())["tokenizer_class"] == "PreTrainedTokenizerFast"
    folder = shutil.copytree(initial, tmp_path / "m")
    expected = loading.load_tokenizer(folder)("wakker word")["input_ids"]
    atomic.write_json(folder / "tokenizer_config.json", {**by_5, "tokenizer_class": "TokenizersBackend"})
    with pytest.MonkeyPatch.context() as patch:  # as where no class has that name
        patch.setattr("transformers.AutoTokenizer.from_pretrained", lambda *args, **kwargs: 1 / 0)
        assert loading.load_tokenizer(folder)("wakker word")["input_ids"] == expected


def test_the_hash_is_of_the_weights_that_are_there_now(models_root, tmp_path):
    """And not of a file of the same size and time that was there before."""
    from auto_merge_llm.checkpoint import Checkpoint

    one, other = sorted(models_root.glob("tiny_massive_k_*"))[:2]
    expected = {path: hashlib.sha256((path / "model.safetensors").read_bytes()).hexdigest() for path in (one, other)}
    model = shutil.copytree(one, tmp_path / "model")
    assert Checkpoint(model).weights_fingerprint == expected[one]
    file, replaced = model / "model.safetensors", other / "model.safetensors"
    times = file.stat()
    assert times.st_size == replaced.stat().st_size
    shutil.copy(replaced, file)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert Checkpoint(model).weights_fingerprint == expected[other]
