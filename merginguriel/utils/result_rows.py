"""One results.json as one row of a table: what was evaluated, how well, and what the number rests on.

What a result is stands in its "experiment". Older results have none: then model, merge_details.txt and folder name tell.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils import naming, records
from merginguriel.utils.evaluation import RESULTS_JSON
from merginguriel.utils.merging import DETAILS_JSON, DETAILS_TXT, WEIGHTINGS

# Of every row, in this order. None where a result does not tell.
COLUMNS = {
    "kind": "merge, ensemble, native (the target's own model), source (another locale's), joint (one model of many "
            "locales), nxn (a cell of an N×N, native or not) or other",
    "variant": "short name of everything that tells experiments apart, the same for all locales: similarity_5lang_cosine",
    "method": "mode of a merge, ensemble_<vote> of an ensemble, else the kind",
    "locale": "whose items were evaluated",
    "target": "whom a merge or an ensemble was made for; elsewhere the locale",
    "num_sources": "how many sources took part, all of them",
    "selection": "sinkhorn, cosine, real, explicit or manual",
    "include_target": "whether the target's own model is among the sources",
    "seed": "of the sources' initial checkpoint and of what was drawn",
    "base_model": "its name without folders",
    "models_root": "folder of the sources, or of the model",
    "settings": "JSON: what else tells experiments apart, without what has its default",
    "split": "train, validation or test",
    "accuracy": "share of items, 0 to 1",
    "correct": "items",
    "total": "items",
    "ci_low": "95 % Wilson interval",
    "ci_high": "95 % Wilson interval",
    "macro_f1": "0 to 1",
    "source": "locale of a single model",
    "sources": "JSON: locale -> weight, in the order of the merge",
    "model": "path or name, as recorded",
    "folder": "where the result is; of a cell that only a matrix has, the matrix",
    "subfolder": "between the results' root and the folder",
    "timestamp": "of the evaluation, UTC",
    "merge_timestamp": "of the merge, UTC",
    "dataset": "its name",
    "data": "fingerprint of the items",
    "precision": "of the evaluation",
    "git_commit": "of the toolkit", "merginguriel": "version", "python": "version", "torch": "version",
    "transformers": "version", "device": "of the evaluation",
}
