"""A small parallel intent corpus in twelve languages, laid out like MASSIVE.

The sentences are our own; only the record layout and the intent names are those of MASSIVE, so
that every command runs on this corpus as it runs on the real one, without any download.
"""

import json
from pathlib import Path

from auto_merge_llm.errors import InputError

CORPUS_DIR = Path(__file__).resolve().parents[2] / "mini_corpus"
LOCALES: tuple[str, ...] = (
    "af-ZA",
    "nl-NL",
    "de-DE",
    "en-US",
    "es-ES",
    "pt-PT",
    "id-ID",
    "ms-MY",
    "tr-TR",
    "az-AZ",
    "fi-FI",
    "sw-KE",
)
# Six of the eight values keep every sentence of a template distinct without the full product,
# which would only add near-copies.
VALUES_PER_TEMPLATE = 6
# Of the 48 sentences of an intent 29 train, 7 dev and 12 test: 60, 15 and 25 per cent.
_SPLIT_ENDS = ((29, "train"), (36, "dev"), (48, "test"))
# Prime to 48, so that it permutes the sentences of an intent: neighbouring sentences, which share
# their template, spread over the partitions. Arithmetic, because a seeded generator may change
# its stream between Python versions.
_STRIDE = 29


def _partition(position: int) -> str:
    rank = position * _STRIDE % 48
    return next(name for end, name in _SPLIT_ENDS if rank < end)


def records(locale: str) -> list[dict[str, str]]:
    """Return the 576 records of ``locale`` with the fields of MASSIVE's JSONL files.

    The fields are id, locale, partition, scenario, intent and utt. Records with the same id mean
    the same in every locale, and share partition, scenario and intent.

    Raises InputError if the corpus lacks ``locale``.
    """
    if locale not in LOCALES:
        raise InputError(f"locale {locale!r} is not in the mini corpus ({CORPUS_DIR}); use one of {', '.join(LOCALES)}")
    corpus = json.loads((CORPUS_DIR / f"{locale}.json").read_text(encoding="utf-8"))
    rows: list[dict[str, str]] = []
    for intent, templates in corpus["intents"].items():
        position = 0
        for number, template in enumerate(templates):
            slot = template[template.index("{") + 1 : template.index("}")]
            values = corpus["slots"][slot]
            for shift in range(VALUES_PER_TEMPLATE):
                value = values[(number + shift) % len(values)]
                rows.append(
                    {
                        "id": str(len(rows)),
                        "locale": locale,
                        "partition": _partition(position),
                        "scenario": intent.split("_")[0],
                        "intent": intent,
                        "utt": template.replace("{" + slot + "}", value),
                    }
                )
                position += 1
    return rows


def rows(locale: str, partition: str) -> list[tuple[int, dict[str, str]]]:
    """(number, record) of those of one partition: train, dev or test."""
    return [(number, row) for number, row in enumerate(records(locale)) if row["partition"] == partition]
