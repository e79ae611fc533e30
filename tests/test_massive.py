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
        ('{"id": null, "partition": "test", "utt": "x", "intent": "alarm_set"}', "row 577: id is None; give every"),
        ('{"id": " ", "partition": "test", "utt": "x", "intent": "alarm_set"}', "row 577: id is ' '; give"),
        ('{"partition": "test", "utt": "x", "intent": "alarm_set"}', "row 577: it has no 'id'"),
        ('{"id": "x", "partition": null, "utt": "x", "intent": "alarm_set"}', "line 577 .* says partition None"),
        ('{"id": "x", "partition": "tset", "utt": "x", "intent": "alarm_set"}', "partition 'tset'; did you mean test"),
        (
            '{"id": "x", "locale": "nl-NL", "partition": "test", "utt": "x", "intent": "alarm_set"}',
            "line 577 .* says locale 'nl-NL', which its file does not",
        ),
    ],
)
def test_damaged_lines(folder, line, message):
    with open(folder / "af-ZA.jsonl", "a", encoding="utf-8") as out:
        out.write(line + "\n")
    with pytest.raises(InputError, match=message):
        massive_in(folder).load("af-ZA", "test")


def test_rows_that_stand_twice(folder):
    """Intervals and tests would take them for items of their own."""
    lines = (folder / "af-ZA.jsonl").read_text(encoding="utf-8")
    (folder / "af-ZA.jsonl").write_text(lines * 2, encoding="utf-8")
    with pytest.raises(InputError, match="the test items of af-ZA in .*: id \\d+ stands 2 times"):
        massive_in(folder).load("af-ZA", "test")
    test = [line for line in lines.splitlines(keepends=True) if '"partition": "test"' in line]
    (folder / "af-ZA.jsonl").write_text("".join([lines, test[7] * 49]), encoding="utf-8")
    with pytest.raises(InputError, match="stands 50 times"):
        massive_in(folder).load("af-ZA", "test")
    massive_in(folder).load("af-ZA", "train")


def test_texts_that_stand_often_under_ids_of_their_own(folder, caplog):
    rows = [row for row in mini.records("af-ZA") if row["partition"] == "test"]
    copies = [{**rows[7], "id": f"copy{number}"} for number in range(50)]
    (folder / "af-ZA.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, *copies]))
    assert len(massive_in(folder).load("af-ZA", "test")) == len(rows) + 50
    assert f"50 of {len(rows) + 50} texts stand there before" in caplog.text
    caplog.clear()
    massive_in(folder).load("nl-NL", "test")
    assert not caplog.text


@pytest.mark.parametrize(
    "said, is_other",
    [
        ("af", False),
        ("afr", False),
        ("Afrikaans", False),
        ("af_za", False),
        ("nl", True),
        ("af-NA", True),
        ("x", False),
    ],
)
def test_what_else_a_file_may_call_its_language(folder, said, is_other):
    """Its name without place, in another spelling, or in words."""
    rows = [json.dumps({**row, "locale": said}) for row in mini.records("af-ZA")]
    (folder / "af-ZA.jsonl").write_text("\n".join(rows))
    if is_other:
        with pytest.raises(InputError, match=f"says locale '{said}'"):
            massive_in(folder).load("af-ZA", "test")
    else:
        assert len(massive_in(folder).load("af-ZA", "test")) == 144
