"""All results in one table, and every merge and ensemble beside its fair baselines.

Accuracies of test items are described here, never used to choose: the best source and the best zero-shot model are the
hardest baselines, which nobody can know without labelled items of the target.
"""

from dataclasses import dataclass, field
from pathlib import Path

from merginguriel.utils import naming

# What a merge or ensemble is measured against, as columns and as words.
BASELINES = {
    "best_source": "best of the sources that take part in it",
    "best_zero_shot": "best of all models but the target's own",
    "avg_zero_shot": "mean of all models but the target's own",
    "native": "the target's own model",
}
# Single models, whose items can be compared one by one.
TESTED = ("best_source", "best_zero_shot", "native")

# What `compare` adds to the columns of result_rows.COLUMNS. NaN or None where a baseline was not measured.
COMPARISON = {
    "best_source": "its locale",
    "best_source_accuracy": BASELINES["best_source"] + "; only where all of them were measured",
    "best_zero_shot": "its locale",
    "best_zero_shot_accuracy": BASELINES["best_zero_shot"],
    "avg_zero_shot_accuracy": BASELINES["avg_zero_shot"],
    "num_zero_shot": "how many models the two are taken over",
    "native_accuracy": BASELINES["native"],
    **{f"vs_{name}": f"accuracy minus {name}_accuracy" for name in BASELINES},
    **{f"p_{name}": "exact McNemar test against it on the same items" for name in TESTED},
    **{f"p_{name}_holm": "adjusted for all tests against it in the table (Holm)" for name in TESTED},
}

# A row a variant and baseline: what `summarise` gives.
SUMMARY = {
    "variant": "as in the comparison, with its columns method, num_sources, selection, include_target, seed, split",
    "baseline": "one of BASELINES",
    "locales": "how many have the variant's accuracy",
    "mean_accuracy": "of the variant over these locales", "std_accuracy": "with n - 1; NaN for one locale",
    "min_accuracy": "lowest of its locales", "max_accuracy": "highest of its locales",
    "compared": "locales that have the baseline too; all that follows is over them",
    "baseline_accuracy": "mean of the baseline",
    "mean_gain": "of the variant over the baseline",
    "gain_low": "95 % interval, items drawn by id (paired bootstrap); NaN where predictions are not kept",
    "gain_high": "the same",
    "wins": "locales where the variant is better", "ties": "equal", "losses": "worse",
    "win_rate": "wins / compared", "win_low": "95 % Wilson interval", "win_high": "95 % Wilson interval",
    "significant_wins": "locales where it is better with p_<baseline>_holm < 0.05",
    "significant_losses": "worse, the same way",
    "p_wilcoxon": "signed-rank test over the locales; NaN for one locale",
    "p_wilcoxon_holm": "adjusted for the variants compared with this baseline (Holm)",
}


@dataclass(frozen=True)
class Collection:
    """`long`: a DataFrame, a row a result, columns of result_rows.COLUMNS. `damaged`: file -> why it was left out."""

    long: object
    damaged: dict[Path, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """`frame`: a row a merge or ensemble of its own target, columns of result_rows.COLUMNS and COMPARISON.

    `notes`: duplicates, baselines that disagree or are missing, in words.
    """

    frame: object
    notes: list[str]


def collect(results_root: Path = naming.RESULTS_ROOT, nxn: Path | None = naming.NXN_ROOT) -> Collection:
    """Every results.json under `results_root`, and every cell under `nxn`: a folder of runs, one run or its matrix."""
    raise NotImplementedError


def compare(long, *, tests: bool = True) -> Comparison:
    """Every merge and ensemble beside its baselines, from `Collection.long`; `tests` reads predictions for p values."""
    raise NotImplementedError


def summarise(comparison):
    """A row a variant and baseline, columns of SUMMARY, from `Comparison.frame`; best mean accuracy first."""
    raise NotImplementedError
