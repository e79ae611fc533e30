"""Tables of docs/label-free.md that experiments/ does not fill, from `benchmarks/label_free.py`, and their CSV files.

    python benchmarks/label_free_tables.py work/collected [MORE/collected] --dir unpacked
    python benchmarks/label_free_tables.py

The first reads the archives of one or several runs, whatever their seeds, writes the CSV files and fills the page from
them; the second fills the page from the CSV files alone. An accuracy is the mean over the seeds that a row names, and
wins and Wilcoxon's p are of these means. Intervals are percentile bootstraps that draw targets and items, each with
replacement and by themselves, an item for all targets at once, since both corpora are parallel; seeds are not drawn.
Where the items of a baseline were not kept, as of MASSIVE's N×N, targets alone are drawn, and the row says so.
"""

import argparse
import csv
import tarfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from commands import ROOT
from scipy.special import softmax
from sib200_tables import fill, write_rows

from merginguriel.utils.evaluation.nxn_logits import LOGITS, Logits, open_logits
from merginguriel.utils.evaluation.predictions import PREDICTIONS, read_predictions
from merginguriel.utils.evaluation.statistics import holm, interval_with_shared_draws, wilcoxon
from merginguriel.utils.similarity.consensus import agree
from merginguriel.utils.similarity.matrix import read_table
from merginguriel.utils.similarity.transfer import MATRIX_CSV, finished_runs
from merginguriel.utils.storage import atomic

TABLES = ROOT / "docs/results/label_free"
CORPORA = {"massive": "MASSIVE", "sib200": "SIB-200"}
ALL, ALONE = "all", "consensus alone"  # which sources: every one; by consensus without URIEL
SCORES = ("cosine", ALONE, "consensus")


class Method(NamedTuple):
    """One network or a vote. `rounds` and `texts` of an adaptation, else 0 and ''."""

    how: str
    by: str
    number: int
    rounds: int = 0
    texts: str = ""


class Cell(NamedTuple):
    """On one target with one seed; `right`: (items,) bool in the order of their ids, where they were kept."""

    accuracy: float
    right: np.ndarray | None


WHOLE = 0.75  # share of a seed's targets that a method must have to count with this seed
COLUMNS = ["method", "sources_by", "number", "rounds", "texts"]
OWN = Method("own model", "", 1)
HOWS = ("own model", "best source", "average", "regmean", "vote", "adapted")


def build_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collected", type=Path, nargs="*", help="folders of archives; none: fill the page only")
    parser.add_argument("--dir", type=Path, default=Path("label_free_unpacked"), help="where archives are unpacked")
    parser.add_argument("--output", type=Path, default=TABLES, help="folder of the CSV files")
    parser.add_argument("--page", type=Path, default=ROOT / "docs/label-free.md")
    return parser


class Measured:
    """What the archives of a corpus hold: cells of methods, how sources were scored, and how long adaptations took."""

    def __init__(self, folder: Path, corpus: str):
        self.corpus = corpus
        self.cells: dict[Method, dict[tuple[str, int], Cell]] = defaultdict(dict)
        self.sources: dict[tuple[str, int, str, int], list[str]] = {}  # by, number, target, seed
        self.choice: list[dict] = []
        self.seconds: dict[tuple[Method, int], list[list[float]]] = defaultdict(list)
        self.devices: set[str] = set()
        self.notes: list[str] = []
        self.available = self.number = 0
        self._ids: list[str] | None = None
        for root in sorted(folder.glob(f"{corpus}[0-9]*")):
            self._read_seed(root, int(root.name.removeprefix(corpus)))
        self._leave_out_begun()

    @property
    def methods(self) -> list[Method]:
        return sorted(self.cells, key=lambda method: (HOWS.index(method.how), *method[1:]))

    def _read_seed(self, root: Path, seed: int) -> None:
        found, alone, polls = [], {}, {}
        for file in sorted([*root.glob("results/*/results.json"), *root.glob("votes/*/results.json")]):
            told = atomic.read_json(file)
            about, experiment = told["evaluation_info"], told["experiment"]
            right = self._right(read_predictions(file.with_name(PREDICTIONS)))
            if not experiment:
                alone[about["source"], about["locale"]] = right
                continue
            found.append((_method(experiment), experiment, Cell(told["performance"]["accuracy"], right)))
            if experiment["similarity"]["selection"] == "consensus":
                polls[experiment["target"]] = experiment["similarity"]
            if (adapted := file.with_name("adaptation.json")).is_file():
                self._time(adapted, found[-1][0], seed)
        if not found:
            raise SystemExit(f"no merge and no vote in {root}; collect again once there are some")
        singles = Singles(root, alone, self._right)
        self.available = len(singles.languages) - 1
        self.number = Counter(method.number for method, *_ in found).most_common(1)[0][0]
        for method, experiment, cell in found:
            if method.how == "vote" and method.number == self.available != self.number:
                method = method._replace(by=ALL)
            self._keep(method, experiment["target"], seed, cell)
            names = [source["locale"] for source in experiment["sources"]]
            self.sources[method.by, method.number, experiment["target"], seed] = names
        self._references(singles, seed)
        for target, similarity in polls.items():
            self._choose(singles, target, seed, similarity)

    def _leave_out_begun(self) -> None:
        """A method with few of a seed's targets was stopped there; its mean over them would say nothing."""
        counted = Counter((method, seed) for method, cells in self.cells.items() for _, seed in cells)
        most: Counter[int] = Counter()
        for (_, seed), count in counted.items():
            most[seed] = max(most[seed], count)
        for (method, seed), count in counted.items():
            if count < WHOLE * most[seed]:
                self.cells[method] = {at: cell for at, cell in self.cells[method].items() if at[1] != seed}
                self.notes.append(
                    f"{' '.join(map(str, method))}, seed {seed}: {count} of {most[seed]} targets, left out"
                )
        self.cells = defaultdict(dict, {method: cells for method, cells in self.cells.items() if cells})

    def _keep(self, method: Method, target: str, seed: int, cell: Cell) -> None:
        if (target, seed) in self.cells[method]:
            raise SystemExit(f"{self.corpus}: two results of {method} on {target} with seed {seed}")
        self.cells[method][target, seed] = cell

    def _right(self, kept: dict) -> np.ndarray:
        """(items,) bool; the corpora are parallel, and so an item is the same one everywhere."""
        order = np.argsort(kept["ids"])
        ids = list(kept["ids"][order])
        if self._ids not in (None, ids):
            raise SystemExit(f"{self.corpus}: results are of different items")
        self._ids = ids
        return (kept["labels"] == kept["predictions"])[order]

    def _time(self, file: Path, method: Method, seed: int) -> None:
        told = atomic.read_json(file)
        self.seconds[method, seed].append([one["seconds"] for one in told["rounds"]])
        self.devices.add(told["environment"]["device"])

    def _references(self, singles: "Singles", seed: int) -> None:
        """The target's own model, the best of all others by test accuracy, and the best of each choice of them."""
        for target in sorted({target for _, _, target, of in self.sources if of == seed}):
            others = [source for source in singles.languages if source != target]
            choices = {(ALL, self.available): others}
            for (by, number, at, of), names in self.sources.items():
                if (at, of) == (target, seed):
                    choices[by, number] = names
            self._keep(OWN, target, seed, singles.cell(target, target))
            for (by, number), names in choices.items():
                best = max(names, key=lambda source, target=target: singles.accuracy(source, target))
                self._keep(Method("best source", by, number), target, seed, singles.cell(best, target))

    def _choose(self, singles: "Singles", target: str, seed: int, similarity: dict) -> None:
        """How well each score tells the sources' test accuracies; where logits were kept, votes of its best."""
        parts = similarity["consensus"]
        names = sorted(parts)
        told = {key: np.array([parts[name][key] for name in names], float) for key in ("cosine", "accuracy", "score")}
        scores = {"cosine": told["cosine"], ALONE: told["accuracy"], "consensus": told["score"]}
        if singles.train and singles.test:
            asked = np.stack([softmax(singles.train.logits(name, target).astype(float), -1) for name in names])
            found = agree(asked, told["cosine"])
            if np.abs(found.accuracy - told["accuracy"]).max() > 1e-3:
                self.notes.append(f"{target}, seed {seed}: the record tells other accuracies than the logits")
            scores |= {ALONE: found.accuracy, "consensus": found.score}
            for by, score in scores.items():
                best = sorted(range(len(names)), key=lambda one: (-score[one], names[one]))[: self.number]
                self._check_vote(singles, by, [names[one] for one in best], target, seed)
        true = np.array([singles.accuracy(name, target) for name in names])
        for by, score in scores.items():
            flat = min(score.std(), true.std()) < 1e-12
            correlation = 0.0 if flat else float(np.corrcoef(score, true)[0, 1])
            row = {"corpus": self.corpus, "target": target, "seed": seed, "score": by}
            self.choice.append(row | {"correlation": round(correlation, 4), "deserved": similarity["uriel_deserves"]})

    def _check_vote(self, singles: "Singles", by: str, names: list[str], target: str, seed: int) -> None:
        """Keep the vote of consensus alone, which no command made; of the others compare it with the command's."""
        mean = np.mean([softmax(singles.test.logits(name, target).astype(float), -1) for name in names], axis=0)
        kept = {"ids": singles.test.ids(target), "labels": singles.test.labels(target), "predictions": mean.argmax(-1)}
        right, method = self._right(kept), Method("vote", by, self.number)
        made = self.cells[method].get((target, seed))
        if made is None:
            self._keep(method, target, seed, Cell(float(right.mean()), right))
        elif set(self.sources[by, self.number, target, seed]) != set(names):
            self.notes.append(f"{target}, seed {seed}, {by}: {names} are not the command's sources")
        elif abs(made.accuracy - right.mean()) > 0.01:
            self.notes.append(
                f"{target}, seed {seed}, {by}: vote {right.mean():.4f}, the command's {made.accuracy:.4f}"
            )


class Singles:
    """Every model alone on every language: accuracies of the N×N, and items from its logits or from results."""

    def __init__(self, root: Path, alone: dict, order: Callable[[dict], np.ndarray]):
        tests, trains = (finished_runs(root / folder) for folder in ("nxn_test", "nxn_train"))
        if not tests:
            raise SystemExit(f"no finished N×N in {root / 'nxn_test'}; collect again after it")
        test = tests[-1]
        sources, targets, self._values = read_table(test / MATRIX_CSV, "N×N matrix", "unpack it")
        self.languages = list(sources)
        self._row = {name: row for row, name in enumerate(sources)}
        self._column = {name: column for column, name in enumerate(targets)}
        self._alone, self._order = alone, order
        self.test: Logits | None = open_logits(test) if (test / LOGITS).is_file() else None
        self.train = open_logits(trains[-1]) if trains and (trains[-1] / LOGITS).is_file() else None

    def accuracy(self, source: str, target: str) -> float:
        return float(self._values[self._row[source], self._column[target]])

    def cell(self, source: str, target: str) -> Cell:
        right = self._alone.get((source, target))
        if self.test:
            predictions = self.test.logits(source, target).argmax(-1)
            kept = {"ids": self.test.ids(target), "labels": self.test.labels(target), "predictions": predictions}
            right = self._order(kept)
        return Cell(self.accuracy(source, target), right)


def _method(experiment: dict) -> Method:
    mode, adapt = experiment["mode"], experiment.get("adapt")
    by, number = experiment["similarity"]["selection"], experiment["num_sources"]
    if adapt:
        return Method("adapted", by, number, adapt["rounds"], str(adapt["examples"] or ALL))
    return Method("vote" if mode.startswith("ensemble_") else mode, by, number)


# --- from cells to rows ---


class Keys(NamedTuple):
    targets: list[str]
    seeds: list[int]


def shared(*cells: dict[tuple[str, int], Cell]) -> Keys:
    """The seeds that all have, and the targets that all have with each of these seeds."""
    seeds = sorted(set.intersection(*({seed for _, seed in one} for one in cells)))
    targets = {target for target, _ in cells[0]}
    whole = [at for at in sorted(targets) if all((at, seed) in one for one in cells for seed in seeds)]
    return Keys(whole if seeds else [], seeds)


def gather(cells: dict[tuple[str, int], Cell], keys: Keys) -> tuple[np.ndarray, np.ndarray | None]:
    """(targets,) mean accuracies over the seeds, and (targets, items) mean of `right`, None where one was not kept."""
    of = [[cells[target, seed] for seed in keys.seeds] for target in keys.targets]
    accuracy = np.array([np.mean([cell.accuracy for cell in row]) for row in of])
    if any(cell.right is None for row in of for cell in row):
        return accuracy, None
    return accuracy, np.array([np.mean([cell.right for cell in row], axis=0) for row in of])


def interval(accuracy: np.ndarray, right: np.ndarray | None) -> tuple[float, float]:
    """95 % of the mean over targets and items, over targets alone where there are no items.

    As `bootstrap_interval` with `resample_locales`, but hundreds of intervals share what is drawn.
    """
    low, high = interval_with_shared_draws(accuracy[:, None] if right is None else right)
    return round(low, 4), round(high, 4)


BASELINES = {
    "best of its sources": lambda method, measured: Method("best source", method.by, method.number),
    "best of all": lambda method, measured: Method("best source", ALL, measured.available),
    "vote of the same": lambda method, measured: Method("vote", method.by, method.number),
    "vote by cosine": lambda method, measured: Method("vote", "cosine", measured.number),
    "vote by consensus alone": lambda method, measured: Method("vote", ALONE, measured.number),
    "vote of all": lambda method, measured: Method("vote", ALL, measured.available),
    "regmean of the same": lambda method, measured: Method("regmean", method.by, method.number),
    "own model": lambda method, measured: OWN,
}


def summarise(measured: Measured) -> tuple[list[dict], list[dict]]:
    """(means, comparisons): a row for each method; for each of these and each baseline."""
    means, comparisons = [], []
    for method in measured.methods:
        here = shared(measured.cells[method])
        if not here.targets:
            continue
        head = {"corpus": measured.corpus, **dict(zip(COLUMNS, method))}
        means.append(head | _mean(measured, method, here))
        for name, baseline in BASELINES.items():
            row = _compare(measured, method, baseline(method, measured), here)
            if row:
                comparisons.append(head | {"baseline": name} | row)
    for name in BASELINES:
        tested = [row for row in comparisons if row["baseline"] == name]
        for row, adjusted in zip(tested, holm([row["p"] for row in tested])):
            row |= {"p": float(f"{row['p']:.3g}"), "p_holm": float(f"{adjusted:.3g}")}
    return means, comparisons


def _mean(measured: Measured, method: Method, keys: Keys) -> dict:
    accuracy, right = gather(measured.cells[method], keys)
    low, high = interval(accuracy, right)
    by_seed = [gather(measured.cells[method], Keys(keys.targets, [seed]))[0].mean() for seed in keys.seeds]
    return {
        "seeds": " ".join(map(str, keys.seeds)),
        "targets": len(keys.targets),
        "accuracy": round(float(accuracy.mean()), 4),
        "low": low,
        "high": high,
        "drawn": "targets" if right is None else "targets and items",
        "by_seed": " ".join(f"{value:.4f}" for value in by_seed),
    }


def _compare(measured: Measured, method: Method, other: Method, keys: Keys) -> dict | None:
    """None where they are the same, or share no target."""
    if other == method or other not in measured.cells or method.how == "own model":
        return None
    common = shared(measured.cells[method], measured.cells[other])
    seeds = [seed for seed in keys.seeds if seed in common.seeds]
    common = Keys([target for target in keys.targets if target in common.targets], seeds)
    if not common.targets:
        return None
    ours, our_items = gather(measured.cells[method], common)
    theirs, their_items = gather(measured.cells[other], common)
    gains = ours - theirs
    items = None if our_items is None or their_items is None else our_items - their_items
    low, high = interval(gains, items)
    return {
        "seeds": " ".join(map(str, common.seeds)),
        "targets": len(common.targets),
        "gain": round(float(gains.mean()), 4),
        "low": low,
        "high": high,
        "drawn": "targets" if items is None else "targets and items",
        "above": int((gains > 1e-12).sum()),
        "below": int((gains < -1e-12).sum()),
        "p": wilcoxon(ours, theirs),
        "p_holm": "",
    }


def target_rows(measured: Measured) -> list[dict]:
    """A row for each method, target and seed."""
    return [
        {**dict(zip(COLUMNS, method)), "target": target, "seed": seed, "accuracy": round(cell.accuracy, 6)}
        for method in measured.methods
        for (target, seed), cell in sorted(measured.cells[method].items())
    ]


def source_rows(measured: Measured) -> list[dict]:
    return [
        {"corpus": measured.corpus, "target": target, "seed": seed, "sources_by": by, "sources": " ".join(names)}
        for (by, number, target, seed), names in sorted(measured.sources.items())
        if number == measured.number
    ]


def choice_rows(choice: list[dict]) -> list[dict]:
    """A row a corpus and score: mean correlation with the test accuracies, and the rule's lead over each score."""
    rows = []
    for corpus in dict.fromkeys(row["corpus"] for row in choice):
        of: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for row in choice:
            if row["corpus"] == corpus:
                of[row["score"]][row["target"]].append(row["correlation"])
        seeds = sorted({row["seed"] for row in choice if row["corpus"] == corpus})
        means = {score: np.array([np.mean(values) for values in targets.values()]) for score, targets in of.items()}
        for score, mean in means.items():
            low, high = interval(mean, None)
            lead = means["consensus"] - mean
            row = {"corpus": corpus, "score": score, "seeds": " ".join(map(str, seeds)), "targets": len(mean)}
            row |= {"correlation": round(float(mean.mean()), 4), "low": low, "high": high}
            deserved = [one["deserved"] for one in choice if one["corpus"] == corpus]
            row |= {"deserved": round(float(np.mean(deserved)), 3)}
            lead_low, lead_high = interval(lead, None)
            row |= {"lead": round(float(lead.mean()), 4), "lead_low": lead_low, "lead_high": lead_high}
            rows.append(row | {"p": float(f"{wilcoxon(means['consensus'], mean):.3g}")})
    return rows


def time_rows(measured: Measured) -> list[dict]:
    """A row a method and seed: seconds of its adaptations, several of which ran at a time."""
    rows = []
    for (method, seed), runs in sorted(measured.seconds.items()):
        whole, each = [sum(run) for run in runs], [one for run in runs for one in run]
        head = {"corpus": measured.corpus, "seed": seed, **dict(zip(COLUMNS, method))}
        numbers = {
            "adaptations": len(runs),
            "seconds_a_round": round(float(np.mean(each)), 2),
            "seconds": round(float(np.mean(whole)), 2),
            "longest": round(max(whole), 2),
        }
        rows.append(head | numbers | {"device": ", ".join(sorted(measured.devices))})
    return rows


def part_rows(folder: Path) -> list[dict]:
    told = atomic.read_json(folder / "run.json")
    if told.get("failures"):
        print(f"failed in {folder}:", *told["failures"], sep="\n  ")
    seeds = " ".join(sorted({seed for _, seed in archives(folder)}))
    return [{"seeds": seeds, "part": part, **of} for part, of in told["parts"].items()]


def archives(folder: Path) -> list[tuple[Path, str]]:
    """Files and their seeds."""
    found = [(file, corpus) for corpus in CORPORA for file in sorted(folder.glob(f"{corpus}*.tar.xz"))]
    return [(file, file.name.removesuffix(".tar.xz").removeprefix(corpus)) for file, corpus in found]


def unpack(collected: Sequence[Path], folder: Path) -> None:
    for file, _ in [found for one in collected for found in archives(one)]:
        with tarfile.open(file) as tar:
            tar.extractall(folder, filter="data")


def write_tables(collected: Sequence[Path], folder: Path, output: Path) -> None:
    """All CSV files, from the archives of `collected`."""
    unpack(collected, folder)
    output.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[dict]] = defaultdict(list)
    for corpus in CORPORA:
        measured = Measured(folder, corpus)
        if not measured.cells:
            continue
        rows[f"{corpus}_targets"] = target_rows(measured)
        means, comparisons = summarise(measured)
        rows["means"] += means
        rows["comparisons"] += comparisons
        rows["sources"] += source_rows(measured)
        rows["choice_targets"] += measured.choice
        rows["times"] += time_rows(measured)
        counted = {" ".join(map(str, method)): len(cells) for method, cells in measured.cells.items()}
        most = max(counted.values())
        short = [f"{method}: {count}" for method, count in counted.items() if count < most]
        print(f"{corpus}: {most} targets and seeds; fewer of:", *(short or ["none"]), *measured.notes, sep="\n  ")
    rows["choice"] = choice_rows(rows["choice_targets"])
    for one in collected:
        rows["parts"] += part_rows(one) if (one / "run.json").is_file() else []
    for name, of in rows.items():
        if of:
            write_rows(output / f"{name}.csv", of)


# --- from rows to the page ---


def read_rows(folder: Path, name: str) -> list[dict[str, str]]:
    """No rows where there is no such file yet."""
    file = folder / f"{name}.csv"
    if not file.is_file():
        return []
    with open(file, encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    return ["| " + " | ".join(map(str, row)) + " |" for row in (header, ["---"] * len(header), *rows)]


def name_of(row: dict) -> str:
    """A method in words."""
    how, number, by = row["method"], row["number"], row["sources_by"]
    if how == "own model":
        return "own-language model"
    chosen = f"all {number}" if by == ALL else f"{number} by {by}"
    if how == "best source":
        return f"best of {chosen}, in hindsight"
    if how == "adapted":
        return f"adapted, {row['rounds']} round{'s' if row['rounds'] != '1' else ''}, {chosen}"
    return f"{'soft vote' if how == 'vote' else how}, {chosen}"


def same(row: dict, other: dict) -> bool:
    return all(row[column] == other[column] for column in ("corpus", *COLUMNS))


def accuracy_of(row: dict) -> str:
    return f"{float(row['accuracy']):.4f} [{float(row['low']):.3f}, {float(row['high']):.3f}]"


def gain_of(row: dict) -> str:
    gain, low, high = (100 * float(row[column]) for column in ("gain", "low", "high"))
    return f"{gain:+.2f} [{low:+.2f}, {high:+.2f}], {row['above']}/{row['targets']}, p {float(row['p']):.1g}"


OF_SIB = ("best of its sources", "vote of the same", "vote of all", "regmean of the same", "own model")


def sib200_table(tables: dict[str, list[dict]]) -> list[str]:
    rows = [row for row in tables["means"] if row["corpus"] == "sib200"]
    if not rows:
        return []
    cells = []
    for row in rows:
        found = {one["baseline"]: gain_of(one) for one in tables["comparisons"] if same(one, row)}
        cells.append([name_of(row), row["seeds"], row["targets"], accuracy_of(row)])
        cells[-1] += [found.get(name, "") for name in OF_SIB]
    return markdown(["", "seeds", "targets", "accuracy", *(f"points to {name}" for name in OF_SIB)], cells)


def choice_table(tables: dict[str, list[dict]]) -> list[str]:
    cells = []
    weights = {row["corpus"]: f"{CORPORA[row['corpus']]} {float(row['deserved']):.2f}" for row in tables["choice"]}
    for row in tables["choice"]:
        low, high = float(row["low"]), float(row["high"])
        words = {"cosine": "URIEL cosine", "consensus": "the rule, `--selection consensus`"}
        cell = [CORPORA[row["corpus"]], words.get(row["score"], row["score"]), row["seeds"], row["targets"]]
        cell.append(f"{float(row['correlation']):.2f} [{low:.2f}, {high:.2f}]")
        ahead = f"{float(row['lead']):+.2f} [{float(row['lead_low']):+.2f}, {float(row['lead_high']):+.2f}]"
        cell.append("" if row["score"] == "consensus" else f"{ahead}, p {float(row['p']):.1g}")
        head = {"corpus": row["corpus"], "method": "vote", "sources_by": row["score"]}
        votes = [one for one in tables["means"] if head.items() <= one.items()]
        cell.append(accuracy_of(votes[0]) if votes else "")
        rule = head | {"sources_by": "consensus", "baseline": f"vote by {row['score']}"}
        leads = [one for one in tables["comparisons"] if rule.items() <= one.items()]
        cells.append([*cell, gain_of(leads[0]) if leads else ""])
    header = [
        "",
        "score",
        "seeds",
        "targets",
        "correlation",
        "the rule's lead",
        "vote of its best",
        "points of the rule",
    ]
    told = f"How much URIEL counts in the rule, from 0 to 1, mean over the targets: {', '.join(weights.values())}."
    return [*markdown(header, cells), "", told] if cells else []


def time_table(tables: dict[str, list[dict]]) -> list[str]:
    cells = []
    for row in tables["times"]:
        words = [CORPORA[row["corpus"]], row["seed"], row["number"], row["sources_by"], row["texts"], row["rounds"]]
        cells.append([*words, row["adaptations"], row["seconds_a_round"], row["seconds"], row["longest"]])
    if not cells:
        return []
    header = ["", "seed", "sources", "by", "texts", "rounds", "adaptations", "s a round", "s an adaptation", "longest"]
    return [*markdown(header, cells), "", f"Device: {tables['times'][0]['device']}."]


def part_table(tables: dict[str, list[dict]]) -> list[str]:
    rows = [[row[name] for name in ("part", "seeds", "gpus", "workers", "seconds")] for row in tables["parts"]]
    return markdown(["part", "seeds", "GPUs", "workers", "seconds"], rows) if rows else []


def fill_page(folder: Path, page: Path) -> None:
    names = ("means", "comparisons", "choice", "times", "parts")
    tables = {name: read_rows(folder, name) for name in names}
    parts = {
        "sib200": sib200_table(tables),
        "choice": choice_table(tables),
        "times": time_table(tables),
        "parts": part_table(tables),
    }
    missing = ["Not measured yet."]
    fill(page, {name: lines or missing for name, lines in parts.items()})


def main(argv=None) -> None:
    parser = build_parser()
    args = parser.parse_args(argv)
    if not args.page.is_file():
        parser.error(f"no page {args.page}")
    if args.collected:
        write_tables(args.collected, args.dir, args.output)
    fill_page(args.output, args.page)


if __name__ == "__main__":
    main()
