"""targets.png beside the files of answer.py: what three ways give on every target of MASSIVE, mean over the seeds.

python experiments/picture.py docs/results/languages
"""

import argparse
from collections import defaultdict
from pathlib import Path

from answer import read_rows, way_in
from matplotlib.figure import Figure
from ways import ALL, BEST, Way

from merginguriel.utils.flags.command import command

BLUE = "#1f5fa8"
HINDSIGHT, ADAPTED = Way(BEST, ALL, 48), Way("regmean", "cosine", 5, 2)
SHOWN = {
    HINDSIGHT: ("best of all 48 sources, in hindsight", "#9a9a9a"),
    Way("vote_soft", "cosine", 5): ("vote of five", "#e08214"),
    ADAPTED: ("five merged and adapted: one model", BLUE),
}


def draw(folder: Path) -> None:
    of: dict[Way, dict[str, float]] = defaultdict(dict)
    for row in read_rows(folder / "targets.csv"):
        if row["corpus"] == "massive":
            of[way_in(row)][row["target"]] = float(row["accuracy"])
    order = sorted(of[HINDSIGHT], key=of[HINDSIGHT].__getitem__)
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    axes = figure.subplots()
    for way, (label, colour) in SHOWN.items():
        axes.plot(order, [of[way][target] for target in order], "o", color=colour, markersize=5, label=label)
    ends = ([of[way][target] for target in order] for way in (HINDSIGHT, ADAPTED))
    axes.vlines(order, *ends, color=BLUE, linewidth=1, zorder=0)
    axes.tick_params(axis="x", labelrotation=90, labelsize=8)
    axes.set(ylabel="test accuracy", xlim=(-1, len(order)))
    axes.grid(axis="y", linewidth=0.5, color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    figure.savefig(folder / "targets.png", dpi=110, metadata={"Software": None})


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kept", type=Path, help="folder with the files of answer.py")
    args = parser.parse_args(argv)
    if not (args.kept / "targets.csv").is_file():
        parser.error(f"{args.kept} has no targets.csv; run answer.py first")
    draw(args.kept)


if __name__ == "__main__":
    raise SystemExit(command(main)())
