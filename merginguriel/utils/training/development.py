"""How well a model does on development items while it is trained."""

from pathlib import Path
from typing import Any

import numpy as np

from merginguriel.utils.data.split import Split
from merginguriel.utils.evaluation.metrics import METRICS
from merginguriel.utils.models import loading, scoring
from merginguriel.utils.models.devices import evaluation_dtype
from merginguriel.utils.models.tokens import TOKENS
from merginguriel.utils.training.settings import TrainingRun
from merginguriel.utils.training.trainer import device_of


class Development:
    """The task's metric on a locale's development items, by the evaluator that all commands share."""

    def __init__(self, run: TrainingRun, initial: Path):
        self._run, self._initial = run, initial
        self._splits: dict[str, Split] = {}
        self._batches: dict[str, Any] = {}

    def score(self, model: Any, locale: str) -> float:
        """Of `model`, which is left in the evaluator's precision."""
        device = device_of(self._run.settings)
        model.to(device, evaluation_dtype(device)).eval()
        if locale not in self._splits:
            split = self._splits[locale] = self._run.task.load(locale, "validation")
            longest = loading.longest_input(model, self._run.max_tokens)
            tokens = TOKENS.tokens(self._initial, split.texts, longest)
            self._batches[locale] = scoring.make_batches(tokens, model.config, device)
        predicted = scoring.batch_logits(model, self._batches[locale], f"validation of {locale}").argmax(-1)
        metric = METRICS[self._run.task.metric]
        return metric(predicted, np.array(self._splits[locale].labels))
