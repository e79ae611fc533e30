"""What a picture is, how it looks and how it is kept; what is drawn stands in heatmaps, row_plots, relation_plots.

Colours are those of Okabe & Ito (2008), which people with any colour vision tell apart; what two colours say is said
by shape or side as well.
"""

import functools
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ParamSpec, TextIO

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from merginguriel.utils.storage import atomic

BLUE, VERMILLION, GREEN, ORANGE, PURPLE = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7"
INK, FAINT, RULE, PAGE = "#1a1a1a", "#6b6b6b", "#d8d8d8", "#fefefe"
# From a large loss by about 0 to a large gain, in seven steps.
STEPS = ("#8a3300", "#c2590c", "#d69a6c", "#9da1a6", "#7fb1d6", "#2c7bb8", "#00457a")
PIXELS = 1.4  # of a page for a point of a picture
# Colours that a page replaces by its own, so that a picture follows its light and dark.
PAGE_COLOURS = {INK: "currentColor", FAINT: "var(--faint)", RULE: "var(--rule)", PAGE: "var(--page)"}
PAGE_COLOURS |= {BLUE: "var(--gain)", VERMILLION: "var(--loss)"}
PAGE_COLOURS |= {colour: f"var(--step-{place})" for place, colour in enumerate(STEPS, 1)}
STYLE: dict[Any, Any] = {
    **dict.fromkeys(("font.size", "axes.labelsize", "legend.fontsize"), 8),
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width", "grid.linewidth"), 0.6),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon", "text.parse_math"), False),
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.edgecolor": FAINT,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "figure.facecolor": PAGE,
    "grid.color": RULE,
    "pdf.fonttype": 42,
    "svg.hashsalt": "merginguriel",
}
_Given = ParamSpec("_Given")


@dataclass(frozen=True)
class Picture:
    """`name`: stem of its file; `kind`: one of result_flags.KINDS; `shows`: its caption; `draw()` gives the Figure."""

    name: str
    kind: str
    shows: str
    draw: Callable[[], Figure]


def styled(draw: Callable[_Given, Figure]) -> Callable[_Given, Figure]:
    """Let a function that returns a Figure draw in the house's style."""

    @functools.wraps(draw)
    def run(*args, **kwargs):
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return run


def figure(width: float, height: float) -> Figure:
    """An empty Figure, inches, whose parts are laid out so that nothing overlaps."""
    return Figure(figsize=(width, height), layout="constrained")


def note(axes: Axes, text: str, at: tuple[float, float], shift: tuple[float, float], **options: Any) -> None:
    """A small text that stands `shift` points beside `at`, outside the axes too."""
    usual: dict[str, Any] = {"va": "center_baseline", "fontsize": 7, "annotation_clip": False}
    axes.annotate(text, at, shift, textcoords="offset points", **(usual | options))


def signed(value: float, digits: int = 1) -> str:
    """A difference with its sign, with the minus that axes have."""
    return f"{value:+.{digits}f}".replace("-", "−")


def save(figure: Figure, path: Path, dpi: int = 300) -> None:
    """Into `path`, whole or not at all; its ending, png, svg or pdf, is the format. The same figure, the same bytes."""
    kind = path.suffix[1:]
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with atomic.beside(path) as partial:
        _write(figure, partial, dpi=dpi, format=kind, metadata=undated)


def inline_svg(figure: Figure) -> str:
    """An <svg> element for a page, its text kept as text and in the page's own colours."""
    out = io.StringIO()
    _write(figure, out, {"svg.fonttype": "none"}, format="svg", metadata={"Date": None}, transparent=True)
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r' id="(?:figure|axes|patch|line2d|text|matplotlib\.axis|xtick|ytick|legend|[A-Za-z]+Collection)_\d+"', "", svg
    )
    width = float(re.findall(r'width="([\d.]+)pt"', svg)[0]) * PIXELS
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    # Scaled a little to fit a page; on a narrow one the frame scrolls, so that letters stay readable.
    svg = svg.replace("<svg", f'<svg style="width:{width:.0f}px;min-width:{0.8 * width:.0f}px"', 1)
    # Coordinates, not what the picture says.
    svg = re.sub(r"<[^>]+>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0]), svg)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)
    for colour, ours in PAGE_COLOURS.items():
        svg = svg.replace(colour, ours)
    return re.sub(r"\n\s*", "\n", svg)


def _write(figure: Figure, out: Path | BinaryIO | TextIO, style: dict[str, Any] | None = None, **options: Any) -> None:
    with matplotlib.rc_context(STYLE | (style or {})):
        figure.savefig(out, bbox_inches="tight", pad_inches=0.08, **options)
