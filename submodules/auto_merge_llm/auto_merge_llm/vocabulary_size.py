"""How many rows of embeddings a folder's tokenizer asks for, from its files alone."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError
from auto_merge_llm.json_objects import read_json_object
from auto_merge_llm.tokenizer_files import vocabulary_file

# Those that a tokenizer puts into any text by itself.
_INSERTED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token")
# sha256 of a tokenizer.json -> (its vocabulary's size, its added tokens): XLM-R's takes long to parse, and the models
# of one sweep have the same.
_KNOWN: dict[str, tuple[int, list[dict[str, Any]]]] = {}


def vocabulary_size(folder: Path) -> int | None:
    """One more than the highest token id that a text can be given; None where the folder has no vocabulary.

    Special tokens that no text is given unless it spells them out, such as Gemma's for images, do not count: models
    are published without rows for them. Of a SentencePiece model, to which tokenizers add a few, it is the least.
    Raises InputError for a file that is damaged.
    """
    path = vocabulary_file(folder)
    if path is None:
        return None
    added: list[dict[str, Any]] = []
    if path.name == "tokenizer.json":
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest not in _KNOWN:
            _KNOWN[digest] = _tokenizer_json(path)
        size, added = _KNOWN[digest]
    elif path.name == "vocab.json":
        size = _size(read_json_object(path).values(), path)
    elif path.suffix == ".txt":
        size = len(path.read_text(encoding="utf-8", errors="replace").rstrip("\n").split("\n"))
    else:
        size = sum(1 for _ in _pieces(path.read_bytes()))
    return max(size, _size(_added_ids(folder, added), path))


def _tokenizer_json(path: Path) -> tuple[int, list[dict[str, Any]]]:
    content = read_json_object(path)
    try:
        vocabulary = content["model"]["vocab"]
        # Unigram lists [piece, score] by id; the other models map pieces to ids.
        size = len(vocabulary) if isinstance(vocabulary, list) else _size(vocabulary.values(), path)
        added = [dict(token) for token in content.get("added_tokens") or []]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(f"{path} has no vocabulary; copy the tokenizer again") from None
    return size, added


def _added_ids(folder: Path, added: list[dict[str, Any]]) -> Iterator[Any]:
    """Ids of the tokens beside the vocabulary that texts are given."""
    config, names = _optional_json(folder / "tokenizer_config.json"), _optional_json(folder / "added_tokens.json")
    told = (config, _optional_json(folder / "special_tokens_map.json"))
    inserted = {_content(settings.get(key)) for settings in told for key in _INSERTED}
    decoder = config.get("added_tokens_decoder")
    if isinstance(decoder, Mapping):
        added = [*added, *({"id": _number(key), **token} for key, token in decoder.items() if isinstance(token, dict))]
    special = {token.get("content") for token in added if token.get("special")}
    for settings in told:
        others = settings.get("additional_special_tokens")
        special |= {_content(token) for token in (others if isinstance(others, list) else [])}
    for content, number in (*((token.get("content"), token.get("id")) for token in added), *names.items()):
        if content in inserted or content not in special:
            yield number


def _content(token: Any) -> Any:
    """Of a special token as files give it, by its text or as an object."""
    content = token.get("content") if isinstance(token, Mapping) else token
    return content if isinstance(content, str) else None


def _number(key: str) -> int:
    return int(key) if key.isdecimal() else -1


def _size(ids: Iterable[Any], path: Path) -> int:
    found = list(ids)
    if not all(isinstance(number, int) for number in found):
        raise InputError(f"{path}: a token has no whole number for its id; copy the tokenizer again")
    return max(found, default=-1) + 1


def _pieces(model: bytes) -> Iterator[bytes]:
    """The entries of field 1 of a SentencePiece model, a protocol buffer; nothing of a file that is none."""
    # https://protobuf.dev/programming-guides/encoding: a field is a number and a wire type, then the value; 2 is a
    # length and as many bytes.
    position = 0
    while position < len(model) and model[position] == 0x0A:
        length, position = _varint(model, position + 1)
        yield model[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """(value, the position behind it): seven bits a byte, the lowest first, while the eighth is set."""
    value = shift = 0
    while position < len(data):
        value |= (data[position] & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if not data[position - 1] & 0x80:
            break
    return value, position


def _optional_json(path: Path) -> dict[str, Any]:
    return read_json_object(path) if path.is_file() else {}
