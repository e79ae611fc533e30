"""Compute every number from the files of kept.py, and fill the tables of pages.

    python experiments/answer.py docs/results/languages \
        --pages docs/{results,experiment,adaptation,methods,label-free,which-way}.md

means.csv, comparisons.csv, targets.csv and side_by_side.csv are written beside those files.
"""

import argparse
import csv
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import yaml
from kept import NUMBERS
from needs import SIZES, needs
from side_by_side import COLUMNS, ROUNDS, USUAL, accuracy, rows_of_tables, table_of
from ways import ALL, BASELINES, BEST, MEAN, OWN, Measured, Way, common, gain, gap_closed, read_measured

from merginguriel.utils.evaluation.statistics import holm, interval_of
from merginguriel.utils.flags.command import command
from merginguriel.utils.storage import atomic

CORPORA = {"massive": "MASSIVE", "sib200": "SIB-200"}
VOTES = ("vote_soft", "vote_majority", "vote_weighted_majority", "vote_uriel_logits")
CHOSEN_BY = ("chance", "english", "geography", "sinkhorn", "cosine", "consensus", "real")
WAY = ["corpus", *Way._fields]
HERE = Path(__file__).resolve().parent
DIGITS = 7  # so that tables round what was not rounded to be seen


def rows_of(measured: Measured, corpus: str) -> tuple[list[dict], list[dict], list[dict]]:
    """(means, comparisons, targets): a line a way; a way and baseline; a way and target, mean over the seeds."""
    means, comparisons, targets = [], [], []
    for way, cells in sorted(measured.cells.items()):
        head = {"corpus": corpus, **way._asdict()}
        where = common(cells)
        if not where.targets:
            continue
        values = measured.values(way, where)
        low, high = interval_of(measured.draws(way, where))
        best = measured.cells[measured.best_of_all]
        closed = gap_closed(cells, best, measured.cells[OWN]) if OWN in measured.cells else None
        means.append(
            head
            | {"targets": len(where.targets), "seeds": " ".join(map(str, where.seeds))}
            | rounded({"accuracy": values.mean(), "low": low, "high": high, "gap_closed": closed})
            | ({} if way.how in (BEST, MEAN) else needs(way, corpus)._asdict())
            | {"seconds": f"{np.median(measured.seconds[way]):.1f}" if measured.seconds.get(way) else ""}
            | {"by_seed": " ".join(f"{measured.values(way, seed).mean():.4f}" for seed in where.seeds_alone())}
        )
        for target, share in zip(where.targets, values.mean(1)):
            targets.append(head | {"target": target} | rounded({"accuracy": share}))
        for name, baseline in BASELINES.items():
            other = baseline(way, measured)
            found = gain(measured, way, other) if other != way and other in measured.cells else None
            if found:
                comparisons.append(head | {"baseline": name} | rounded(found._asdict()))
    for name in BASELINES:
        family = [row for row in comparisons if row["baseline"] == name]
        for row, adjusted in zip(family, holm([row["p"] for row in family])):
            row |= {"p": float(f"{row['p']:.3g}"), "p_holm": float(f"{adjusted:.3g}")}
    return means, comparisons, targets


def rounded(row: dict) -> dict:
    def one(name: str, value: object) -> object:
        if value is None:
            return ""
        return round(float(value), DIGITS) if isinstance(value, float) and name != "p" else value

    return {name: one(name, value) for name, value in row.items()}


def write_rows(file: Path, rows: Sequence[dict]) -> None:
    with atomic.beside(file) as partial, open(partial, "w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_rows(file: Path) -> list[dict[str, str]]:
    with open(file, encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


# --- tables ---


class Tables:
    def __init__(self, folder: Path):
        of = {file.stem: read_rows(file) for file in folder.glob("*.csv")}
        self.means, self.comparisons = of["means"], of["comparisons"]
        self.side_by_side, self.tuned = of["side_by_side"], of.get("tuned_adaptation", [])

    def by_way(self, corpus: str) -> dict[Way, dict[str, str]]:
        """The rows of means."""
        return {way_in(row): row for row in self.means if row["corpus"] == corpus}

    def ways(self, corpus: str, wanted: Callable[[Way], bool]) -> list[dict[str, str]]:
        return [row for way, row in self.by_way(corpus).items() if wanted(way)]

    def compared(self, row: dict[str, str], baseline: str) -> dict[str, str] | None:
        """The comparison of a row of means with a baseline, if there is one."""
        same = (one for one in self.comparisons if all(one[name] == row[name] for name in WAY))
        return next((one for one in same if one["baseline"] == baseline), None)

    def beside(self, corpus: str, wanted: Callable[[Way], bool], *, sure: bool) -> list[str]:
        """A line a way: accuracy, the share of the gap that it closes, its gains, what it needs, its jobs' seconds.

        `sure`: gains tell as well on how many targets they are beyond chance.
        """
        rows = sorted(self.ways(corpus, wanted), key=lambda row: -float(row["accuracy"]))
        rests_on = [f"{row['targets']} targets, seeds {row['seeds']}" for row in rows]
        usual = statistics.mode(rests_on) if rows else ""
        lines = []
        for row, on in zip(rows, rests_on):
            closed = f"{100 * float(row['gap_closed']):.0f} %" if row["gap_closed"] else ""
            gains = [gain_of(self.compared(row, name), sure=sure) for name in MAIN]
            name = name_of(row) if on == usual else f"{name_of(row)} ({on})"
            lines.append([name, accuracy(row), closed, *gains, needs_of(row), seconds_of(row)])
        points = [f"points to {name}" for name in MAIN]
        return markdown([usual, "accuracy", "gap closed", *points, "needs", "seconds"], lines)

    def against(self, corpus: str, wanted: Callable[[Way], bool], baseline: str) -> list[str]:
        """A line a way: its gain over the baseline, and the targets where that is beyond chance."""
        lines = []
        for row in self.ways(corpus, wanted):
            one = self.compared(row, baseline)
            if one:
                lines.append([name_of(row), gain_of(one), one["which_above"], one["which_below"]])
        return markdown(["", f"points to {baseline}", "surely better on", "surely worse on"], lines)

    def crossed(self, corpus: str, choices: Iterable[tuple[str, int]]) -> list[str]:
        """A line a choice of sources: accuracies of what is made of them."""
        found = self.by_way(corpus)
        lines, all_seeds = [], max((row["seeds"] for row in found.values()), key=len, default="")
        for by, number in choices:
            ways = [way._replace(by=by, number=number) for way in COLUMNS.values()]
            rows = [found[way] if way in found else None for way in ways]
            if any(rows):
                seeds = {row["seeds"] for row in rows if row} - {all_seeds}
                name = f"{number} by {by}" + (f" (seed {', '.join(sorted(seeds))})" if seeds else "")
                lines.append([name, *(accuracy(row) if row else "" for row in rows)])
        return markdown(["sources", *COLUMNS], lines)

    def votes(self, corpus: str, choices: Iterable[tuple[str, int]]) -> list[str]:
        """A line a choice of sources: the soft vote's accuracy, and what the others lose beside it."""
        found, lines = self.by_way(corpus), []
        for by, number in choices:
            soft, *others = [found.get(Way(vote, by, number)) for vote in VOTES]
            if soft and any(others):
                gains = [gain_of(self.compared(row, "vote of the same")) if row else "" for row in others]
                seeds = sorted({row["seeds"] for row in others if row} - {soft["seeds"]})
                name = f"all {number}" if by == ALL else f"{number} by {by}"
                lines.append(
                    [name + (f" (the others: seed {', '.join(seeds)})" if seeds else ""), accuracy(soft), *gains]
                )
        names = [vote.removeprefix("vote_").replace("_", " ") for vote in VOTES]
        return markdown(["voters", names[0], *(f"points to it: {name}" for name in names[1:])], lines)

    def settings(self) -> list[str]:
        """Of the adaptation, a line a number of texts: what many get, what few get, and the best that was tried."""
        of: dict[str, list[dict[str, str]]] = {}
        for row in self.tuned:
            of.setdefault(row["texts"], []).append(row)
        (before,) = of.pop("")
        lines = []
        for texts, rows in of.items():
            many = next(row for row in rows if row["flags"] in ("", "--adapt-epochs 3 --adapt-lr 1e-4"))
            low = (row for row in rows if row["flags"].endswith("--adapt-lr 3e-5"))
            few = max(low, key=lambda row: [int(word) for word in row["flags"].split() if word.isdigit()])
            best = max(rows, key=lambda row: float(row["mean"]))
            means = [f"{float(row['mean']):.4f}" for row in (before, many, few, best)]
            lines.append([texts, *means, f"`{best['flags']}`", len(rows)])
        rates = ["3 passes at 1e-4", "about 300 steps, or 3 passes, at 3e-5"]
        return markdown(["texts", "before", *rates, "best of the trials", "its flags", "trials"], lines)

    def trials(self) -> list[str]:
        """Of the adaptation to all texts, a line a trial: the mean, and each locale."""
        rows = [row for row in self.tuned if row["texts"] in ("", ALL)]
        of, lines = [name for name in rows[0] if name not in ("texts", "flags")], []
        for row in rows:
            flags = f"`{row['flags']}`" if row["flags"] else "the defaults"
            name = flags if row["texts"] else row["flags"]  # the merge has no texts, and words for flags
            lines.append([name, *(f"{float(row[column]):.4f}" for column in of)])
        return markdown(["", *of], lines)


def way_in(row: dict[str, str]) -> Way:
    return Way(row["how"], row["by"], *(int(row[name]) for name in NUMBERS))


def name_of(row: dict[str, str]) -> str:
    how, by, number = row["how"], row["by"], row["number"]
    if how == OWN.how:
        return "own-language model"
    words = f"{how.removeprefix('vote_').replace('_', ' ')} vote" if how.startswith("vote_") else how
    words += f", adapted in {row['rounds']} rounds" if row["rounds"] != "0" else ""
    words += f" on {row['examples']} texts" if row["examples"] != "0" else ""
    hindsight = ", in hindsight" if how == BEST else ""
    return f"{words}, {f'all {number}' if by == ALL else f'{number} by {by}'}{hindsight}"


def gain_of(one: dict[str, str] | None, *, sure: bool = True) -> str:
    """Points, interval, on how many targets above, and if `sure` on how many beyond chance."""
    if not one:
        return ""
    points, low, high = (100 * float(one[name]) for name in ("gain", "low", "high"))
    told = f"{points:+.1f} [{low:+.1f}, {high:+.1f}], {one['above']}/{one['targets']}"
    return f"{told}, {one['sure_above']}:{one['sure_below']}" if sure else told


def needs_of(row: dict[str, str]) -> str:
    if not row["networks"]:
        return ""
    networks = "1 network" if row["networks"] == "1" else f"{row['networks']} networks"
    rest = [f"{int(row[name]):,} {name}" for name in ("texts", "labels") if row[name] != "0"]
    return ", ".join([networks, *rest])


def seconds_of(row: dict[str, str]) -> str:
    """Of its jobs; not of votes, which add up what the N×N has kept, and would have to ask every source."""
    return "" if row["how"].startswith("vote_") else row["seconds"]


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return [*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)]


def fill(page: Path, parts: dict[str, list[str]]) -> None:
    """Put each part that the page has a place for between its two comments; SystemExit where it has no place at all."""
    text = page.read_text(encoding="utf-8")
    if not any(f"<!-- {name} -->" in text for name in parts):
        raise SystemExit(f"{page} has no place for {', '.join(parts)}")
    for name, lines in parts.items():
        body = "\n".join(["", *lines, "", ""])
        pattern = rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda match, body=body: match[1] + body + match[2], text, flags=re.DOTALL)
    atomic.write_text(page, text)


# What which-way.md shows: label, and way; of all sources, whose number depends on the corpus, it has none.
SHOWN = {
    "models only: average, five by URIEL": Way("average", "cosine", USUAL),
    "models only, five at inference: soft vote, five by URIEL": Way("vote_soft", "cosine", USUAL),
    "models only, all at inference: soft vote": Way("vote_soft", ALL),
    "and unlabelled text: regmean, five by consensus": Way("regmean", "consensus", USUAL),
    "and unlabelled text: adapted, five by URIEL": Way("regmean", "cosine", USUAL, ROUNDS),
    "and unlabelled text: adapted, five by consensus": Way("regmean", "consensus", USUAL, ROUNDS),
    "for comparison: the best of all sources, in hindsight": Way(BEST, ALL),
    "for comparison: the target's own model, all its labels": OWN,
}
MAIN = ("best of its sources", "best of all", "vote of the same")


def _is_answer(way: Way) -> bool:
    """The main ones, but for what consensus is worth little to."""
    return _is_main(way) and (way.by != "consensus" or way.how == "regmean")


def _is_main(way: Way) -> bool:
    """What a reader chooses among, the references beside it."""
    if way == OWN or (way.how, way.by) == (BEST, ALL):
        return True
    usual = way.rounds in (0, ROUNDS) and not way.examples
    return usual and way.how in ("average", "regmean", "vote_soft") and way.by in (ALL, "cosine", "consensus")


def ways_of(tables: Tables) -> list[str]:
    """A line a way, a column a corpus."""
    found = {
        (corpus, way._replace(number=1) if way.by == ALL else way): row
        for corpus in CORPORA
        for way, row in tables.by_way(corpus).items()
    }
    on = [
        f"{name}, {found[corpus, OWN]['targets']} targets" for corpus, name in CORPORA.items() if (corpus, OWN) in found
    ]
    lines = [
        [label, *(accuracy(found[corpus, way]) if (corpus, way) in found else "" for corpus in CORPORA)]
        for label, way in SHOWN.items()
    ]
    return markdown(["", *on], lines)


def better_settings() -> dict[str, str]:
    """By mode, the flags of what the experiment has of it beside its defaults."""
    parts = yaml.safe_load((HERE / "languages.yaml").read_text(encoding="utf-8"))["parts"]
    settings = (setting.split(" ", 2) for entry in parts.get("methods", ()) for setting in entry.get("setting", ()))
    return {mode: flags for _, mode, flags in settings}


def parts_of(tables: Tables) -> dict[str, list[str]]:
    """The tables of the page, by the names of their places."""
    found, settings = {}, better_settings()
    for corpus in CORPORA:
        usual = {row["number"] for row in tables.means if row["corpus"] == corpus and row["by"] == ALL} | {"1", "5"}
        for name, is_shown, sure in (("ways", _is_main, True), ("answer", _is_answer, False)):
            wanted = lambda way, usual=usual, of=is_shown: str(way.number) in usual and of(way)  # noqa: E731
            found[f"{corpus}, {name}"] = tables.beside(corpus, wanted, sure=sure)
        for by, baseline in (("cosine", "the same by chance"), ("consensus", "the same by URIEL's cosine")):
            wanted = lambda way, by=by: _is_main(way) and (way.by, way.number) == (by, USUAL)  # noqa: E731
            found[f"{corpus}, {by}"] = tables.against(corpus, wanted, baseline)
        for table in ("texts", "rounds", "sources", "methods", "better", "others", "chose"):
            rows = [row for row in tables.side_by_side if row["corpus"] == corpus]
            found[f"{corpus}, {table}"] = markdown(*table_of(rows, table, settings))
        voters = [(by, USUAL) for by in CHOSEN_BY] + [(ALL, int(number)) for number in sorted(usual - {"1", "5"})]
        found[f"{corpus}, votes"] = tables.votes(corpus, voters)
        found[f"{corpus}, choosing"] = tables.crossed(corpus, [(by, n) for by in CHOSEN_BY for n in (1, 5)])
    found["ways"] = ways_of(tables)
    if tables.tuned:
        found |= {"tuned": tables.settings(), "tuned, all": tables.trials()}
    return found


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kept", type=Path, help="folder that collect.py wrote")
    parser.add_argument("--pages", type=Path, nargs="+", default=[], help="with places for the tables")
    args = parser.parse_args(argv)
    missing = [page for page in args.pages if not page.is_file()]
    if missing:
        raise SystemExit(f"no page {missing[0]}")
    files: dict[str, list[dict]] = {"means": [], "comparisons": [], "targets": [], "side_by_side": []}
    for corpus in CORPORA:
        if (args.kept / f"{corpus}_labels.npy.xz").is_file():
            measured = read_measured(args.kept, corpus)
            tables = [{"corpus": corpus} | rounded(row) for row in rows_of_tables(measured, SIZES[corpus]["train"])]
            for rows, more in zip(files.values(), (*rows_of(measured, corpus), tables)):
                rows += more
    if not files["means"]:
        raise SystemExit(f"{args.kept} has no files of collect.py")
    for name, rows in files.items():
        write_rows(args.kept / f"{name}.csv", rows)
    parts = parts_of(Tables(args.kept))
    for page in args.pages:
        fill(page, parts)


if __name__ == "__main__":
    raise SystemExit(command(main)())
