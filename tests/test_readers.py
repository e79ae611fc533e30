"""One small corpus in every layout and format; what is damaged, missing or nearly right is told in one line."""

import contextlib
import csv
import json
import shutil
import zipfile
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.readers import hub, languages_in, read_rows

NAMES = {"train": {"train"}, "dev": {"dev", "validation", "valid", "val"}, "test": {"test"}}
LABELS = ["sport", "news"]
TEXTS = [
    "plain",
    'says "hi", loudly',
    '"quoted" first',
    "two\nlines",
    'key "partition": "test"',
    "żółć\u2028ሰላም 𐍈",
    "'",
]
LANGUAGES = ("nl-NL", "quy_Latn", "sw")
SPLITS = ("train", "test", "dev")


def corpus():
    """Every language has 2 or 3 rows of each split, and its splits lie mixed; texts try what formats stumble on."""
    rows = []
    for language in LANGUAGES:
        for number in range(8):
            rows.append(
                {
                    "id": f"{language}-{number}",
                    "language": language,
                    "split": SPLITS[number % 3],
                    "text": f"{TEXTS[number % len(TEXTS)]} {language}",
                    "label": LABELS[number % 2],
                }
            )
    return rows


ROWS = corpus()


def chosen(language=None, split=None, without=()):
    return [
        {column: value for column, value in row.items() if column not in without}
        for row in ROWS
        if language in (None, row["language"]) and split in (None, row["split"])
    ]


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_escaped_jsonl(path, rows):
    path.write_text("\ufeff" + "\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n\n", "utf-8")


def write_delimited(delimiter, encoding="utf-8-sig"):
    def write(path, rows):
        with path.open("w", encoding=encoding, newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)

    return write


def table(rows):
    """With numbers for labels, whose names the schema has as the library datasets writes them."""
    numbered = [{**row, "label": LABELS.index(row["label"])} for row in rows]
    record = {"info": {"features": {"label": {"names": LABELS, "_type": "ClassLabel"}, "id": {"_type": "Value"}}}}
    made = pa.Table.from_pylist(numbered)
    return made.replace_schema_metadata({"huggingface": json.dumps(record)})


def write_parquet(path, rows):
    pq.write_table(table(rows), path, row_group_size=3)


FORMATS = [
    pytest.param(".jsonl", write_jsonl, id="jsonl"),
    pytest.param(".jsonl", write_escaped_jsonl, id="jsonl-escaped"),
    pytest.param(".csv", write_delimited(","), id="csv"),
    pytest.param(".tsv", write_delimited("\t", "utf-8"), id="tsv"),
    pytest.param(".parquet", write_parquet, id="parquet"),
]


def file_a_language(root, ending, write):
    for language in LANGUAGES:
        write(root / f"{language}{ending}", chosen(language, without=["language"]))


def folder_a_language(root, ending, write):
    for language in LANGUAGES:
        (root / language).mkdir(parents=True)
        for split in SPLITS:
            write(root / language / f"{split}{ending}", chosen(language, split, without=["language", "split"]))


def folder_a_split(root, ending, write):
    for split in SPLITS:
        (root / split).mkdir()
        for language in LANGUAGES:
            write(root / split / f"{language}{ending}", chosen(language, split, without=["language", "split"]))


def file_a_split(root, ending, write):
    for split in SPLITS:
        write(root / f"{split}{ending}", chosen(split=split, without=["split"]))


def massive_archive(root, ending, write):
    (root / "1.1/data").mkdir(parents=True)
    file_a_language(root / "1.1/data", ending, write)


def sib_repository(root, ending, write):
    folder_a_language(root / "data/annotated", ending, write)


LAYOUTS = [file_a_language, folder_a_language, folder_a_split, file_a_split, massive_archive, sib_repository]


def read(data, language, split, names=None, column=None):
    rows = [row for _, row in read_rows(str(data), language, split, names or NAMES[split], column).rows]
    return [{name: row[name] for name in ("id", "text", "label")} for row in rows]


def same_as_corpus(data, column=None):
    assert languages_in(str(data), column) == sorted(LANGUAGES)
    for language in LANGUAGES:
        for split in SPLITS:
            expected = chosen(language, split, without=["language", "split"])
            assert len(expected) in (2, 3) and read(data, language, split, column=column) == expected


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("ending, write", FORMATS)
def test_every_layout_in_every_format_has_the_same_rows(tmp_path, layout, ending, write):
    layout(tmp_path, ending, write)
    (tmp_path / "README.csv").write_text("a list of languages,by name\n")
    same_as_corpus(tmp_path)


@pytest.mark.parametrize("ending, write", FORMATS)
@pytest.mark.parametrize("column", ["lang", "locale", "tongue"])
def test_one_file_for_all(tmp_path, ending, write, column):
    write(tmp_path / f"all{ending}", [{column: row["language"], **row, "language": "x"} for row in ROWS])
    if column != "tongue":
        write(tmp_path / f"all{ending}", [{column: row["language"], **chosen_row(row)} for row in ROWS])
    same_as_corpus(tmp_path / f"all{ending}", column if column == "tongue" else None)


def chosen_row(row):
    return {name: value for name, value in row.items() if name != "language"}


def test_numbers_are_those_of_the_file(tmp_path):
    file_a_language(tmp_path, ".jsonl", write_jsonl)
    file_a_language(tmp_path, ".csv", write_delimited(","))
    for ending in (".jsonl", ".csv"):
        shutil.copy(tmp_path / f"sw{ending}", tmp_path / f"en{ending}")
        rows = read_rows(str(tmp_path), "en", "test", {"test"})
        assert [number for number, _ in rows.rows] == [1, 4, 7] and rows.where == str(tmp_path / f"en{ending}")
        (tmp_path / f"en{ending}").unlink()


def test_the_parquet_of_the_hub_in_pieces(tmp_path):
    """`<config>/<split>/0000.parquet`, and what push_to_hub writes; numbers go on from piece to piece."""
    for language in LANGUAGES:
        for split in SPLITS:
            name = {"dev": "validation"}.get(split, split)
            (tmp_path / "branch" / language / name).mkdir(parents=True)
            (tmp_path / "pushed" / language).mkdir(parents=True, exist_ok=True)
            rows = chosen(language, split)
            for number, piece in enumerate((rows[:1], rows[1:])):
                write_parquet(tmp_path / "branch" / language / name / f"{number:04}.parquet", piece)
                write_parquet(tmp_path / "pushed" / language / f"{name}-{number:05}-of-00002.parquet", piece)
    same_as_corpus(tmp_path / "branch")
    same_as_corpus(tmp_path / "pushed")
    assert [number for number, _ in read_rows(str(tmp_path / "branch"), "sw", "test", {"test"}).rows] == [0, 1, 2]
    (tmp_path / "pushed/sw/test-00000-of-00002.parquet").unlink()
    (tmp_path / "branch/sw/test/0000.parquet").unlink()
    for kind in ("branch", "pushed"):
        refused(tmp_path / kind, "sw", "test", match="pieces .* missing")


def saved(rows):
    from datasets import ClassLabel, Dataset

    return Dataset.from_list(rows).cast_column("label", ClassLabel(names=LABELS))


def test_folders_that_save_to_disk_wrote(tmp_path):
    from datasets import DatasetDict

    saved(ROWS).save_to_disk(tmp_path / "whole", num_shards=3)
    DatasetDict({split: saved(chosen(split=split)) for split in SPLITS}).save_to_disk(tmp_path / "splits")
    for language in LANGUAGES:
        saved(chosen(language)).save_to_disk(tmp_path / "languages" / language)
        of_language = DatasetDict({split: saved(chosen(language, split)) for split in SPLITS})
        of_language.save_to_disk(tmp_path / "both" / language)
    for name in ("whole", "splits", "languages", "both"):
        same_as_corpus(tmp_path / name)


def test_columns_that_say_split_and_language_may_be_class_labels(tmp_path):
    from datasets import ClassLabel

    rows = saved(ROWS).cast_column("split", ClassLabel(names=list(SPLITS)))
    rows.cast_column("language", ClassLabel(names=list(LANGUAGES))).save_to_disk(tmp_path / "whole")
    same_as_corpus(tmp_path / "whole")


def test_names_of_their_own(tmp_path):
    rows = [{**row, "split": {"train": "fold1", "test": "fold2", "dev": 3}[row["split"]]} for row in ROWS]
    write_jsonl(tmp_path / "all.jsonl", rows)
    for split, name in (("train", "fold1"), ("test", "fold2"), ("dev", "3")):
        expected = chosen("sw", split, without=["language", "split"])
        assert read(tmp_path / "all.jsonl", "sw", split, {name}) == expected
    folder_a_language(tmp_path / "data", ".csv", write_delimited(","))
    for language in LANGUAGES:
        for split in SPLITS:
            (tmp_path / "data" / language / f"{split}.csv").rename(tmp_path / "data" / language / f"my-{split}.csv")
    assert read(tmp_path / "data", "sw", "test", {"my-test"}) == chosen("sw", "test", ["language", "split"])
    assert languages_in(str(tmp_path / "data"), splits=["my-train"]) == sorted(LANGUAGES)


# ------------------------------------------------------------------------------------------ what is refused


def refused(data, language="sw", split="test", names=None, column=None, match="."):
    with pytest.raises(InputError, match=match) as error:
        read(data, language, split, names, column)
    assert "\n" not in str(error.value)


GOOD = '{"id": 1, "split": "test", "text": "a", "label": 3}\n'


@pytest.mark.parametrize(
    "line, match",
    [
        ('{"id": 1, "split": "test", "te', "line 2 of .* not JSON"),
        ('{"id": 1, "split": "train", "te', "line 2 of .* not JSON"),
        ('["id"]', "line 2 of .* not JSON"),
        ('{"a":' * 100000, "line 2 of .* not JSON"),
        ('{"id": ' + "9" * 5000 + "}", "line 2 of .* not JSON"),
        ('{"id": 1, "text": "a"}', "line 2 of .* has no split; .* would mix"),
        ('{"id": 1, "split": null, "text": "a"}', "line 2 of .* split None"),
        ('{"id": 1, "split": "", "text": "a"}', "line 2 of .* split ''"),
        ('{"id": 1, "split": ["test"], "text": "a"}', "line 2 of .* give every row one"),
        ('{"id": 1, "split": "tets", "text": "a"}', "line 2 of .* 'tets'; did you mean test"),
        ('{"id": 1, "split": "Test ", "text": "a"}', "line 2 of .*; did you mean test"),
        ('{"id": 1, "split": "test", "text": "\\ud800"}', "line 2 of .* lone surrogate"),
        ('{"id": 1, "split": "test", "text": "a\\u0000"}', "line 2 of .* NUL in text"),
        (b'{"id": 1, "split": "test", "text": "\xed\xa0\x80"}', "line 2 of .* not JSON in UTF-8"),
        (b'{"id": 1, "split": "test", "text": "\xff"}', "line 2 of .* not JSON in UTF-8"),
    ],
)
def test_damaged_jsonl(tmp_path, line, match):
    (tmp_path / "sw.jsonl").write_bytes(GOOD.encode() + (line if isinstance(line, bytes) else line.encode()) + b"\n")
    refused(tmp_path, match=match)


def test_lines_are_passed_over_only_if_they_are_surely_of_another_split(tmp_path):
    """The second train line is not parsed; the key may stand in a nested object too."""
    lines = ['{"split": "train"}', '{"split": "train", x}', '{"of": {"split": "train"}, "split": "test", "id": 7}']
    (tmp_path / "sw.jsonl").write_text("\n".join(lines))
    rows = list(read_rows(str(tmp_path), "sw", "test", {"test"}).rows)
    assert rows == [(2, {"of": {"split": "train"}, "split": "test", "id": 7})]


def test_numbers_and_names_are_passed_on(tmp_path):
    (tmp_path / "sw.jsonl").write_text(GOOD)
    assert read(tmp_path, "sw", "test") == [{"id": 1, "text": "a", "label": 3}]


@pytest.mark.parametrize(
    "ending, text, match",
    [
        ("csv", 'id,text\n1,"a\nb"\n2,a,b\n', "line 4 of .* has 3 cells, the first line 2"),
        ("csv", "id,text\n1\n", "line 2 of .* has 1 cells"),
        ("csv", 'id,text\n1,a\n2,"b\n3,c\n', "line 3 of .* unexpected end"),
        ("csv", 'id,text\n1,"a" b\n', "line 2 of .* a quote"),
        ("csv", "id,text\n1," + "a" * 200_000, "line 2 of .* field larger"),
        ("csv", b"id,text\n1,a\n2,\xff\n", "line 3 of .* not UTF-8"),
        ("csv", "id,text\n1,a\0\n", "line 2 of .* NUL"),
        ("csv", "id,id\n1,2\n", "two columns 'id'"),
        ("csv", "id;text\n1;a\n", "no comma in its first line but a semicolon"),
        ("tsv", "id,text\n1,a\n", "no tab in its first line but a comma"),
        ("tsv", 'id\ttext\n1\t"a\n2\tb"\n', "line 2 of .* tab inside of quotes"),
        ("csv", "", "is empty"),
        ("csv", "id,text\n", "no test rows"),
        ("jsonl", "", "is empty"),
        ("parquet", b"PAR1garbagePAR1", "cannot read .*test.parquet"),
        ("parquet", b"", "cannot read .*test.parquet"),
    ],
)
def test_damaged_tables(tmp_path, ending, text, match):
    (tmp_path / "sw").mkdir()
    (tmp_path / f"sw/test.{ending}").write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(tmp_path, match=match)


def test_parquet_and_arrow_with_flipped_bytes_end_in_a_line(tmp_path):
    """Or, where no byte of meaning was hit, in rows; what is cut off is always refused."""
    (tmp_path / "parquet").mkdir()
    write_parquet(tmp_path / "parquet/0000.parquet", ROWS)
    saved(ROWS).save_to_disk(tmp_path / "arrow")
    for file in (tmp_path / "parquet/0000.parquet", *(tmp_path / "arrow").glob("*.arrow")):
        whole, messages = file.read_bytes(), []
        for start in range(0, len(whole), len(whole) // 60):
            end = start + 16
            file.write_bytes(whole[:start] + bytes(255 - byte for byte in whole[start:end]) + whole[end:])
            with contextlib.suppress(InputError):
                list(read_rows(str(file.parent), "sw", "test", {"test"}).rows)
                messages.append("read")
            file.write_bytes(whole[: start or 1])
            refused(file.parent)
        assert len(messages) < 50


def test_parquet_without_a_value_of_split(tmp_path):
    pq.write_table(pa.table({"split": ["test", None], "text": ["a", "b"]}), tmp_path / "sw.parquet")
    refused(tmp_path, match="split None")
    pq.write_table(pa.table({"split": pa.nulls(2), "text": ["a", "b"]}), tmp_path / "sw.parquet")
    refused(tmp_path, match="split None")
    pq.write_table(pa.table({"split": [["test"]], "text": ["a"]}), tmp_path / "sw.parquet")
    refused(tmp_path, match="cannot read")
    record = json.dumps({"info": {"features": [1]}})
    pq.write_table(
        pa.table({"split": ["test"]}).replace_schema_metadata({"huggingface": record}), tmp_path / "sw.parquet"
    )
    refused(tmp_path, match="names of labels")


def test_without_a_column_of_splits_train_and_test_would_mix(tmp_path):
    for ending, write in (".jsonl", write_jsonl), (".csv", write_delimited(",")), (".parquet", write_parquet):
        write(tmp_path / f"sw{ending}", chosen("sw", without=["split"]))
        refused(tmp_path, match=f"sw{ending} has no partition or split .* would mix")
        (tmp_path / f"sw{ending}").unlink()


def test_a_file_whose_rows_say_another_split_or_language(tmp_path):
    folder_a_language(tmp_path, ".csv", write_delimited(","))
    write_delimited(",")(tmp_path / "sw/test.csv", chosen("sw"))
    refused(tmp_path, match="line 2 of .*test.csv says split 'train'")
    write_delimited(",")(tmp_path / "sw/test.csv", chosen("nl-NL", "test"))
    refused(tmp_path, match="line 2 of .*test.csv says language 'nl-NL'")
    refused(tmp_path, column="language", match="line 2 of .*test.csv says language 'nl-NL'")
    write_delimited(",")(tmp_path / "sw/dev.csv", [{**row, "split": "validation"} for row in chosen("sw", "dev")])
    assert read(tmp_path, "sw", "dev", {"dev"}) == chosen("sw", "dev", ["language", "split"])


def test_a_language_in_two_spellings_loses_no_row(tmp_path):
    for ending, write in ((".jsonl", write_jsonl), (".csv", write_delimited(",")), (".parquet", write_parquet)):
        rows = [*chosen("sw"), *({**row, "language": "SW", "id": f"{row['id']}x"} for row in chosen("sw"))]
        write(tmp_path / f"all{ending}", rows)
        refused(tmp_path / f"all{ending}", match="says language 'SW' beside 'sw'; write them alike")


def test_what_a_column_says_instead(tmp_path):
    write_jsonl(tmp_path / "all.jsonl", ROWS[8:])
    refused(tmp_path / "all.jsonl", "nl-NL", match="no nl-NL in .*: its column language has quy_Latn, sw$")
    refused(
        tmp_path / "all.jsonl", "sw", "dev", {"eval"}, match="no eval in .*: its column split has dev, test, train$"
    )
    refused(tmp_path / "all.jsonl", "quy-latn", match="; did you mean quy_Latn")
    refused(tmp_path / "all.jsonl", column="tongue", match="no column tongue .* it has id, language")
    write_jsonl(tmp_path / "sw.jsonl", chosen("sw", without=["language"]))
    refused(tmp_path / "sw.jsonl", match="no column language or lang or locale .* folder with a file a language")
    with pytest.raises(InputError, match="no column language"):
        languages_in(str(tmp_path / "sw.jsonl"))


def test_near_misses(tmp_path):
    folder_a_language(tmp_path / "a", ".tsv", write_delimited("\t"))
    refused(tmp_path / "a", "nl_nl", match="found nl-NL/; did you mean nl-NL")
    refused(tmp_path / "a", "nl", match="did you mean nl-NL")
    refused(tmp_path / "a", "hau", match="no hau in .* it has nl-NL, quy_Latn, sw")
    refused(tmp_path, "sw", match=f"but in {tmp_path / 'a'}; did you mean")
    refused(tmp_path / "a/nl-NL", "sw", match=f"no column .* but sw is in {tmp_path / 'a'}; did you mean")
    (tmp_path / "a/sw/train.tsv").rename(tmp_path / "a/sw/training.tsv")
    refused(tmp_path / "a", "sw", "train", match="no train of sw in .* it has dev, test, training")
    refused(tmp_path / "aa", match="no dataset folder")
    refused(tmp_path / "A", match="no dataset folder .*; did you mean")
    for data in ("owner/data.csv", "~nobody-of-this-name/data", "a/b/c", "a\0b"):
        refused(data, match="no dataset folder")
    refused(tmp_path / ("a" * 300), match="cannot read .* too long")

    file_a_language(tmp_path / "a", ".jsonl", write_jsonl)
    refused(tmp_path / "a", "nl_NL", match="found nl-NL.jsonl; did you mean nl-NL")


def test_other_endings_and_archives(tmp_path):
    for name in ("sw.JSONL", "sw.json", "sw.jsonl.gz"):
        (tmp_path / name).write_text(GOOD)
        refused(tmp_path, match="packed; unpack" if name.endswith("gz") else f"{name} has an ending that is not known")
        (tmp_path / name).unlink()
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("sw.jsonl", GOOD)
    refused(tmp_path, match="data.zip is packed; unpack it")
    refused(tmp_path / "data.zip", match="data.zip is packed; unpack it")
    (tmp_path / "sw.jsonl").write_text(GOOD)
    write_delimited(",")(tmp_path / "sw.csv", chosen("sw"))
    refused(tmp_path, match="there are both .*sw.jsonl and .*sw.csv")


@pytest.mark.parametrize("name", ["../sw", "/etc", "", ".", "a\nb", "a\0b", "..", "a\\b"])
def test_names_that_are_no_file_names(tmp_path, name):
    refused(tmp_path, name, match="is no name of a language")
    refused(tmp_path, "sw", "test", {name}, match="is no name of a language")


# ------------------------------------------------------------------------------------------ the Hub


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """cache(files) puts a snapshot of owner/data into an empty cache of the Hub, which cannot be reached."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    hub._listed.cache_clear()
    folder = tmp_path / "hub/datasets--owner--data"

    def put(*places, commit="0123abcd", rows=ROWS):
        for place in places:
            blob = folder / "blobs" / f"{commit}{place}".replace("/", "-")
            blob.parent.mkdir(parents=True, exist_ok=True)
            write_parquet(blob, rows)
            file = folder / "snapshots" / commit / place
            file.parent.mkdir(parents=True, exist_ok=True)
            file.symlink_to(blob)
        return folder

    yield put
    hub._listed.cache_clear()


def test_offline_the_cache_is_read(cache):
    expected = chosen("sw", "test", ["language", "split"])
    cache("sw/test/0000.parquet", rows=chosen("sw", "test"))
    rows = read_rows("owner/data", "sw", "test", {"test"})
    assert rows.where == "owner/data in the Hub's cache (sw/test)" and len(list(rows.rows)) == 3
    assert read("owner/data", "sw", "test") == expected
    refused(
        "owner/data",
        "nl-NL",
        match="cannot read test of nl-NL from owner/data: HF_HUB_OFFLINE is set; the Hub's cache does not",
    )
    refused("owner/other", match="the Hub's cache does not have it either")


def test_offline_a_config_with_a_column_of_languages(cache):
    cache("default/test/0000.parquet", rows=chosen(split="test"))
    cache("default/validation/0000.parquet", rows=chosen(split="dev"))
    assert read("owner/data", "quy_Latn", "test") == chosen("quy_Latn", "test", ["language", "split"])
    assert read("owner/data", "quy_Latn", "dev") == chosen("quy_Latn", "dev", ["language", "split"])
    refused("owner/data", "hau", match="the Hub's cache does not have it either")


def test_offline_the_snapshot_of_the_branch_comes_first(cache):
    older, newer = chosen("sw", "test"), chosen("sw", "test")[:1]
    cache("sw/test/0000.parquet", rows=older, commit="aaaa")
    folder = cache("sw/test/0000.parquet", rows=newer, commit="bbbb")
    branch = folder / "refs/refs/convert/parquet"
    branch.parent.mkdir(parents=True)
    for commit, rows in (("aaaa", older), ("bbbb", newer)):
        branch.write_text(commit)
        assert [row["text"] for row in read("owner/data", "sw", "test")] == [row["text"] for row in rows]
    for blob in (folder / "blobs").glob("bbbb*"):
        blob.unlink()
    assert read("owner/data", "sw", "test") == chosen("sw", "test", ["language", "split"])


def test_online_only_what_is_asked_for_is_downloaded(cache, monkeypatch):
    branch = [f"{language}/{split}/0000.parquet" for language in LANGUAGES for split in ("train", "validation")]
    asked = []

    class Api:
        def dataset_info(self, name, revision):
            asked.append((name, revision))
            return SimpleNamespace(siblings=[SimpleNamespace(rfilename=file) for file in branch])

    def download(name, file, **where):
        asked.append((file, where))
        language, split, _ = file.split("/")
        return str(cache(file, rows=chosen(language, {"validation": "dev"}[split])) / "snapshots/0123abcd" / file)

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert read("owner/data", "sw", "dev") == chosen("sw", "dev", ["language", "split"])
    where = {"repo_type": "dataset", "revision": "refs/convert/parquet"}
    assert asked == [("owner/data", where["revision"]), ("sw/validation/0000.parquet", where)]
    refused("owner/data", "sw", "test", match="no test of sw in owner/data: it has train, validation")
    refused("owner/data", "nl_NL", match="no nl_NL in owner/data; did you mean nl-NL")
    refused("owner/data", "hau", match="no hau in owner/data; it has nl-NL, quy_Latn, sw")
