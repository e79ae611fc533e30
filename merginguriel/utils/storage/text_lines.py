"""Lines of tables in a terminal of 80 columns."""

COLUMNS = 80


def name_width(names: list[str], longest: int) -> int:
    """How wide the column of `names` is before `longest` signs of numbers: that of the longest, or what is left."""
    return min(max(map(len, names)), COLUMNS - longest)


def named(name: str, width: int, numbers: str) -> str:
    """A name in a column of `width` and its numbers; where it is longer, it has a line of its own before them."""
    return f"{name:<{width}}{numbers}" if len(name) <= width else f"{name}\n{'':<{width}}{numbers}"
