"""Reading MASSIVE in each of its forms."""

import json

import pytest
from auto_merge_llm.errors import InputError

from merginguriel.utils.data import massive, mini
from merginguriel.utils.data.massive import MINI_TASK
from merginguriel.utils.data.split import SPLITS
from merginguriel.utils.data.task_file import TaskSettings, task_of


def massive_in(data):
    return task_of(TaskSettings(dataset_name=str(data)))


@pytest.fixture
def folder(tmp_path):
    """The mini corpus as MASSIVE's own files: <locale>.jsonl."""
    for locale in ("af-ZA", "nl-NL"):
        lines = [json.dumps(row, ensure_ascii=False) for row in mini.records(locale)]
        (tmp_path / f"{locale}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def test_labels_are_the_hubs_sixty_in_their_order():
    assert len(massive.INTENTS) == len(set(massive.INTENTS)) == 60
    assert massive.INTENTS[0] == "datetime_query" and massive.INTENTS[59] == "lists_query"
    assert massive.INTENTS[13] == "weather_query" and massive.LABEL_OF["alarm_set"] == 48


@pytest.mark.parametrize("split", ["train", "validation", "dev", "test"])
def test_folder_of_jsonl_equals_the_embedded_corpus(folder, split):
    read = massive_in(folder).load("af-ZA", split)
    rows = [row for row in mini.records("af-ZA") if row["partition"] == SPLITS[split]]
    assert read.texts == [row["utt"] for row in rows]
    assert [massive.INTENTS[label] for label in read.labels] == [row["intent"] for row in rows]
    assert read.fingerprint() == MINI_TASK.load("af-ZA", split).fingerprint()


def test_lines_of_other_splits(folder):
    """Are passed over, but for what is cut short; a text may name a split, and ids are counted over all lines."""
    lines = [
        '{"partition": "train", "utt": "say \\"test\\"", "intent": "alarm_set"}',
        '{"partition": "test", "utt": "a", "intent": "alarm_set"}',
        '{"partition": "train", "utt": "b", "int',
    ]
    (folder / "af-ZA.jsonl").write_text("\n".join(lines[:2]) + "\n")
    read = massive_in(folder).load("af-ZA", "test")
    assert (read.ids, read.texts) == (["1"], ["a"])
    (folder / "af-ZA.jsonl").write_text("\n".join(lines))
    with pytest.raises(InputError, match="line 3 of .* damaged"):
        massive_in(folder).load("af-ZA", "test")


def test_folder_of_parquet_with_integer_labels_as_on_the_hub(tmp_path):
    from datasets import ClassLabel, Dataset, Features, Value

    rows = [row for row in mini.records("nl-NL") if row["partition"] == "dev"]
    features = Features(
        id=Value("string"),
        partition=Value("string"),
        utt=Value("string"),
        intent=ClassLabel(names=list(massive.INTENTS)),
    )
    table = Dataset.from_list(
        [
            {"id": row["id"], "partition": "dev", "utt": row["utt"], "intent": massive.LABEL_OF[row["intent"]]}
            for row in rows
        ],
        features=features,
    )
    (tmp_path / "data/nl-NL/validation").mkdir(parents=True)
    table.to_parquet(tmp_path / "data/nl-NL/validation/0000.parquet")
    read = massive_in(tmp_path / "data").load("nl-NL", "validation")
    assert read.fingerprint() == MINI_TASK.load("nl-NL", "validation").fingerprint()


@pytest.mark.parametrize(
    "name, locale, split, message",
    [
        ("mini", "af-ZA", "tset", "unknown split"),
        ("mini", "th-TH", "test", "mini corpus"),
        ("mini", "af-ZZ", "test", "af-ZA"),
        ("./absent", "af-ZA", "test", "no dataset folder"),
    ],
)
def test_wrong_names(name, locale, split, message):
    with pytest.raises(InputError, match=message):
        massive_in(name).load(locale, split)


def test_folder_without_the_locale_says_what_it_has(folder):
    with pytest.raises(InputError, match="it has af-ZA, nl-NL"):
        massive_in(folder).load("de-DE", "test")


@pytest.mark.parametrize(
    "line, message",
    [
        ('{"id": "1", "utt"', "line 577 of .* is not JSON"),
        ('{"id": "1", "partition": "test", "intent": "alarm_set"}', "row 577: it has no 'utt'"),
        ('{"id": "1", "partition": "test", "utt": "x", "intent": "alarm"}', "row 577: label 'alarm' is none of the 60"),
        ('["id"]', "line 577"),
        ('{"id": "1", "utt": "x", "intent": "alarm_set"}', "line 577 of .* no partition"),
        ('{"id": "1", "partition": "test", "utt": null, "intent": "alarm_set"}', "no text"),
    ],
)
def test_damaged_lines(folder, line, message):
    with open(folder / "af-ZA.jsonl", "a", encoding="utf-8") as out:
        out.write(line + "\n")
    with pytest.raises(InputError, match=message):
        massive_in(folder).load("af-ZA", "test")
