"""What a way needs: networks at inference, unlabelled texts of its target, labels of its target."""

from typing import NamedTuple

from kept import OWN_MODEL
from ways import BETTER, Way

from merginguriel.utils.merging import modes

MEASURED = 1000  # texts on which methods measure and sources are asked, by default
SIZES = {"massive": {"train": 11514, "validation": 2033}, "sib200": {"train": 701, "validation": 99}}
BETTER_REGMEAN = f"regmean{BETTER}"  # measures on its sources' own texts


class Needs(NamedTuple):
    networks: int
    texts: int
    labels: int


def needs(way: Way, corpus: str) -> Needs:
    """Of a way that somebody can go: a best source in hindsight is none, for it has seen the labels of the test."""
    size = SIZES[corpus]
    if way.how == OWN_MODEL:
        return Needs(1, 0, size["train"])
    mode = way.how.removesuffix(BETTER)
    texts = 0
    if "consensus" in (way.by, mode) or (mode in modes.MODES and modes.needs_text(mode) and way.how != BETTER_REGMEAN):
        texts = min(MEASURED, size["train"])
    if way.rounds:
        texts = max(texts, way.examples or size["train"])
    is_vote = way.how.startswith("vote_")
    return Needs(way.number if is_vote else 1, texts, size["validation"] if way.by == "real" else 0)
