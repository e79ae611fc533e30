"""Numbers as people read them."""


def gain(row, locales: int) -> str:
    if not row.compared:
        return ""
    text = points(row.mean_gain)
    if row.gain_low == row.gain_low:
        text += f" ({points(row.gain_low)} to {points(row.gain_high)})"
    return text if row.compared == locales else f"{text}, {row.compared} locales"


def accuracy(value: float) -> str:
    return "" if value != value else f"{value:.4f}"


def points(value: float) -> str:
    """A difference of accuracies in percentage points."""
    return f"{100 * value:+.1f}".replace("-", "−")


def p_value(value: float) -> str:
    return "" if value != value else f"{value:.2g}"
