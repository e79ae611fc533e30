"""How the adapted merge grows with its texts and with its sources.

On the targets that every way of a table has, so that its lines can be compared however far the experiment has come.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ways import BEST, Measured, Way, common, gather

from merginguriel.utils.evaluation.statistics import interval_of

BY, USUAL = "consensus", 5
ADAPTED = Way("regmean", BY, USUAL, 2)
# Of a table's columns what is made of the sources, whoever they are.
COLUMNS = {
    "best of them, in hindsight": Way(BEST),
    "average": Way("average"),
    "regmean": Way("regmean"),
    "soft vote": Way("vote_soft"),
    "regmean, adapted": Way("regmean", rounds=2),
}


def rows_of_growth(measured: Measured, all_texts: int) -> list[dict]:
    """A line a way and table. `points`: over regmean of the same sources, with their interval."""
    cells = {way: dict(of) for way, of in measured.cells.items()}
    for way, begun in measured.begun.items():
        cells.setdefault(way, {}).update(begun)
    measured = replace(measured, cells=cells)
    few = {way.examples: way for way in cells if way.examples and way._replace(examples=0) == ADAPTED}
    by_texts = {0: ADAPTED._replace(rounds=0), **few, all_texts: ADAPTED} if few else {}
    numbers = sorted({way.number for way in cells if way._replace(number=USUAL) == ADAPTED})
    by_number = [(number, way._replace(by=BY, number=number)) for number in numbers for way in COLUMNS.values()]
    rows = _rows("texts", sorted(by_texts.items()), measured)
    return rows + (_rows("sources", by_number, measured) if len(numbers) > 1 else [])


def _rows(table: str, ways: Iterable[tuple[int, Way]], measured: Measured) -> list[dict]:
    found = [(at, way) for at, way in ways if way in measured.cells]
    where = common(*(measured.cells[way] for _, way in found)) if found else None
    if not where or not where.targets:
        return []
    rows = []
    for at, way in found:
        draws = measured.draws(way, where)
        merged = Way("regmean", way.by, way.number)
        low, high = interval_of(draws)
        row = {"table": table, "at": at, **way._asdict(), "targets": len(where.targets)}
        row |= {"seeds": " ".join(map(str, where.seeds))}
        mean = gather(measured.cells[way], where).mean()
        row |= {"accuracy": mean, "low": low, "high": high}
        if way != merged:
            gained = mean - gather(measured.cells[merged], where).mean()
            low, high = interval_of(draws - measured.draws(merged, where))
            row |= {"points": 100 * gained, "points_low": 100 * low, "points_high": 100 * high}
        rows.append(row)
    return rows


def table_of(rows: Sequence[dict[str, str]], table: str) -> tuple[list[str], list[list[str]]]:
    """(header, lines), from rows as CSV has them."""
    rows = [row for row in rows if row["table"] == table]
    on = f", {rows[0]['targets']} targets" if rows else ""
    if table == "texts":
        return [f"texts adapted on{on}", "accuracy", "points to the merge"], [
            [row["at"] if row["points"] else "none, the merge", accuracy(row), points(row)] for row in rows
        ]
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
