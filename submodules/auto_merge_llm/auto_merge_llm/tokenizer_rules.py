"""What decides which tokens a text becomes: vocabulary, scores, merges, and the rules before and after them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError
from auto_merge_llm.json_objects import read_json_object

# Of tokenizer.json beside "model" and "added_tokens". Truncation and padding are the caller's.
_RULES = ("normalizer", "pre_tokenizer", "post_processor")
_ADDED = ("id", "content", "single_word", "lstrip", "rstrip", "normalized")
# Of tokenizer_config.json; only two stated values can contradict each other.
_SETTINGS = (
    "do_lower_case",
    "strip_accents",
    "tokenize_chinese_chars",
    "do_basic_tokenize",
    "keep_accents",
    "remove_space",
    "add_prefix_space",
    "add_bos_token",
    "add_eos_token",
    "split_special_tokens",
    "truncation_side",
    "bos_token",
    "eos_token",
    "cls_token",
    "sep_token",
    "unk_token",
    "pad_token",
)
# Where two files write their rules differently, what becomes of these decides.
_PROBES = (
    " Hello, World!  two  spaces ",
    "UPPER lower MiXeD don't 1,234.50 € x_y a/b",
    "ÀÉÎ ñ ß ﬁ ½ ① Å Ａ　ｗｉｄｅ",
    "a\tb\nc zero\u200bwidth soft\u00adhyphen",
    "日本語のテキスト。中文繁體",
    "한국어 문장",
    "ภาษาไทย नमस्ते दुनिया",
    "مرحبا بالعالم שלום",
    "Привет, мир ёж",
    "👩‍👩‍👧 😀 <s> </s> [MASK] <mask>",
    "",
)
_PIECES = 500  # about so many of the vocabulary are tried as well


def fingerprint(file: Path) -> str:
    """sha256 of all that decides in the folder of the vocabulary `file`; InputError where that is damaged."""
    told = settings(file.parent)
    if file.name == "tokenizer.json":
        content = _parts(file)
    else:
        content = {"file": hashlib.sha256(file.read_bytes()).hexdigest()}
    return hashlib.sha256(json.dumps([content, told], sort_keys=True).encode()).hexdigest()


def settings_files(folder: Path) -> list[Path]:
    """The files beside the vocabulary that have settings; what the later ones state counts."""
    return [path for name in ("tokenizer_config.json", "special_tokens_map.json") if (path := folder / name).is_file()]


def settings(folder: Path) -> dict[str, Any]:
    """What `settings_files` state of these; a token by its text. InputError where transformers could not read them."""
    told: dict[str, Any] = {}
    for file in settings_files(folder):
        told |= read_json_object(file)
        if "auto_map" in told and not _is_auto_map(told["auto_map"]):
            raise InputError(f"{file} has the auto_map {told['auto_map']!r}, which no tokenizer has; remove it")
    found = {name: told.get(name) for name in _SETTINGS}
    plain = {name: value.get("content") if isinstance(value, Mapping) else value for name, value in found.items()}
    return {name: value for name, value in plain.items() if value is not None}


def _is_auto_map(told: Any) -> bool:
    """Whether transformers can read it: a slow and a fast class, either or both null, alone or by AutoTokenizer."""
    classes = told.get("AutoTokenizer") if isinstance(told, Mapping) else told
    if isinstance(classes, list):
        return len(classes) == 2 and all(isinstance(name, str | None) for name in classes)
    return isinstance(told, Mapping) and isinstance(classes, str | None)


def differences(one: Path, other: Path) -> list[str]:
    """In what two vocabulary files of one name, or the settings beside them, would make other tokens of some text."""
    mine, theirs = settings(one.parent), settings(other.parent)
    found = [name for name in mine.keys() & theirs.keys() if mine[name] != theirs[name]]
    if one.name != "tokenizer.json":
        return found + ([one.name] if one.read_bytes() != other.read_bytes() else [])
    left, right = _parts(one), _parts(other)
    differing = [name for name in left if left[name] != right[name]]
    if differing and not {"model", "added_tokens"} & set(differing) and _same_tokens(one, other):
        differing = []  # another version of the library tokenizers has written the same
    return found + differing


def _parts(file: Path) -> dict[str, Any]:
    """tokenizer.json, without what changes no token, in one form whatever version has written it."""
    tokenizer = read_json_object(file)
    try:
        model = dict(tokenizer["model"])
        model["vocab"] = (list if isinstance(model["vocab"], list) else dict)(model["vocab"])
        added = [{name: token.get(name) for name in _ADDED} for token in tokenizer.get("added_tokens") or []]
        added.sort(key=lambda token: token["id"])
    except (KeyError, TypeError, AttributeError, ValueError):
        raise InputError(f"{file} has no vocabulary; copy the tokenizer again") from None
    if isinstance(model.get("merges"), list):
        model["merges"] = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    model = {name: value for name, value in model.items() if value not in (None, False)}
    return {"model": model, "added_tokens": added, **{name: tokenizer.get(name) for name in _RULES}}


def _same_tokens(one: Path, other: Path) -> bool:
    """Of all probes, alone and as pairs, and of pieces of the vocabulary, of which the probes may have none.

    A file that the library tokenizers cannot read has not the same.
    """
    from tokenizers import Tokenizer

    try:
        mine, theirs = Tokenizer.from_file(str(one)), Tokenizer.from_file(str(other))
    except Exception:  # it raises nothing narrower
        return False
    for tokenizer in (mine, theirs):
        tokenizer.no_truncation()
        tokenizer.no_padding()
    pieces = sorted(mine.get_vocab())
    some = [piece.replace("▁", " ") for piece in pieces[:: max(1, len(pieces) // _PIECES)]]
    inputs = [*((text, None) for text in (*_PROBES, *some)), *zip(_PROBES, _PROBES[1:])]
    return all(
        mine.encode(*texts).ids == theirs.encode(*texts).ids
        and mine.encode(*texts).type_ids == theirs.encode(*texts).type_ids
        for texts in inputs
    )
