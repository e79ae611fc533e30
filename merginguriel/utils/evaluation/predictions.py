"""predictions.npz: what was answered on which item, which paired tests and votes read."""

import functools
import zipfile
from pathlib import Path

from auto_merge_llm.errors import InputError


def write_predictions(path: Path, ids, labels, predictions, label_names, logits=None) -> None:
    """Keep what paired tests need: item ids, gold labels and predictions (n,).

    And, of models, the logits (n, classes) in float32, for ensembles: float16 would make ties of near ties.
    """
    import numpy as np

    kept = {} if logits is None else {"logits": logits.astype(np.float32)}
    with open(path, "wb") as out:
        np.savez_compressed(
            out,
            ids=np.array(ids),
            labels=np.array(labels, np.int16),
            predictions=np.array(predictions, np.int16),
            intents=np.array(label_names),  # as the first task called them
            **kept,
        )


def read_predictions(path: Path, names=None) -> dict:
    """`ids`, `labels`, `predictions`, `intents` and, where kept, `logits` of a predictions.npz; or only `names`."""
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as arrays:
            kept = {name: arrays[name] for name in names or arrays}
    except FileNotFoundError:
        raise InputError(f"no predictions at {path}; evaluate the model again with --overwrite") from None
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile):
        raise InputError(f"{path} is damaged; evaluate the model again with --overwrite") from None
    wrong = _wrong(kept)
    if wrong:
        raise InputError(f"{path} is damaged ({wrong}); evaluate the model again with --overwrite")
    return kept


def keeps_logits(path: Path) -> bool:
    """Whether a predictions.npz has logits, by its directory; True where it cannot be opened: reading says why."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "logits.npy" in archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return True


def _wrong(kept: dict) -> str | None:
    """What is impossible among the arrays that were read."""
    import numpy as np

    kinds = {"ids": "U", "labels": "iu", "predictions": "iu", "intents": "U", "logits": "f"}
    for name, values in kept.items():
        if not isinstance(values, np.ndarray):  # what numpy makes of a member of the archive that is none of its own
            return f"{name} is no array"
        if values.ndim != 1 + (name == "logits") or values.dtype.kind not in kinds.get(name, values.dtype.kind):
            return f"{name} has the shape {list(values.shape)} and the type {values.dtype}"
    of_items = [values for name, values in kept.items() if name in ("ids", "labels", "predictions", "logits")]
    if len({len(values) for values in of_items}) > 1 or (of_items and not len(of_items[0])):
        return "its arrays are of different numbers of items, or of none"
    if "ids" in kept and not _are_distinct(kept["ids"].tobytes(), kept["ids"].dtype.str):
        return "an id stands twice"
    if "intents" in kept:
        count = len(kept["intents"])
        outside = [name for name in ("labels", "predictions") if name in kept and not _are_below(kept[name], count)]
        if outside or ("logits" in kept and kept["logits"].shape[1] != count):
            return f"{(*outside, 'logits')[0]} are of other than its {count} labels"
    if {"logits", "predictions"} <= kept.keys() and kept["logits"].dtype == np.float32:
        # Older ones were kept in half precision, where near ties become ties.
        if not np.array_equal(kept["logits"].argmax(-1), kept["predictions"]):
            return "its predictions are not those of its logits"
    return None


@functools.lru_cache(maxsize=16)  # results on one split have the same ids
def _are_distinct(ids: bytes, dtype: str) -> bool:
    import numpy as np

    names = np.frombuffer(ids, dtype)
    return len(np.unique(names)) == len(names)


def _are_below(values, count: int) -> bool:
    return bool((values >= 0).all() and (values < count).all())


PREDICTIONS = "predictions.npz"
