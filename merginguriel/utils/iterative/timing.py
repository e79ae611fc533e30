"""When models that are trained in turn are merged, decided by their accuracy on development items."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean


@dataclass(frozen=True)
class Decision:
    """What was decided after an epoch, by which rule, and the number that it rests on beside its threshold."""

    epoch: int
    rule: str
    value: float | None
    threshold: float
    decided: bool | int

    def __str__(self) -> str:
        value = "not known before the third epoch" if self.value is None else f"{self.value:+.5f}"
        if self.rule == "plateau":
            said = "merge now" if self.decided else "train on"
            return f"epoch {self.epoch}: mean improvement of an epoch {value}, threshold {self.threshold:g}: {said}"
        return (
            f"epoch {self.epoch}: the merge costs its sources {value} on their own languages, threshold "
            f"{self.threshold:g}: {self.decided} epochs to the next"
        )


def plateau(accuracies: Mapping[str, Mapping[int, float]], epoch: int, threshold: float) -> Decision:
    """Merge now if the last two epochs improved the locales by less than `threshold` each, on average.

    `accuracies`: by locale and epoch, of the locale's own model on its own items. The last three epochs count, whether
    there was a merge between them or not.
    """
    known = [by_epoch for by_epoch in accuracies.values() if epoch in by_epoch and epoch - 2 in by_epoch]
    if len(known) < len(accuracies):
        return Decision(epoch, "plateau", None, threshold, False)
    improvement = mean((by_epoch[epoch] - by_epoch[epoch - 2]) / 2 for by_epoch in known)
    return Decision(epoch, "plateau", improvement, threshold, improvement < threshold)


def next_interval(
    interval: int, own: Mapping[str, float], merged: Mapping[str, float], epoch: int, threshold: float
) -> Decision:
    """Epochs to the next merge: one fewer if this one cost the sources more than `threshold`, else one more.

    `own` and `merged`: accuracy of each locale's model before the merge, and of the merge, on that locale's items. A
    merge that costs much found models that have grown apart; one that costs nothing could have come later.
    """
    cost = mean(own[locale] - merged[locale] for locale in own)
    return Decision(epoch, "interval", cost, threshold, max(1, interval - 1) if cost > threshold else interval + 1)
