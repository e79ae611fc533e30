"""Tables as Markdown and as LaTeX: a header and rows of texts, the first column to the left, numbers to the right."""

from collections.abc import Iterable

TextTable = tuple[list[str], list[list[str]]]  # header, rows
_LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "−": "$-$",
    "×": r"$\times$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "<": "$<$",
}


def table_of(rows: list[dict[str, str]]) -> TextTable:
    """Of rows that have the same columns, at least one."""
    return list(rows[0]), [list(row.values()) for row in rows]


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table of GitHub's Markdown."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def latex(header: list[str], rows: list[list[str]], caption: str, label: str) -> str:
    """A table environment for the package booktabs."""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escaped(caption)}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        _latex_line(header),
        r"\midrule",
        *map(_latex_line, rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _latex_line(cells: Iterable[str]) -> str:
    return " & ".join(map(_escaped, cells)) + r" \\"


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
