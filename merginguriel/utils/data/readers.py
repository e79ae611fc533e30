"""Rows of a data set: from MASSIVE's JSONL files, parquet files, or the Hub's parquet branch."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.split import SPLITS

PARQUET_BRANCH = "refs/convert/parquet"


def read_folder(folder: Path, locale: str, split: str):
    jsonl = folder / f"{locale}.jsonl"
    if jsonl.is_file():
        return _read_jsonl(jsonl, split), str(jsonl)
    hub_split = "validation" if split == "dev" else split
    parquet = sorted((folder / locale / hub_split).glob("*.parquet"))
    if parquet:
        return enumerate(_read_parquet([str(path) for path in parquet])), str(folder / locale / hub_split)
    raise InputError(
        f"no {locale} in {folder}: it has {_listing(locales_in(folder))}; expected {locale}.jsonl "
        f"or {locale}/{hub_split}/*.parquet"
    )


def locales_in(folder: Path) -> list[str]:
    return sorted(
        {path.stem for path in folder.glob("*-*.jsonl")}
        | {path.parent.name for path in folder.glob("*-*/*") if path.is_dir()}
    )


def _listing(names: list[str]) -> str:
    if not names:
        return "no locale at all"
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _read_jsonl(path: Path, split: str):
    """(number, row) of the lines that may be of `split`, from 0; the others are not parsed."""
    named = [json.dumps(name).encode() for name in partitions(split)]
    with path.open("rb") as lines:
        for number, line in enumerate(lines):
            is_other = b'"partition"' in line and not any(name in line for name in named)
            if is_other and line.rstrip().endswith(b"}"):
                continue
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise InputError(
                    f"line {number + 1} of {path} is not JSON in UTF-8; the file is damaged, copy it again"
                )
            if "partition" not in row:
                raise InputError(f"line {number + 1} of {path} has no partition; without it train and test would mix")
            yield number, row


def partitions(split: str) -> set[str]:
    """What a file may call it."""
    return {SPLITS[split], split}


def read_hub(dataset_name: str, locale: str, split: str):
    hub_split = "validation" if split == "dev" else split
    pattern = f"hf://datasets/{dataset_name}@{PARQUET_BRANCH.replace('/', '%2F')}/{locale}/{hub_split}/*.parquet"
    try:
        return enumerate(_read_parquet([pattern])), f"{dataset_name} ({locale}, {hub_split})"
    except Exception as error:  # datasets, huggingface_hub and its HTTP client share no base class
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"cannot read {pattern}: {reason}; check the name and the network, or give "
            "--dataset-name a folder of MASSIVE's <locale>.jsonl files"
        ) from None


def _read_parquet(files: list[str]):
    from datasets import ClassLabel, load_dataset

    table = load_dataset("parquet", data_files={"rows": files}, split="rows")
    names = {column: feature.names for column, feature in table.features.items() if isinstance(feature, ClassLabel)}
    return [
        {column: names[column][value] if column in names else value for column, value in row.items()} for row in table
    ]


class Rows(NamedTuple):
    rows: Any
    where: str


def read_rows(data, language, split, names, language_column=None):
    folder = Path(data).expanduser()
    if folder.is_dir():
        rows, where = read_folder(folder, language, split)
    elif data.startswith((".", "/", "~")) or data.count("/") != 1:
        raise InputError(f"no dataset folder {data}; give a folder of <locale>.jsonl files, a Hub id, or mini")
    else:
        rows, where = read_hub(data, language, split)
    return Rows([(n, row) for n, row in rows if row.get("partition", split) in names], where)


def languages_in(data, language_column=None):
    return locales_in(Path(data).expanduser())
