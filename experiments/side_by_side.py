"""Ways side by side: how the adapted merge grows with its texts, its rounds and its sources, every method beside the
average, and the targets that chose the defaults apart from the others.

On the targets that every way of a table has, so that its lines can be compared however far the experiment has come.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from ways import BASELINES, BEST, BETTER, CHOSE_DEFAULTS, Common, Measured, Way, common

from merginguriel.utils.evaluation.statistics import interval_of

BY, USUAL, ROUNDS = "consensus", 5, 2
ADAPTED = Way("regmean", BY, USUAL, ROUNDS)
AVERAGE = Way("average", "cosine", USUAL)
# Of a table's columns what is made of the sources, whoever they are.
COLUMNS = {
    "best of them, in hindsight": Way(BEST),
    "average": Way("average"),
    "regmean": Way("regmean"),
    "soft vote": Way("vote_soft"),
    "regmean, adapted": Way("regmean", rounds=ROUNDS),
}

# What the adapted merge is compared with where the targets that chose its defaults stand apart.
APART = ("best of all", "vote of the same")
# And where there are other numbers of rounds.
TWO_ROUNDS = "two rounds"
BESIDE_ROUNDS = (TWO_ROUNDS, "best of its sources", *APART)


def rows_of_tables(measured: Measured, all_texts: int) -> list[dict]:
    """A line a way and table. `points`: over what the table compares with, with their interval."""
    cells = {way: dict(of) for way, of in measured.cells.items()}
    for way, begun in measured.begun.items():
        cells.setdefault(way, begun)  # of a way that is whole with another seed nothing that has only begun
    measured = replace(measured, cells=cells)
    few = {way for way in cells if way.examples and way._replace(examples=0) == ADAPTED}
    by_texts = {(0, ADAPTED._replace(rounds=0)), *((way.examples, way) for way in few), (all_texts, ADAPTED)}
    rows = _rows("texts", sorted(by_texts), measured, _regmean) if few else []
    several = [way for way in sorted(cells) if way.rounds and way._replace(by=BY, rounds=ROUNDS) == ADAPTED]
    tried = {way.by for way in several if way.rounds != ROUNDS}
    for baseline in BESIDE_ROUNDS:
        beside = _two_rounds if baseline == TWO_ROUNDS else _beside(baseline, measured)
        rows += _rows("rounds", [(baseline, way) for way in several if way.by in tried], measured, beside)
    numbers = sorted({way.number for way in cells if way._replace(number=USUAL) == ADAPTED})
    by_number = [(number, way._replace(by=BY, number=number)) for number in numbers for way in COLUMNS.values()]
    rows += _rows("sources", by_number, measured, _regmean) if len(numbers) > 1 else []
    merges = {way.how: way for way in cells if way == AVERAGE._replace(how=way.how) and _is_merge(way.how)}
    better = {how: way for how, way in merges.items() if how.endswith(BETTER)}
    of_table = {"methods": merges.keys() - better.keys(), "better": {AVERAGE.how, *better}}
    for table, hows in of_table.items() if AVERAGE in cells else ():
        of = [(how.removesuffix(BETTER), merges[how]) for how in sorted(hows)]
        rows += _rows(table, of, measured, lambda way: AVERAGE)
    adapted = [ADAPTED._replace(by=by) for by in ("cosine", BY)]
    apart = {target for target, _ in measured.cells.get(ADAPTED, {})} & {*CHOSE_DEFAULTS}
    for baseline in APART if apart else ():
        for table, chose in (("others", False), ("chose", True)):
            counts = lambda target, chose=chose: (target in CHOSE_DEFAULTS) == chose  # noqa: E731
            rows += _rows(table, [(baseline, way) for way in adapted], measured, _beside(baseline, measured), counts)
    return rows


def _is_merge(how: str) -> bool:
    return " " not in how.removesuffix(BETTER) and not how.startswith("vote_")


def _regmean(way: Way) -> Way:
    return Way("regmean", way.by, way.number)


def _two_rounds(way: Way) -> Way:
    return way._replace(rounds=ROUNDS)


def _beside(baseline: str, measured: Measured) -> Callable[[Way], Way]:
    return lambda way: BASELINES[baseline](way, measured)


def _rows(
    table: str,
    ways: Iterable[tuple[object, Way]],
    measured: Measured,
    beside: Callable[[Way], Way],
    counts: Callable[[str], bool] = lambda target: True,
) -> list[dict]:
    """`beside`: what a way is compared with; `counts`: which targets do."""
    found = [(at, way) for at, way in ways if way in measured.cells]
    others = {beside(way) for _, way in found} & measured.cells.keys()
    where = common(*(measured.cells[way] for way in [*(way for _, way in found), *others])) if found else None
    where = where and Common([target for target in where.targets if counts(target)], where.seeds)
    if not where or not where.targets:
        return []
    rows = []
    for at, way in found:
        draws, other = measured.draws(way, where), beside(way)
        low, high = interval_of(draws)
        row = {"table": table, "at": at, **way._asdict(), "targets": len(where.targets)}
        row |= {"seeds": " ".join(map(str, where.seeds))}
        values = measured.values(way, where).mean(1)
        row |= {"accuracy": values.mean(), "low": low, "high": high}
        if way != other in others:
            gains = values - measured.values(other, where).mean(1)
            low, high = interval_of(draws - measured.draws(other, where))
            row |= {"points": 100 * gains.mean(), "points_low": 100 * low, "points_high": 100 * high}
            row["above"] = int(np.sum(gains > 1e-12))
        rows.append(row)
    return rows


def table_of(
    rows: Sequence[dict[str, str]], table: str, settings: Mapping[str, str]
) -> tuple[list[str], list[list[str]]]:
    """(header, lines), from rows as CSV has them. `settings`: flags of better settings, by mode."""
    rows = [row for row in rows if row["table"] == table]
    on = f", {rows[0]['targets']} targets" if rows else ""
    if table == "texts":
        return [f"texts adapted on{on}", "accuracy", "points to the merge", "above it"], [
            [row["at"] if row["points"] else "none, the merge", accuracy(row), points(row), above(row)] for row in rows
        ]
    if table in ("methods", "better"):
        rows = sorted(rows, key=lambda row: -float(row["accuracy"]))
        flags = {mode: f" `{of}`" for mode, of in settings.items()} if table == "better" else {}
        return [f"mode{on}", "accuracy", "points to the average", "above it"], [
            [row["at"] + flags.get(row["at"], ""), accuracy(row), points(row), above(row)] for row in rows
        ]
    if table in ("rounds", "others", "chose"):
        beside, lines = BESIDE_ROUNDS if table == "rounds" else APART, []
        for by, rounds in dict.fromkeys((row["by"], row["rounds"]) for row in rows):
            of = {row["at"]: row for row in rows if (row["by"], row["rounds"]) == (by, rounds)}
            told = [of.get(name) for name in beside]
            gains = [", ".join(filter(None, [points(row), above(row)])) for row in told]
            times = f" in {rounds} round{'s' if rounds != '1' else ''}" if table == "rounds" else ""
            lines.append([f"adapted{times}, {USUAL} by {by}", accuracy(next(iter(of.values()))), *gains])
        return ["", f"accuracy{on}", *(f"points to {name}" for name in beside)], lines
    of = {(row["at"], _column(row)): row for row in rows}
    lines = []
    for at in dict.fromkeys(row["at"] for row in rows):
        cells = [of.get((at, name)) for name in COLUMNS]
        lines.append([at, *(f"{float(cell['accuracy']):.3f}" if cell else "" for cell in cells), points(cells[-1])])
    return [f"sources{on}", *COLUMNS, "points of adapting"], lines


def _column(row: dict[str, str]) -> str:
    return next(name for name, way in COLUMNS.items() if (way.how, str(way.rounds)) == (row["how"], row["rounds"]))


def accuracy(row: dict[str, str]) -> str:
    return f"{float(row['accuracy']):.3f} [{float(row['low']):.3f}, {float(row['high']):.3f}]"


def points(row: dict[str, str] | None) -> str:
    if not row or not row["points"]:
        return ""
    return f"{float(row['points']):+.1f} [{float(row['points_low']):+.1f}, {float(row['points_high']):+.1f}]"


def above(row: dict[str, str] | None) -> str:
    return f"{row['above']}/{row['targets']}" if row and row["above"] else ""
