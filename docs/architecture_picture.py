"""The wings as a staircase: each is a step, and every import falls from its row onto the tread of what it imports."""

import json
from collections.abc import Mapping
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

# In inches: a floor with the gap below it, the room in it, a tread, the uppermost room, the margins.
FLOOR, ROOM, TREAD, WIDTH = 0.56, 0.44, 0.47, 5.4
LEFT, RIGHT, ABOVE, BELOW = 0.3, 0.85, 1.85, 0.3
HUES = LinearSegmentedColormap.from_list("dusk", ["#d9803a", "#c0566b", "#7c5aa6", "#3f6fae", "#2a8a8c"])
INK, GREY, LINE, UPWARD = "#22303c", "#6b7782", "#c9d0d6", "#e00000"


class Stairs:
    """Where things are, in inches from the upper left corner of the uppermost room, and their colours."""

    def __init__(self, wings: list[str]):
        self.wings = wings
        self.width = LEFT + WIDTH + TREAD * (len(wings) - 1) + RIGHT
        self.height = ABOVE + FLOOR * len(wings) + BELOW

    def right(self, floor: int) -> float:
        return WIDTH + TREAD * floor

    def tread(self, floor: int) -> float:
        return self.right(floor) - TREAD / 2

    def middle(self, floor: int) -> float:
        return FLOOR * floor + ROOM / 2

    def hue(self, floor: int) -> str:
        return to_hex(HUES(floor / max(1, len(self.wings) - 1)))


def draw(facts: Mapping[str, Mapping[str, int]], purposes: Mapping[str, str], picture: Path) -> None:
    """Write `facts` of architecture.py as a picture; an .svg keeps them in its metadata."""
    stairs = Stairs([wing for wing in purposes if facts["modules"].get(wing)])
    floors = {wing: floor for floor, wing in enumerate(stairs.wings)}
    turns = []
    for pair, count in facts["arrows"].items():
        begin, end = pair.split(" -> ")
        turns.append((floors[begin], floors[end], count))
    # Without a salt the ids in an SVG are random.
    with rc_context({"svg.hashsalt": "architecture", "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(stairs.width, stairs.height), facecolor="white")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(-LEFT, stairs.width - LEFT), ylim=(stairs.height - ABOVE, -ABOVE))
        axes.axis("off")
        _draw_title(axes, sum(facts["arrows"].values()))
        for wing, floor in floors.items():
            _draw_room(axes, stairs, floor, purposes[wing], facts["modules"][wing])
            _draw_lines(axes, stairs, floor, turns)
        _draw_counts(axes, stairs, turns)
        metadata = {"Date": None, "Title": "The wings of MergingUriel", "Description": json.dumps(facts)}
        figure.savefig(picture, dpi=120, metadata=metadata if picture.suffix == ".svg" else None)


def _draw_title(axes: Axes, count: int) -> None:
    axes.text(0, -1.3, "The wings of MergingUriel", size=17, weight="bold", color=INK)
    axes.text(0, -0.93, "A wing imports only from wings below it. Where its line turns down,", size=9.5, color=GREY)
    axes.text(0, -0.7, f"the number counts imports of a module by another: {count} in all.", size=9.5, color=GREY)


def _draw_room(axes: Axes, stairs: Stairs, floor: int, purpose: str, modules: int) -> None:
    hue, right, middle = stairs.hue(floor), stairs.right(floor), stairs.middle(floor)
    pale = [1 - 0.15 * (1 - value) for value in to_rgb(hue)]
    outline = "round,pad=0,rounding_size=0.06"
    axes.add_patch(
        FancyBboxPatch((0, FLOOR * floor), right, ROOM, boxstyle=outline, facecolor=pale, edgecolor=hue, lw=1.1)
    )
    modules_text = f"{modules} module{'s' if modules > 1 else ''}"
    axes.text(0.15, middle, stairs.wings[floor], size=10.5, weight="bold", color=INK, va="center_baseline")
    axes.text(1.62, middle, purpose, size=8.5, color=INK, va="center_baseline")
    axes.text(right - 0.15, middle, modules_text, size=7.5, color=hue, ha="right", va="center_baseline")


def _draw_lines(axes: Axes, stairs: Stairs, floor: int, turns: list[tuple[int, int, int]]) -> None:
    """The line out of a room, and the arrow onto its tread with the room's name at its upper end."""
    below = [imported for importing, imported, _ in turns if importing == floor < imported]
    if below:
        ends = [stairs.right(floor), stairs.tread(max(below))]
        axes.plot(ends, [stairs.middle(floor)] * 2, color=LINE, lw=1, zorder=0)
    above = [importing for importing, imported, _ in turns if importing < floor == imported]
    if above:
        hue, x, start = stairs.hue(floor), stairs.tread(floor), stairs.middle(min(above))
        arrow = {"arrowstyle": "-|>", "color": hue, "lw": 1.1, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (x, FLOOR * floor), (x, start), arrowprops=arrow, zorder=2)
        axes.text(x, start - 0.26, stairs.wings[floor], size=8, color=hue, rotation=45, rotation_mode="anchor")


def _draw_counts(axes: Axes, stairs: Stairs, turns: list[tuple[int, int, int]]) -> None:
    for importing, imported, count in turns:
        x, y = stairs.tread(imported), stairs.middle(importing)
        hue = stairs.hue(imported) if importing < imported else UPWARD
        axes.scatter(x, y, s=120 + 45 * count**0.5, color=hue, edgecolor="white", linewidth=1.2, zorder=3)
        axes.text(x, y, f"{count}", size=7.5, weight="bold", color="white", ha="center", va="center_baseline", zorder=4)
