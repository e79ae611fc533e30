"""Every way to a classifier for a language, beside the best single model, the vote and the language's own model."""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from kept import OWN_MODEL, Kept, Row, read_array, read_kept

from merginguriel.utils.evaluation.statistics import holm, interval_of, mcnemar_of_counts, means_of_draws, wilcoxon

VOTE = "ensemble_"
BETTER = ", better setting"  # after a mode that does not have its defaults
ALL = "all"  # sources, or texts
# Of its sources alone: who knows the labels takes the best, who knows nothing the mean.
BEST, MEAN = "best source", "mean of sources"


class Way(NamedTuple):
    """`how`: a mode; vote_soft and its like; own model; best source. `by`: the selection, or what stands for it.

    `rounds`: of an adaptation, else 0. `examples`: texts that it had, 0 for all.
    """

    how: str
    by: str = ""
    number: int = 1
    rounds: int = 0
    examples: int = 0


OWN = Way(OWN_MODEL)
# Parts whose sources are chosen by no selection of the toolkit.
RANKINGS = ("chance", "geography", "english")
# Their validation items chose the defaults of the adaptation. Far from each other and from most.
CHOSE_DEFAULTS = ("cy-GB", "fr-FR", "hi-IN", "ja-JP", "sw-KE", "tr-TR")
WHOLE = 0.75  # share of a seed's targets that a way must have to count with this seed
Cells = dict[tuple[str, int], np.ndarray]  # of target and seed: (items,) whether an item is right


@dataclass
class Measured:
    """All ways of one corpus."""

    cells: dict[Way, Cells] = field(default_factory=lambda: defaultdict(dict))
    begun: dict[Way, Cells] = field(default_factory=lambda: defaultdict(dict))  # with too few of a seed's targets
    seconds: dict[Way, list[float]] = field(default_factory=lambda: defaultdict(list))  # of jobs, beside others
    available: int = 0  # sources that a target has
    _values: dict[tuple[Way, str], np.ndarray] = field(default_factory=dict)
    _draws: dict[tuple[Way, str], np.ndarray] = field(default_factory=dict)

    @property
    def best_of_all(self) -> Way:
        return Way(BEST, ALL, self.available)

    # Of a way each is computed once, since it is compared with many.

    def values(self, way: Way, where: "Common") -> np.ndarray:
        """What `gather` gives."""
        key = way, str(where)
        if key not in self._values:
            self._values[key] = gather(self.cells[way], where)
        return self._values[key]

    def draws(self, way: Way, where: "Common") -> np.ndarray:
        """What `means_of_draws` gives of `values`."""
        key = way, str(where)
        if key not in self._draws:
            self._draws[key] = means_of_draws(self.values(way, where))
        return self._draws[key]


def read_measured(folder: Path, corpus: str) -> Measured:
    labels, measured = read_array(folder / f"{corpus}_labels.npy.xz"), Measured()
    for root in sorted(path for path in folder.glob(f"{corpus}_*") if path.is_dir()):
        _add(measured, read_kept(root), labels, int(root.name.rpartition("_")[2]))
    _leave_out_begun(measured)
    return measured


def _leave_out_begun(measured: Measured) -> None:
    """A way with few of a seed's targets was stopped there, and would take the others' targets from every mean."""
    counts = Counter((way, seed) for way, cells in measured.cells.items() for _, seed in cells)
    most: Counter[int] = Counter()
    for (_, seed), count in counts.items():
        most[seed] = max(most[seed], count)
    for (way, seed), count in counts.items():
        if count < WHOLE * most[seed]:
            print(f"left out: {way}, seed {seed}, {count} of {most[seed]} targets", file=sys.stderr)
            for at in [at for at in measured.cells[way] if at[1] == seed]:
                measured.begun[way][at] = measured.cells[way].pop(at)
            if not measured.cells[way]:
                del measured.cells[way]


def way_of(row: Row) -> Way:
    how = row.mode.replace(VOTE, "vote_") if row.mode.startswith(VOTE) else row.mode
    if row.part == "better":
        how += BETTER
    by = row.part if row.part in RANKINGS else row.selection
    return Way(how, by, row.number, row.rounds, row.examples)


def _add(measured: Measured, kept: Kept, labels: np.ndarray, seed: int) -> None:
    right = kept.transfer_answers == labels
    of = {source: number for number, source in enumerate(kept.transfer.sources)}
    targets = {row.target for row in kept.rows}
    measured.available = max(len(of.keys() - {target}) for target in targets)

    def best(names: list[str], target: str) -> np.ndarray:
        """Of the sources by their accuracy on the target's test items, the first of equals."""
        column = right[:, kept.transfer.targets.index(target)]
        return max((column[of[name]] for name in names), key=lambda one: one.mean())

    def mean(names: list[str], target: str) -> np.ndarray:
        """The share of the sources that are right."""
        return right[[of[name] for name in names], kept.transfer.targets.index(target)].mean(0)

    for target in targets:
        if target in of:
            measured.cells[OWN][target, seed] = right[of[target], kept.transfer.targets.index(target)]
        others = [name for name in of if name != target]
        measured.cells[measured.best_of_all][target, seed] = best(others, target)
    chosen: dict[tuple[Way, str], set[str]] = {}
    for row, answers in zip(kept.rows, kept.answers):
        way, names = way_of(row), row.sources.split()
        if way.how.startswith("vote_") and row.number == len(of.keys() - {row.target}):
            way = way._replace(by=ALL, number=measured.available)
        if (row.target, seed) in measured.cells[way]:
            raise SystemExit(f"two results of {way} on {row.target} with seed {seed}")
        measured.cells[way][row.target, seed] = answers == labels
        if row.seconds:
            measured.seconds[way].append(float(row.seconds))
        if way != OWN:
            key = Way(BEST, way.by, way.number)
            if chosen.setdefault((key, row.target), set(names)) != set(names):
                raise SystemExit(f"{row.part}/{row.name} has other sources than the rest chosen by {way.by}")
            measured.cells[key][row.target, seed] = best(names, row.target)
            measured.cells[key._replace(how=MEAN)][row.target, seed] = mean(names, row.target)


# What a way is compared with, if that was measured.
BASELINES: dict[str, Callable[[Way, Measured], Way]] = {
    "best of its sources": lambda way, measured: Way(BEST, way.by, way.number),
    "mean of its sources": lambda way, measured: Way(MEAN, way.by, way.number),
    "best of all": lambda way, measured: measured.best_of_all,
    "vote of the same": lambda way, measured: Way("vote_soft", way.by, way.number),
    "vote of all": lambda way, measured: Way("vote_soft", ALL, measured.available),
    "regmean of the same": lambda way, measured: Way("regmean", way.by, way.number),
    "average of the same": lambda way, measured: Way("average", way.by, way.number),
    # With five sources where the way has one: one alone by cosine was not measured.
    "the same by URIEL's cosine": lambda way, measured: way._replace(by="cosine", number=max(way.number, 5)),
    "the same by chance": lambda way, measured: way._replace(by="chance"),
    "own model": lambda way, measured: OWN,
}


class Common(NamedTuple):
    """Seeds that all have, and targets that all have with each of these."""

    targets: list[str]
    seeds: list[int]

    def seeds_alone(self) -> list["Common"]:
        return [self._replace(seeds=[seed]) for seed in self.seeds]


def common(*cells: Cells) -> Common:
    seeds = sorted(set.intersection(*({seed for _, seed in one} for one in cells)))
    targets = sorted({target for target, _ in cells[0]})
    return Common([at for at in targets if seeds and all((at, one) in of for of in cells for one in seeds)], seeds)


def gather(cells: Cells, where: Common) -> np.ndarray:
    """(targets, items): the share of the seeds with which an item is right."""
    return np.array([np.mean([cells[target, seed] for seed in where.seeds], axis=0) for target in where.targets])


class Gain(NamedTuple):
    """Of one way over another, on the targets and seeds that both have.

    `sure_*`: targets where the sign test over the items, of means over the seeds, says so, corrected by Holm; with one
    seed that is McNemar's. `which_*` names them, the largest difference first.
    """

    targets: int
    seeds: str
    gain: float
    low: float
    high: float
    by_seed: str
    above: int
    below: int
    sure_above: int
    sure_below: int
    which_above: str
    which_below: str
    p: float


def gain(measured: Measured, way: Way, other: Way) -> Gain | None:
    """Of `way` over `other`, None where they share no target."""
    ours, theirs = measured.cells[way], measured.cells[other]
    where = common(ours, theirs)
    if not where.targets:
        return None
    one, its = measured.values(way, where), measured.values(other, where)
    gains = (one - its).mean(1)
    by_seed = [(measured.values(way, seed) - measured.values(other, seed)).mean() for seed in where.seeds_alone()]
    p_values = holm(mcnemar_of_counts((one > its).sum(1), (one < its).sum(1)))
    sure = p_values < 0.05
    by_size = np.argsort(-abs(gains), kind="stable")
    which = [" ".join(where.targets[at] for at in by_size if sure[at] and sign * gains[at] > 0) for sign in (1, -1)]
    return Gain(
        len(where.targets),
        " ".join(map(str, where.seeds)),
        float(gains.mean()),
        *interval_of(measured.draws(way, where) - measured.draws(other, where)),
        " ".join(f"{value:+.4f}" for value in by_seed),
        int((gains > 1e-12).sum()),
        int((gains < -1e-12).sum()),
        int((sure & (gains > 0)).sum()),
        int((sure & (gains < 0)).sum()),
        *which,
        wilcoxon(one.mean(1), its.mean(1)),
    )


def gap_closed(cells: Cells, best: Cells, own: Cells) -> float | None:
    """Which share of the way from the best source to the own-language model is gone.

    None where there is no way, or not all targets of `cells` have both.
    """
    where = common(cells, best, own)
    if not where.targets or where != common(cells):
        return None
    at, low, high = (gather(of, where).mean() for of in (cells, best, own))
    return float((at - low) / (high - low)) if high > low else None
