"""predictions.npz: what was answered on which item, which paired tests and votes read."""

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
            return {name: arrays[name] for name in names or arrays}
    except FileNotFoundError:
        raise InputError(f"no predictions at {path}; evaluate the model again with --overwrite") from None
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile):
        raise InputError(f"{path} is damaged; evaluate the model again with --overwrite") from None


PREDICTIONS = "predictions.npz"
