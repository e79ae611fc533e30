"""Which pictures the data of a report gives, each with its name and what it shows; drawn only when asked for."""

import itertools
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from merginguriel.utils.flags.result_flags import KINDS
from merginguriel.utils.report import method_pictures, overview_pictures
from merginguriel.utils.report.plots import Picture, save
from merginguriel.utils.report.report_data import ReportData
from merginguriel.utils.storage.progress import over


def pictures(data: ReportData, kinds: Collection[str] = tuple(KINDS)) -> Iterator[Picture]:
    """Every picture of these kinds for which the data has something to show."""
    found = itertools.chain(
        method_pictures.scores_and_differences(data),
        overview_pictures.gains(data),
        overview_pictures.gain_by_language(data),
        overview_pictures.transfer_and_similarity(data),
        overview_pictures.ranks(data),
        method_pictures.by_label(data),
    )
    return (picture for picture in found if picture.kind in kinds)


def write(
    data: ReportData, kinds: Collection[str], folder: Path, time: str, formats: Collection[str] = ("png",)
) -> list[str]:
    """Draw every picture of these kinds into `folder`, as <name>_<time>.<format>; returns their names."""
    # Methods of tables may be called anything.
    drawn = {re.sub(r"[^\w.=,+-]+", ".", picture.name): picture for picture in pictures(data, kinds)}
    for name, picture in over(drawn.items(), "drawing", len(drawn)):
        figure = picture.draw()
        for suffix in formats:
            save(figure, folder / f"{name}_{time}.{suffix}")
    return list(drawn)
