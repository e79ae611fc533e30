"""What is known of a model folder before a tensor is read: layers, embeddings, labels."""

import json
from pathlib import Path

import pytest
import torch
from auto_merge_llm import folder_checks, tensors
from auto_merge_llm.checkpoint import Checkpoint
from auto_merge_llm.errors import InputError
from auto_merge_llm.folder_checks import check_model_folder
from auto_merge_llm.merge import merge_checkpoints, merge_to_memory
from auto_merge_llm.methods import create
from auto_merge_llm.tokenizer_files import VOCABULARY_FILES, vocabulary_file
from auto_merge_llm.vocabulary_size import vocabulary_size
from toys import LABELS


@pytest.fixture(autouse=True)
def no_tensor_is_read(monkeypatch):
    monkeypatch.setattr(tensors.FileTensor, "read", None)


def refused(folder, *words):
    """By the check, and by the merge that runs it, the folder being its second source, too."""
    with pytest.raises(InputError) as caught:
        check_model_folder(folder)
    message = str(caught.value)
    assert "\n" not in message and ";" in message and str(folder) in message
    for word in words:
        assert word in message, message
    with pytest.raises(InputError) as again:
        merge_to_memory(create("linear"), [folder, folder], [0.5, 0.5])
    assert str(again.value) == message


def edit(folder, name, **changes):
    content = json.loads((folder / name).read_text()) if (folder / name).is_file() else {}
    (folder / name).write_text(json.dumps({**content, **changes}))


@pytest.mark.parametrize("layout", ["safetensors", "sharded", "bin"])
def test_a_whole_model_passes(make_checkpoint, layout):
    folder = make_checkpoint("a", layout=layout)
    assert check_model_folder(folder).labels == LABELS
    opened = Checkpoint(folder)
    assert check_model_folder(opened) is opened


@pytest.mark.parametrize("count", [1, 0, -1, 3, 2.0, "2", True, [2]])
def test_layers_are_as_many_as_config_says(make_checkpoint, count):
    said = (
        f"num_hidden_layers is {count!r}, not a number"
        if type(count) is not int or count < 1
        else (f"num_hidden_layers is {count} and the weights hold 2 layers")
    )
    refused(make_checkpoint("a", num_hidden_layers=count), "config.json", said)


def test_a_layer_in_the_middle_is_missed(make_checkpoint):
    def without_the_first(state):
        for name in [name for name in state if ".layer.0." in name]:
            del state[name]

    refused(make_checkpoint("a", edit=without_the_first), "lacks the weights of roberta.encoder.layer.0")


NAMES = {
    "distilbert": ("distilbert.transformer.layer.{}.ffn.lin1.weight", "n_layers"),
    "modernbert": ("model.layers.{}.mlp.Wi.weight", "num_hidden_layers"),
    "gpt2": ("transformer.h.{}.mlp.c_fc.weight", "n_layer"),
    "qwen": ("model.layers.{}.self_attn.q_proj.weight", "num_hidden_layers"),
    "xmod": ("roberta.encoder.layer.{}.output.adapter_modules.af_ZA.dense1.weight", "num_hidden_layers"),
    "experts": ("model.layers.{}.mlp.experts.7.layers.9.weight", "num_hidden_layers"),
}


@pytest.mark.parametrize("family", NAMES)
def test_layers_of_other_families(family):
    name, key = NAMES[family]
    held = [name.format(layer) for layer in range(3)]
    assert [len(numbers) for numbers in folder_checks._layers(held).values()] == [3]
    assert key in folder_checks._LAYER_COUNTS


def test_layers_that_are_shared_or_unknown_are_not_counted(make_checkpoint):
    albert = ["albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight", "albert.pooler.weight"]
    assert folder_checks._layers(albert) == {}

    def renamed(state):
        for name in [name for name in state if ".layer." in name]:
            state[name.replace(".layer.", ".stage_")] = state.pop(name)

    check_model_folder(make_checkpoint("a", num_hidden_layers=12, edit=renamed))
    check_model_folder(make_checkpoint("b", num_hidden_layers=None))


def test_embeddings_are_as_many_as_config_says(make_checkpoint):
    refused(make_checkpoint("a", vocab_size=49), "vocab_size is 49 and the embeddings have 50 rows")


def unigram(folder, count):
    edit(folder, "tokenizer.json", model={"type": "Unigram", "vocab": [[f"x{i}", -1.0] for i in range(count)]})


def bpe(folder, count):
    # Ids need not be in a row.
    edit(folder, "tokenizer.json", model={"type": "BPE", "vocab": {"a": 0, "b": count - 1}})


def lines(folder, count):
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(f"x{i}" for i in range(count)) + "\n")


def mapping(folder, count):
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps({f"x{i}": i for i in range(count)}))


def sentencepiece(folder, count):
    # Where sentencepiece is there, transformers reads its own module, and a process can have one of them only.
    protocol = pytest.importorskip("sentencepiece.sentencepiece_model_pb2")

    model = protocol.ModelProto()
    for number in range(count):
        model.pieces.add(piece="x" * number, score=-number)
    model.trainer_spec.model_type = 1
    (folder / "tokenizer.json").unlink()
    (folder / "spm.model").write_bytes(model.SerializeToString())


def added(folder, count):
    edit(folder, "tokenizer.json", added_tokens=[{"id": count - 1, "content": "<new>", "special": False}])


def added_by_name(folder, count):
    edit(folder, "added_tokens.json", **{"<new>": count - 1})


def added_by_the_decoder(folder, count):
    edit(folder, "tokenizer_config.json", added_tokens_decoder={str(count - 1): {"content": "<new>", "special": False}})


def padding(folder, count):
    edit(folder, "tokenizer.json", added_tokens=[{"id": count - 1, "content": "[PAD]", "special": True}])
    edit(folder, "tokenizer_config.json", pad_token="[PAD]")


def padding_as_an_object(folder, count):
    padding(folder, count)
    edit(folder, "tokenizer_config.json", pad_token=None)
    edit(folder, "special_tokens_map.json", pad_token={"content": "[PAD]"})


KINDS = [
    unigram,
    bpe,
    lines,
    mapping,
    sentencepiece,
    added,
    added_by_name,
    added_by_the_decoder,
    padding,
    padding_as_an_object,
]


@pytest.mark.parametrize("write", KINDS)
def test_a_tokenizer_has_no_more_tokens_than_there_are_rows(make_checkpoint, write):
    folder = make_checkpoint("a")
    write(folder, 50)
    assert vocabulary_size(folder) == 50
    check_model_folder(folder)
    folder = make_checkpoint("b")
    write(folder, 51)
    refused(folder, f"{vocabulary_file(folder)} has 51 tokens", "50 rows; copy the tokenizer")


def test_special_tokens_that_only_a_text_that_spells_them_has_do_not_count(make_checkpoint):
    """Gemma 3: <image_soft_token> has the id 262144 and the embeddings 262144 rows."""
    folder = make_checkpoint("a")
    edit(folder, "tokenizer.json", added_tokens=[{"id": 50, "content": "<image>", "special": True}])
    edit(folder, "added_tokens.json", **{"<image>": 50})
    edit(folder, "tokenizer_config.json", added_tokens_decoder={"50": {"content": "<image>", "special": True}})
    assert vocabulary_size(folder) == 50
    check_model_folder(folder)


def test_what_a_training_has_left_is_named(make_checkpoint):
    folder = make_checkpoint("a")
    unigram(folder, 60)
    (folder / "optimizer.pt").write_bytes(b"")
    refused(folder, "is a checkpoint of a training, with 50 of its tokenizer's 60 tokens")


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "added_tokens.json"])
@pytest.mark.parametrize("content", ["{", "[]", "[" * 100_000])
def test_damaged_tokenizers(make_checkpoint, name, content):
    folder = make_checkpoint("a")
    (folder / name).write_text(content)
    refused(folder, name, "damaged")


@pytest.mark.parametrize("name", ["tokenizer.json", "spiece.model", "special_tokens_map.json"])
def test_a_tokenizer_that_cannot_be_read_is_not_taken_for_none(make_checkpoint, tmp_path, name):
    folder = make_checkpoint("a")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / "gone")
    refused(folder, name, "is no file that can be read")
    (folder / name).unlink()
    (folder / name).mkdir()
    refused(folder, name, "is no file that can be read")


def test_a_file_that_the_system_does_not_give(make_checkpoint, monkeypatch):
    folder, read = make_checkpoint("a"), Path.read_text

    def denied(path, *given, **more):
        if path.name == "tokenizer_config.json":
            raise PermissionError(13, "Permission denied")
        return read(path, *given, **more)

    monkeypatch.setattr(Path, "read_text", denied)
    refused(folder, "tokenizer_config.json: Permission denied")


@pytest.mark.parametrize(
    "changes",
    [
        {"model": None},
        {"model": {"vocab": 3}},
        {"model": {"vocab": {"a": "b"}}},
        {"added_tokens": [3]},
        {"added_tokens": [{"id": "x", "content": "y"}]},
    ],
)
def test_odd_tokenizers(make_checkpoint, changes):
    folder = make_checkpoint("a")
    edit(folder, "tokenizer.json", **changes)
    refused(folder, "tokenizer.json")


def test_a_vocabulary_that_cannot_be_counted_is_no_error(make_checkpoint):
    folder = make_checkpoint("a", tokenizer=None)
    assert vocabulary_size(folder) is None
    for content in (b"IQ== 0\nIg== 1\n", b"", b"\x0a", b"\x0a\xff\xff\xff"):
        (folder / "tokenizer.model").write_bytes(content)
        assert vocabulary_size(folder) <= 1
        check_model_folder(folder)


@pytest.mark.parametrize("name", VOCABULARY_FILES)
def test_every_vocabulary_file_is_a_tokenizer(make_checkpoint, name):
    folder = make_checkpoint("a", tokenizer=None)
    (folder / name).write_text('{"model": {"vocab": {"a": 1}}}' if name == "tokenizer.json" else "{}")
    assert Checkpoint(folder).vocabulary_file == folder / name


ROTATED = {label: (index + 1) % len(LABELS) for index, label in enumerate(LABELS)}


@pytest.mark.parametrize(
    "label2id, word",
    [
        (ROTATED, "output 0 is alarm_set by id2label and iot_coffee by label2id"),
        ({**{label: index for index, label in enumerate(LABELS)}, "more": 5}, "output 5 is None by id2label and more"),
        ({label: index for index, label in enumerate(LABELS[:4])}, "output 4 is iot_coffee by id2label and nothing"),
        ({**{label: index for index, label in enumerate(LABELS)}, "twice": 0}, "alarm_set and twice by label2id"),
    ],
)
def test_labels_agree_with_their_numbers(make_checkpoint, label2id, word):
    folder = make_checkpoint("a", label2id=label2id)
    refused(folder, "config.json", word, "correct the one that is wrong")
    with pytest.raises(InputError, match="correct the one that is wrong"):
        Checkpoint(folder).labels  # noqa: B018


@pytest.mark.parametrize(
    "label2id", [None, {}, {f"LABEL_{i}": i for i in range(5)}, {x: str(i) for i, x in enumerate(LABELS)}]
)
def test_numbers_that_say_nothing_contradict_nothing(make_checkpoint, label2id):
    assert check_model_folder(make_checkpoint("a", label2id=label2id)).labels == LABELS


def test_labels_are_as_many_as_the_head_has_rows(make_checkpoint):
    folder = make_checkpoint("a", id2label={"0": "x", "1": "y"})
    refused(folder, "classifier.out_proj.weight has 5 rows and id2label 2 names")


@pytest.mark.parametrize("head", folder_checks.HEADS)
def test_heads_by_name(head):
    state = {f"{head}.weight": torch.zeros(4, 2), f"{head}.bias": torch.zeros(4), "encoder.weight": torch.zeros(2, 2)}
    if head.endswith("out_proj"):
        state[f"{head.partition('.')[0]}.dense.weight"] = torch.zeros(2, 2)
    assert folder_checks.head({name: tensors.LoadedTensor(value) for name, value in state.items()}) == f"{head}.weight"


@pytest.mark.parametrize("shape", [[2.0], [-2], [True, 2], ["2"]])
def test_odd_shapes_in_a_header(make_checkpoint, shape):
    folder = make_checkpoint("a")
    header = json.dumps({"x": {"dtype": "F32", "shape": shape, "data_offsets": [0, 8]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    refused(folder, "model.safetensors", "damaged")


def test_a_damaged_source_leaves_nothing(make_checkpoint, output):
    sources = [make_checkpoint("a"), make_checkpoint("b", num_hidden_layers=1)]
    with pytest.raises(InputError, match="num_hidden_layers is 1"):
        merge_checkpoints(create("linear"), sources, [0.5, 0.5], output)
    assert not list(output.iterdir())
