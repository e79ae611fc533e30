"""The files of a model folder that decide how a text is tokenised: the one list of them."""

from pathlib import Path

# Each of them holds a whole vocabulary; the fullest description first.
VOCABULARY_FILES = (
    "tokenizer.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "sentencepiece.model",
    "tokenizer.model",
    "vocab.txt",
    "vocab.json",
)
# Hashes over a folder's files take them in this order.
TOKENIZER_FILES = (
    *VOCABULARY_FILES,
    "merges.txt",
    "bpe.codes",
    "dict.txt",
    "entity_vocab.json",
    "added_tokens.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)


def tokenizer_files(folder: Path) -> list[Path]:
    """Those of `TOKENIZER_FILES` that `folder` has, in that order."""
    return [path for path in (folder / name for name in TOKENIZER_FILES) if path.is_file()]


def vocabulary_file(folder: Path) -> Path | None:
    """The first of `VOCABULARY_FILES` that `folder` has; None where it has no tokenizer."""
    return next((path for path in tokenizer_files(folder) if path.name in VOCABULARY_FILES), None)
