"""Which sources take part in a merge, and with which weights.

To merge with your own weights, edit ManualWeightCalculator.WEIGHTS below, or pass --weights.
"""

from collections.abc import Mapping

from auto_merge_llm.errors import InputError


class ManualWeightCalculator:
    """Your own weights: locale -> share. They must sum to 1."""

    WEIGHTS = {"nl-NL": 0.6, "de-DE": 0.4}

    @classmethod
    def calculate(cls, weights: Mapping[str, float] | None = None, *, normalize: bool = False) -> dict[str, float]:
        weights = dict(cls.WEIGHTS if weights is None else weights)
        total = sum(weights.values())
        if not weights or min(weights.values()) <= 0 or not total < float("inf"):
            raise InputError(
                "weights must be positive finite numbers, one at least; leave a locale out instead of giving it 0"
            )
        if normalize:
            return {locale: weight / total for locale, weight in weights.items()}
        if abs(total - 1) > 1e-6:
            raise InputError(f"the weights sum to {total:.6g}, not 1; correct them or add --normalize-weights")
        return weights


class AverageCalculator:
    """Equal weights."""

    @staticmethod
    def calculate(scores: Mapping[str, float]) -> dict[str, float]:
        return {locale: 1 / len(scores) for locale in scores}


class SimilarityCalculator:
    """Weights in proportion to the similarity to the target."""

    @staticmethod
    def calculate(scores: Mapping[str, float]) -> dict[str, float]:
        total = sum(scores.values())
        return {locale: score / total for locale, score in scores.items()}
