"""What hypothesis draws: edits of every kind of file of the world."""

import math

import worlds
from edits import ARRAY_CHANGES, CHANGES, Edit
from hypothesis import strategies as st

TEXTS = (
    "",
    " ",
    "x",
    "0",
    "test",
    "alarm",
    "nl-NL",
    "../models",
    "/etc/passwd",
    "a/b",
    "a\nb",
    "a\x00b",
    "\ud800",
    "\x1b[31m",
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "é" * 300,
    "١",
    "nan",
    "1e999",
    "~",
    "-1",
    "%s{}",
    "e\u0301",
)
NUMBERS = (-1, 0, 1, 2, 3, 7, 64, 10**6, 10**12, 2**63, 10**40, -0.0, 0.5, -1.5, 1e-9, 1e308, math.nan, math.inf)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS),
    st.sampled_from([[], [1], ["alarm"], [[]], {}, {"0": "alarm"}, {"a": {"b": []}}, [None], [0.5] * 8]),
)
GARBAGE = (
    b"",
    b"\x00",
    b"\x00" * 4096,
    b"{",
    b"{}",
    b"[]",
    b"null",
    b"\xff\xfe{\x00",
    b"PK\x03\x04",
    b"PAR1",
    b"\x80\x04.",
    b"version https://git-lfs.github.com/spec/v1\n",
    b"<html>404</html>\n",
    b"\xef\xbb\xbf{}",
    b"1\n" * 50,
)
LINKS = (".", "..", "nowhere", "/etc/hostname", "/dev/null", "self", "../../notes.txt")


def _edits(name: str, file: str, *args: st.SearchStrategy) -> st.SearchStrategy[Edit]:
    return st.builds(Edit, st.just(name), st.just(file), st.tuples(*args))


def of_any_file(file: str) -> st.SearchStrategy[Edit]:
    """Damage that needs no knowledge of what is in it."""
    return st.one_of(
        _edits("cut", file, st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.999])),
        _edits("overwrite", file, st.sampled_from([b"\x00", b"\x00" * 64, b"\xff" * 9, b"{", b" " * 8])),
        _edits("replace", file, st.sampled_from(GARBAGE)),
        _edits("recode", file, st.sampled_from(["utf-16", "utf-8-sig", "utf-32", "cp037"])),
        _edits("end_lines", file, st.sampled_from([b"\r\n", b"\r", b"\n\n", b" "])),
        _edits("become_link", file, st.sampled_from(LINKS)),
        _edits("nest", file, st.sampled_from([2, 500, 20_000])),
        st.just(Edit("become_link_to_own", file)),
        st.just(Edit("become_folder", file)),
        st.just(Edit("remove", file)),
    )


def of_json(file: str, paths: list[tuple]) -> st.SearchStrategy[Edit]:
    """Values of other types, sizes and meanings at `paths`."""
    path = st.sampled_from(paths)
    return st.one_of(
        _edits("set_value", file, path, ODD),
        _edits("set_value", file, path, ODD),
        _edits("drop_value", file, path),
        _edits("nest_value", file, st.sampled_from([str(path[-1]) for path in paths]), st.sampled_from([3, 20_000])),
        of_any_file(file),
    )


_CONFIG = [
    "architectures",
    "attention_probs_dropout_prob",
    "auto_map",
    "bos_token_id",
    "classifier_dropout",
    "dtype",
    "eos_token_id",
    "hidden_act",
    "hidden_dropout_prob",
    "hidden_size",
    "id2label",
    "initial_head",
    "initializer_range",
    "intermediate_size",
    "is_decoder",
    "label2id",
    "layer_norm_eps",
    "max_position_embeddings",
    "model_type",
    "num_labels",
    "num_attention_heads",
    "num_hidden_layers",
    "output_hidden_states",
    "pad_token_id",
    "position_embedding_type",
    "problem_type",
    "quantization_config",
    "return_dict",
    "torch_dtype",
    "tie_word_embeddings",
    "transformers_version",
    "type_vocab_size",
    "use_cache",
    "vocab_size",
    "task_hash",
    "max_tokens",
    "_name_or_path",
    "text_config",
    "attn_implementation",
    "add_cross_attention",
    "chunk_size_feed_forward",
    "pruned_heads",
    "use_return_dict",
]
CONFIG_PATHS = [
    *((key,) for key in _CONFIG),
    *((key, label) for key in ("id2label",) for label in ("0", "1", "2", "3", "x", "00")),
    *(("label2id", label) for label in ("alarm", "music", "x")),
]
_ROTATED = {"0": "music", "1": "weather", "2": "alarm"}


def of_config(model: str) -> st.SearchStrategy[Edit]:
    file = f"{model}/config.json"
    likely = [
        ("num_hidden_layers", 1),
        ("num_hidden_layers", 3),
        ("num_attention_heads", 4),
        ("hidden_act", "relu"),
        ("model_type", "bert"),
        ("model_type", "roberta"),
        ("model_type", "gpt2"),
        ("model_type", "mystery"),
        ("id2label", _ROTATED),
        ("id2label", {"0": "alarm", "1": "music", "2": "music"}),
        ("dtype", "float16"),
        ("id2label", {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}),
        ("problem_type", "regression"),
        ("id2label", {"2": "weather", "0": "alarm", "1": "music"}),
        ("is_decoder", True),
        ("pad_token_id", 0),
        ("label2id", {"alarm": 2, "music": 1, "weather": 0}),
        ("max_position_embeddings", 12),
        ("type_vocab_size", 2),
        ("auto_map", {"AutoConfig": "evil.Evil", "AutoModelForSequenceClassification": "evil.Evil"}),
        ("quantization_config", {"quant_method": "bitsandbytes", "load_in_8bit": True}),
        ("use_return_dict", False),
        ("architectures", ["XLMRobertaForMaskedLM"]),
        ("architectures", ["GPT2Model"]),
        ("return_dict", False),
        ("position_embedding_type", "relative_key"),
        ("pruned_heads", {"0": [0]}),
        ("chunk_size_feed_forward", 1),
    ]
    return st.one_of(
        st.sampled_from([Edit("set_value", file, ((key,), value)) for key, value in likely]),
        of_json(file, CONFIG_PATHS),
    )


def of_weights(model: str) -> st.SearchStrategy[Edit]:
    file, tensor = f"{model}/model.safetensors", st.integers(0, 45)
    return st.one_of(
        _edits("change_tensor", file, tensor, st.sampled_from(CHANGES)),
        _edits("change_tensor", file, tensor, st.sampled_from(CHANGES)),
        _edits("set_header", file, tensor, st.sampled_from(["dtype", "shape", "data_offsets"]), ODD),
        _edits(
            "set_header", file, tensor, st.just("dtype"), st.sampled_from(["F16", "F8_E4M3", "U8", "BOOL", "F4", "f32"])
        ),
        _edits(
            "set_header",
            file,
            tensor,
            st.just("shape"),
            st.sampled_from([[2.0, 3.0], [-1], [2**62, 4], [8, 8], [True]]),
        ),
        _edits(
            "set_header",
            file,
            tensor,
            st.just("data_offsets"),
            st.sampled_from([[0, 4], [4, 0], [0, 10**9], [0.0, 4.0], [0]]),
        ),
        _edits("add_header", file, st.sampled_from(["__metadata__", "x", "../x", ""]), ODD),
        _edits("set_header_length", file, st.sampled_from([0, 1, 2**20, 2**40, 2**64 - 1])),
        of_any_file(file),
        st.just(Edit("create", f"{model}/pytorch_model.bin", (b"\x80\x04.",))),
        st.just(
            Edit("create", f"{model}/model.safetensors.index.json", (b'{"weight_map": {"a": "../../notes.txt"}}',))
        ),
        st.just(Edit("create", f"{model}/adapter_config.json", (b"{}",))),
    )


_TOKENIZER = [
    ("model",),
    ("model", "type"),
    ("model", "vocab"),
    ("model", "unk_token"),
    ("model", "vocab", "w1"),
    ("model", "vocab", "new"),
    ("model", "vocab", "<s>"),
    ("model", "vocab", "<pad>"),
    ("model", "vocab", "<unk>"),
    ("added_tokens",),
    ("added_tokens", 0),
    ("added_tokens", 0, "id"),
    ("added_tokens", 0, "content"),
    ("normalizer",),
    ("pre_tokenizer",),
    ("post_processor",),
    ("decoder",),
    ("truncation",),
    ("padding",),
    ("version",),
    ("post_processor", "single"),
    ("post_processor", "special_tokens"),
    ("post_processor", "special_tokens", "<s>", "ids"),
]
_TOKENIZER_CONFIG = [
    (key,)
    for key in (
        "tokenizer_class",
        "model_max_length",
        "pad_token",
        "cls_token",
        "unk_token",
        "padding_side",
        "truncation_side",
        "add_prefix_space",
        "do_lower_case",
        "auto_map",
        "backend",
        "extra_special_tokens",
        "clean_up_tokenization_spaces",
        "model_input_names",
        "added_tokens_decoder",
        "chat_template",
        "is_local",
    )
]


def of_tokenizer(model: str) -> st.SearchStrategy[Edit]:
    file, settings = f"{model}/tokenizer.json", f"{model}/tokenizer_config.json"
    rules = [
        (("normalizer",), {"type": "Lowercase"}),
        (("normalizer",), {"type": "Replace", "pattern": {"String": "w"}, "content": "v"}),
        (("post_processor",), None),
        (("pre_tokenizer",), {"type": "Whitespace"}),
        (("pre_tokenizer",), {"type": "ByteLevel"}),
        (("model", "vocab", "w1"), 44),
        (("model", "vocab", "w40"), 44),
        (("model", "vocab", "w1"), 5),
        (("truncation",), {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}),
        (
            ("padding",),
            {
                "strategy": {"Fixed": 15},
                "direction": "Left",
                "pad_to_multiple_of": None,
                "pad_id": 1,
                "pad_type_id": 0,
                "pad_token": "<pad>",
            },
        ),
    ]
    classes = (
        "BertTokenizer",
        "XLMRobertaTokenizerFast",
        "GPT2TokenizerFast",
        "Evil",
        "TokenizersBackend",
        "ByT5Tokenizer",
    )
    return st.one_of(
        st.sampled_from([Edit("set_value", file, rule) for rule in rules]),
        of_json(file, _TOKENIZER),
        of_json(settings, _TOKENIZER_CONFIG),
        st.sampled_from([Edit("set_value", settings, (("tokenizer_class",), name)) for name in classes]),
        st.just(Edit("create", f"{model}/vocab.txt", (b"<s>\n<pad>\n</s>\n<unk>\n",))),
        st.just(Edit("create", f"{model}/added_tokens.json", (b'{"extra": 44}',))),
        st.just(Edit("create", f"{model}/special_tokens_map.json", (b'{"pad_token": "w1"}',))),
    )


def of_model(model: str) -> st.SearchStrategy[Edit]:
    return st.one_of(
        of_config(model),
        of_weights(model),
        of_tokenizer(model),
        st.just(Edit("remove", model)),
        _edits("become_link", model, st.sampled_from([*LINKS, "tiny_tiny_k_af-ZA"])),
    )


_CELLS = ("id", "partition", "utt", "topic", "locale", "split", "language", "label", "text", "")
_VALUES = st.one_of(
    ODD,
    st.sampled_from(
        ["train", "dev", "validation", "tets", "Test", " test", "Alarm", "de-DE", "alarm ", "test1", "w1 w2"]
    ),
)


def of_data(language: str) -> st.SearchStrategy[Edit]:
    file = f"data/{language}.jsonl"
    # Lines 18 to 35 are the test items.
    line = st.integers(0, 35)
    lines = st.one_of(
        st.tuples(st.integers(18, 35)), st.just(tuple(range(18, 36))), st.just(tuple(range(36))), st.tuples(line, line)
    )
    cell = st.sampled_from(_CELLS)
    inserted = (
        "",
        "   ",
        "{}",
        "[]",
        "null",
        "1",
        "{",
        '{"id": "a"}',
        '{"id": "test0", "partition": "test", "utt": "w1", "topic": "alarm", "locale": "af-ZA"}',
        '{"id": "n", "partition": "test", "utt": "\\ud800", "topic": "alarm"}',
        '{"partition": "test", "partition": "train", "id": "z", "utt": "w2", "topic": "alarm"}',
        '{"id": 1e999, "partition": "test", "utt": "w1", "topic": "alarm"}',
        '{"id": NaN, "partition": "test", "utt": "w1", "topic": "alarm"}',
        "\ufeff{}",
        "\ud800",
    )
    return st.one_of(
        _edits("set_cell", file, lines, cell, _VALUES),
        _edits("set_cell", file, lines, cell, _VALUES),
        _edits("drop_cell", file, lines, cell),
        _edits("copy_line", file, line, line, st.sampled_from([1, 2, 50])),
        _edits("insert_line", file, line, st.sampled_from(inserted)),
        _edits("drop_lines", file, st.sampled_from([0, 18, 20]), st.sampled_from([17, 18, 35, 36])),
        of_any_file(file),
        st.sampled_from(
            [
                Edit("create", f"data/{language}.{end}", (content,))
                for end in ("csv", "parquet", "tsv")
                for content in (b"", b"PAR1", b"id,partition,utt,topic\n")
            ]
        ),
        st.sampled_from([Edit("create", f"data/test{end}", (b"x\n",)) for end in (".csv", "", ".jsonl")]),
    )


_TASK_TEXTS = (
    "name: tiny",
    "data: data",
    "text: utt",
    "label: topic",
    "labels: [alarm, music, weather]",
    "max_tokens: 12",
    "languages: [af-ZA, nl-NL, de-DE, en-US]",
)
YAML = (
    "",
    "[]",
    "null",
    "no",
    "{}",
    "~",
    "data",
    ".",
    "..",
    "/",
    "../../etc",
    "utt",
    "[utt, utt]",
    "[utt, nothing]",
    "topic",
    "[alarm]",
    "[alarm, alarm]",
    "[alarm, music]",
    "[weather, music, alarm]",
    "[alarm, music, weather, more]",
    "[1, 2, 3]",
    "tiny/../x",
    "LOLO",
    "=x",
    "0",
    "-1",
    "1.5",
    "3",
    "1000000000000",
    "٣",
    "&a [*a]",
    "!!python/object/apply:os.system [ls]",
    "!!binary aGk=",
    "'\x00'",
    "{a: b}",
    "[[a]]",
    "[nl-NL, af-ZA]",
    "{af-ZA: afr}",
    "{af-ZA: zzzz}",
    "[../x]",
    "|\n  a\n  b",
    "a/b",
    "'a\nb'",
    "nobody/nothing",
)


def of_task() -> st.SearchStrategy[Edit]:
    file = "task.yaml"
    keys = st.sampled_from(_TASK_TEXTS)
    value = st.sampled_from(YAML)

    def valued(drawn: tuple[str, str]) -> Edit:
        line, text = drawn
        return Edit("substitute", file, (line.encode(), f"{line.split(':')[0]}: {text}".encode(), 1))

    more = (
        "metric: f1",
        "metric: macro_f1",
        "splits: {test: train}",
        "splits: {test: [a]}",
        "splits: []",
        "splits: {tets: test}",
        "surplus: 1",
        "name: again",
        "? [a]\n: b",
        "language_column: topic",
        "<<: *x",
        "- a",
        "\t",
        "---\nname: b",
    )
    return st.one_of(
        st.tuples(keys, value).map(valued),
        st.tuples(keys, value).map(valued),
        keys.map(lambda line: Edit("substitute", file, (f"{line}\n".encode(), b"", 1))),
        st.sampled_from(more).map(
            lambda line: Edit("substitute", file, (b"text: utt\n", f"text: utt\n{line}\n".encode(), 1))
        ),
        of_any_file(file),
    )


def of_matrix(file: str = worlds.MATRIX) -> st.SearchStrategy[Edit]:
    place = st.integers(0, 4)
    values = (
        "",
        "nan",
        "inf",
        "-inf",
        "-0.5",
        "0",
        "1",
        "1.5",
        "0,5",
        "x",
        "1e400",
        "1_0",
        "0x1",
        " 0.5 ",
        '"',
        '"0.5"',
        "af-ZA",
        "nl-NL",
        "=1+1",
        "xx-XX",
        "a\x00",
        "\ud7ff",
        "١",
        "True",
    )
    return st.one_of(
        _edits("set_csv", file, place, place, st.sampled_from(values)),
        _edits("set_csv", file, place, place, st.sampled_from(values)),
        _edits("drop_csv", file, place, place),
        _edits("drop_csv", file, place, st.just(-1)),
        _edits("drop_csv", file, st.just(-1), place),
        _edits("copy_line", file, place, place, st.just(1)),
        _edits("insert_line", file, place, st.sampled_from(["", ",", "xx-XX,0,0,0,0", "af-ZA,1,1,1,1", '"'])),
        of_any_file(file),
    )


_RESULT = [
    ("evaluation_info",),
    *(
        ("evaluation_info", key)
        for key in (
            "timestamp",
            "model_name",
            "locale",
            "massive_locale",
            "dataset",
            "task",
            "task_origin",
            "task_hash",
            "source",
            "languages",
            "split",
        )
    ),
    ("model_info",),
    ("model_info", "num_labels"),
    ("model_info", "id2label"),
    ("dataset_info",),
    ("dataset_info", "total_examples"),
    ("dataset_info", "intent_labels"),
    ("performance",),
    *(
        ("performance", key)
        for key in (
            "accuracy",
            "macro_f1",
            "metric",
            "correct_predictions",
            "total_predictions",
            "error_rate",
            "ci95",
            "ci_method",
        )
    ),
    ("examples",),
    ("experiment",),
    *(
        ("experiment", key)
        for key in (
            "mode",
            "method",
            "target",
            "num_sources",
            "seed",
            "sources",
            "similarity",
            "base_model",
            "dtype",
            "hyperparameters",
            "base",
            "measuring",
            "adapted",
            "texts",
            "task",
        )
    ),
    ("experiment", "sources", 0),
    ("experiment", "sources", 0, "locale"),
    ("experiment", "sources", 0, "weight"),
    ("experiment", "sources", 0, "path"),
    ("experiment", "similarity", "selection"),
    ("experiment", "similarity", "matrix"),
    ("settings",),
    *(("settings", key) for key in ("data", "precision", "locale", "split", "hash", "model", "labels")),
    ("job",),
    ("environment",),
    ("environment", "torch"),
    ("environment", "git_commit"),
]


def of_result(folder: str) -> st.SearchStrategy[Edit]:
    file, arrays = f"{folder}/results.json", f"{folder}/predictions.npz"
    paths = st.sampled_from(_RESULT)
    array = st.sampled_from(["ids", "labels", "predictions", "intents", "logits"])
    return st.one_of(
        _edits("set_value", file, paths, ODD),
        _edits("set_value", file, paths, ODD),
        _edits(
            "set_value",
            file,
            st.sampled_from([("performance", "accuracy"), ("evaluation_info", "timestamp")]),
            st.sampled_from([10**400, -(10**400), 10**5000 % 10**4200, [], {}, "10", True]),
        ),
        _edits(
            "set_value",
            file,
            st.sampled_from(
                [
                    ("performance", "correct_predictions"),
                    ("performance", "total_predictions"),
                    ("dataset_info", "total_examples"),
                ]
            ),
            st.integers(-1, 20),
        ),
        _edits("drop_value", file, paths),
        _edits(
            "nest_value", file, st.sampled_from(["performance", "examples", "x"]), st.sampled_from([3, 900, 20_000])
        ),
        _edits("change_array", arrays, array, st.sampled_from(ARRAY_CHANGES)),
        _edits("change_array", arrays, array, st.sampled_from(ARRAY_CHANGES)),
        of_any_file(file),
        of_any_file(arrays),
    )
