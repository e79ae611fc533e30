"""The tables of docs/sib200.md and docs/results/sib200/ from what `benchmarks/sib200.py` collected.

    python benchmarks/sib200_tables.py sib200/collected --dir unpacked

Every accuracy is the mean over the seeds. Intervals are percentile bootstraps, 10,000 draws. Those of means over the
targets draw seeds, targets and items, each with replacement and by themselves, an item for all targets at once, since
SIB-200's sentences are parallel: they speak of other targets like these. Those of one target draw seeds and items.
"""

import argparse
import csv
import json
import re
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from commands import ROOT
from sib200 import QUICK, SPLITS, URIEL, Study, nxn_folder, write_csv

from merginguriel.utils.evaluation.nxn_logits import Logits, open_logits
from merginguriel.utils.evaluation.predictions import PREDICTIONS, read_predictions
from merginguriel.utils.evaluation.statistics import holm, wilcoxon
from merginguriel.utils.similarity.matrix import read_matrix
from merginguriel.utils.storage import atomic

PAGE = ROOT / "docs/sib200.md"
DRAWS = 10_000
Method = tuple[str, str, int]  # how sources become one answer, how they are chosen, how many
ENGLISH: Method = ("single model", "eng_Latn", 1)
NEAREST: Method = ("single model", "cosine", 1)
BY_DEV: Method = ("single model", "target's dev items", 1)
CHANCE_OF_ONE: Method = ("single model", "chance", 1)
IN_HINDSIGHT: Method = ("single model", "target's test items", 1)
CHANCE, ALL = "chance", "all"


def build_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collected", type=Path)
    parser.add_argument("--dir", type=Path, required=True, help="where the archives are unpacked")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results/sib200", help="folder of the CSV tables")
    parser.add_argument("--page", type=Path, default=PAGE, help="its tables are replaced")
    parser.add_argument("--quick", action="store_true", help="of a run with --quick")
    return parser


class Answers:
    """Which items each method has right: by method and target, (seeds, items), by chance the share of the draws."""

    def __init__(self, folder: Path, study: Study):
        self.study, self.sources = study, {}
        found: dict[tuple[Method, str], dict[int, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
        self._transfer: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
        for seed in study.seeds:
            root = folder / f"seed{seed}"
            kept = {split: open_logits(nxn_folder(root / split)) for split in SPLITS}
            self._single_models(kept, seed, found)
            for file in sorted([*root.glob("results/*/results.json"), *root.glob("votes/*/results.json")]):
                self._result(file, seed, found)
        self.right = {
            key: np.array([np.mean(of_seed[seed], axis=0) for seed in study.seeds])
            for key, of_seed in found.items()
            if set(of_seed) == set(study.seeds)
        }
        self.draws = {key: len(of_seed[study.seeds[0]]) for key, of_seed in found.items()}
        of_all = [{method for method, at in self.right if at == target} for target in study.targets]
        self.methods = sorted(set.intersection(*of_all), key=_place)
        lost = sorted(set.union(*of_all) - set(self.methods))
        if lost:
            print("not on every target, left out:", *lost)

    def of(self, method: Method) -> np.ndarray:
        """(seeds, targets, items)"""
        return np.stack([self.right[method, target] for target in self.study.targets], axis=1)

    def transfer(self, split: str) -> np.ndarray:
        """(sources, targets) mean accuracies over the seeds."""
        return np.mean(self._transfer[split], axis=0)

    def _result(self, file: Path, seed: int, found) -> None:
        experiment = atomic.read_json(file)["experiment"]
        if not experiment:
            return  # a source alone, which the N×N has
        similarity, number = experiment["similarity"], experiment["num_sources"]
        chosen = CHANCE if Path(similarity["matrix"]).name.startswith("random") else similarity["selection"]
        if number == len(self.study.sources):
            chosen = ALL
        mode = experiment["mode"]
        how = f"vote {mode.removeprefix('ensemble_')}" if mode.startswith("ensemble_") else f"merge {mode}"
        kept = read_predictions(file.with_name(PREDICTIONS))
        order = np.argsort(kept["ids"])
        method, target = (how, chosen, number), experiment["target"]
        found[method, target][seed].append((kept["labels"] == kept["predictions"])[order])
        if chosen != CHANCE:
            self.sources[chosen, number, target] = [source["locale"] for source in experiment["sources"]]

    def _single_models(self, kept: dict[str, Logits], seed: int, found) -> None:
        sources, targets = self.study.sources, self.study.targets
        right = {
            (split, source, target): _right(logits, source, target)
            for split, logits in kept.items()
            for source in sources
            for target in (*sources, *targets)
        }
        for split in SPLITS:
            of_split = [[right[split, source, target].mean() for target in (*sources, *targets)] for source in sources]
            self._transfer[split].append(np.array(of_split))
        uriel = read_matrix(URIEL)
        for target in targets:
            on_target = {source: right["test", source, target] for source in sources}
            nearest = next(source for source in uriel.for_target(target) if source in sources)
            by_dev = max(sources, key=lambda source: right["validation", source, target].mean())
            best = max(sources, key=lambda source: on_target[source].mean())
            self.sources["cosine", 1, target] = [nearest]
            single = {ENGLISH: sources[0], NEAREST: nearest, BY_DEV: by_dev, IN_HINDSIGHT: best}
            for method, source in single.items():
                found[method, target][seed].append(on_target[source])
            found[CHANCE_OF_ONE, target][seed] += on_target.values()


def _right(logits: Logits, source: str, target: str) -> np.ndarray:
    right = logits.logits(source, target).argmax(-1) == logits.labels(target)
    return right[np.argsort(logits.ids(target))]


def _place(method: Method) -> tuple:
    how, chosen, number = method
    kinds = ("single", "merge", "vote")
    choices = (CHANCE, "eng_Latn", "cosine", "sinkhorn", ALL, BY_DEV[1], IN_HINDSIGHT[1])
    return kinds.index(how.split()[0]), how != "merge average", how, number, choices.index(chosen)


def chance_of(method: Method, answers: Answers) -> Method | None:
    """The same with sources by chance; of other merges the average, since only that was made by chance."""
    how, chosen, number = method
    if chosen in (CHANCE, ALL):
        return None
    twin = ("merge average" if how.startswith("merge") else how, CHANCE, number)
    return twin if twin in answers.methods else None


def counts(generator: np.random.Generator, total: int) -> np.ndarray:
    """How often each of `total` things is drawn, (DRAWS, total), as shares."""
    return generator.multinomial(total, np.full(total, 1 / total), DRAWS) / total


def interval(values: np.ndarray, *, of_targets: bool = True) -> tuple[float, float]:
    """95 % of the mean of `values`, (seeds, targets, items), with seeds, items and, `of_targets`, targets drawn."""
    generator = np.random.default_rng(42)
    seeds, targets, items = values.shape
    by_seed, by_item = counts(generator, seeds), counts(generator, items)
    by_target = counts(generator, targets) if of_targets else np.full((DRAWS, targets), 1 / targets)
    of_items = (by_item @ values.reshape(-1, items).T).reshape(DRAWS, seeds, targets)
    means = np.einsum("dst,ds,dt->d", of_items, by_seed, by_target)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


MEANS = ["method", "sources_by", "number", "accuracy", "low", "high", "lowest_seed", "highest_seed"]
BASELINES: dict[str, Callable[[Method, Answers], Method | None]] = {
    "english": lambda method, answers: ENGLISH if method != ENGLISH else None,
    "chance": chance_of,
    "best_source": lambda method, answers: IN_HINDSIGHT if method != IN_HINDSIGHT else None,
}


def means(answers: Answers) -> list[dict]:
    """A row a method: mean accuracy, and the difference to every baseline with interval, targets won, Wilcoxon's p."""
    rows = []
    for method in answers.methods:
        right = answers.of(method)
        by_seed = right.mean((1, 2))
        numbers = (right.mean(), *interval(right), by_seed.min(), by_seed.max())
        row = dict(zip(MEANS, [*method, *map(_rounded, numbers)]))
        for name, baseline in BASELINES.items():
            other = baseline(method, answers)
            row |= _against(name, right, answers.of(other)) if other else _against(name)
        rows.append(row)
    for name in BASELINES:
        tested = [row for row in rows if row[f"p_{name}"] != ""]
        for row, adjusted in zip(tested, holm([row[f"p_{name}"] for row in tested])):
            row[f"p_holm_{name}"] = float(f"{adjusted:.3g}")
            row[f"p_{name}"] = float(f"{row[f'p_{name}']:.3g}")
    return rows


def _against(name: str, right: np.ndarray | None = None, other: np.ndarray | None = None) -> dict:
    columns = [f"{kind}_{name}" for kind in ("vs", "vs_low", "vs_high", "won", "lost", "p", "p_holm")]
    if right is None or other is None:
        return dict.fromkeys(columns, "")
    gains = right.mean((0, 2)) - other.mean((0, 2))
    won, lost = int((gains > 1e-12).sum()), int((gains < -1e-12).sum())
    differences = [right.mean() - other.mean(), *interval(right - other)]
    p = wilcoxon(right.mean((0, 2)), other.mean((0, 2)))
    return dict(zip(columns, [*map(_rounded, differences), won, lost, p, ""]))


def _rounded(value: float) -> float:
    return round(float(value), 4)


def of_targets(answers: Answers) -> list[dict]:
    """A row for every target and method."""
    rows = []
    for target in answers.study.targets:
        for method in answers.methods:
            right = answers.right[method, target][:, None]
            low, high = interval(right, of_targets=False)
            differences = {}
            for name, baseline in BASELINES.items():
                other = baseline(method, answers)
                apart = right - answers.right[other, target][:, None] if other else None
                values = ["", "", ""] if apart is None else [apart.mean(), *interval(apart, of_targets=False)]
                for column, value in zip((f"vs_{name}", f"vs_low_{name}", f"vs_high_{name}"), values):
                    differences[column] = value if value == "" else _rounded(value)
            rows.append(
                {
                    "target": target,
                    **dict(zip(MEANS[:3], method)),
                    "sources": " ".join(answers.sources.get((*method[1:], target), [])),
                    "draws": answers.draws[method, target],
                    "accuracy": _rounded(right.mean()),
                    "low": _rounded(low),
                    "high": _rounded(high),
                    **{f"seed{seed}": _rounded(one.mean()) for seed, one in zip(answers.study.seeds, right)},
                    **differences,
                }
            )
    return rows


def write_rows(file: Path, rows: list[dict]) -> None:
    write_csv(file, rows[0].keys(), [row.values() for row in rows])


def points(row: dict, name: str) -> str:
    if row[f"vs_{name}"] == "":
        return ""
    low, high = 100 * row[f"vs_low_{name}"], 100 * row[f"vs_high_{name}"]
    return f"{100 * row[f'vs_{name}']:+.1f} [{low:+.1f}, {high:+.1f}]"


def method_table(rows: Iterable[dict]) -> list[str]:
    lines = [
        "| | sources by | N | accuracy | points to English alone | points to chance | won, lost | to the best source |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        score = f"{row['accuracy']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        won = "" if row["won_chance"] == "" else f"{row['won_chance']}, {row['lost_chance']}"
        cells = [row["method"], row["sources_by"], row["number"], score, points(row, "english"), points(row, "chance")]
        lines.append("| " + " | ".join(map(str, [*cells, won, points(row, "best_source")])) + " |")
    return lines


def answer(rows: list[dict]) -> list[str]:
    """What URIEL's choice gives, method by method, in a line each."""
    found = {(row["method"], row["sources_by"], row["number"]): row for row in rows}
    lines = []
    for (how, chosen, number), row in found.items():
        if chosen not in ("cosine", "sinkhorn") or row["vs_chance"] == "" or how not in ANSWERS:
            continue
        lines.append(
            f"- **{how}, {number} by {chosen}**: {points(row, 'chance')} points to chance (Wilcoxon over the targets "
            f"p {row['p_chance']:.2g}, {row['won_chance']} won, {row['lost_chance']} lost), "
            f"{points(row, 'english')} to English alone (p {row['p_english']:.2g})."
        )
    return lines


ANSWERS = ("single model", "merge average", "vote soft")


def target_table(rows: list[dict]) -> list[str]:
    """Accuracies of the methods of ANSWERS on every target."""
    numbers = [row["number"] for row in rows if row["method"] == "merge average" and row["sources_by"] == CHANCE]
    most = max(numbers)
    shown: list[Method] = [ENGLISH, CHANCE_OF_ONE, NEAREST]
    shown += [(how, chosen, most) for how in ANSWERS[1:] for chosen in (CHANCE, "cosine", "sinkhorn")]
    shown += [(how, ALL, row["number"]) for how in ANSWERS[1:] for row in rows if row["sources_by"] == ALL][:1]
    shown.append(IN_HINDSIGHT)
    found = {(row["target"], row["method"], row["sources_by"], row["number"]): row for row in rows}
    targets = list(dict.fromkeys(row["target"] for row in rows))
    shown = [method for method in dict.fromkeys(shown) if (targets[0], *method) in found]
    lines = ["| target | " + " | ".join(f"{how}, {number} by {chosen}" for how, chosen, number in shown) + " |"]
    lines.append("|---|" + "---|" * len(shown))
    for target in targets:
        cells = []
        for method in shown:
            row = found[(target, *method)]
            cells.append(f"{row['accuracy']:.3f} [{row['low']:.2f}, {row['high']:.2f}]")
        lines.append(f"| {target} | " + " | ".join(cells) + " |")
    return lines


def transfer_table(answers: Answers) -> list[str]:
    """The N×N on test."""
    study, values = answers.study, answers.transfer("test")
    columns = [*study.sources, *study.targets]
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for source, row in zip(study.sources, values):
        lines.append(f"| {source} | " + " | ".join(f"{value:.2f}" for value in row) + " |")
    return lines


def fill(page: Path, parts: dict[str, list[str]]) -> None:
    """Put each part between its two comments."""
    text = page.read_text(encoding="utf-8")
    for name, lines in parts.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        body = "\n".join(["", *lines, "", ""])
        text, done = re.subn(pattern, lambda match, body=body: match[1] + body + match[2], text, flags=re.DOTALL)
        if not done:
            raise SystemExit(f"{page} has no place for {name}")
    atomic.write_text(page, text)


def settings_table(file: Path) -> list[str]:
    with open(file, encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    best = max(rows, key=lambda row: float(row["mean"]))
    table = ["| learning rate | epochs | mean dev accuracy of the sources |", "|---|---|---|"]
    for row in rows:
        mark = "**" if row is best else ""
        table.append(f"| {row['learning_rate']} | {row['epochs']} | {mark}{float(row['mean']):.4f}{mark} |")
    return table


def main(argv=None) -> None:
    args = build_parser().parse_args(argv)
    study = QUICK if args.quick else Study()
    for archive in sorted(args.collected.glob("*.tar.xz")):
        with tarfile.open(archive) as tar:
            tar.extractall(args.dir, filter="data")
    answers = Answers(args.dir, study)
    rows, by_target = means(answers), of_targets(answers)
    args.output.mkdir(parents=True, exist_ok=True)
    write_rows(args.output / "means.csv", rows)
    write_rows(args.output / "targets.csv", by_target)
    for split in SPLITS:
        named = [[source, *row.round(4)] for source, row in zip(study.sources, answers.transfer(split))]
        write_csv(args.output / f"nxn_{split}.csv", ["", *study.sources, *study.targets], named)
    settings = (args.collected / "settings.csv").read_text(encoding="utf-8")
    atomic.write_text(args.output / "settings.csv", settings)
    parts = {
        "answer": answer(rows),
        "settings": settings_table(args.collected / "settings.csv"),
        "single": method_table(row for row in rows if row["method"].startswith("single")),
        "merges": method_table(row for row in rows if row["method"].startswith("merge")),
        "votes": method_table(row for row in rows if row["method"].startswith("vote")),
        "targets": target_table(by_target),
        "nxn": transfer_table(answers),
    }
    fill(args.page, parts)
    run = json.loads((args.collected / "run.json").read_text()) if (args.collected / "run.json").is_file() else {}
    print(f"{len(answers.methods)} methods on {len(study.targets)} targets;", "seconds:", run.get("seconds"))
    print("failed:", *run.get("failures", []), sep="\n")


if __name__ == "__main__":
    main()
