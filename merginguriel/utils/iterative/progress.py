"""How far a run is, over the epochs of all its languages."""

from collections.abc import Callable

from merginguriel.utils.storage.progress import Progress


class EpochProgress(Progress):
    """What jobs/processes.py reports of parts of trainings; `trained` is told of every one that is done."""

    def __init__(self, max_epochs: int, reached: dict[str, int], trained: Callable[[str], None]):
        super().__init__("training", max_epochs * len(reached), sum(reached.values()))
        self._epochs, self._trained = reached, trained
        self.failures: dict[str, str] = {}

    def start(self, worker: int, locale: str) -> None:
        self.say(locale)

    def epoch(self, worker: int, locale: str, epoch: int) -> None:
        self._epochs[locale] = epoch
        self.reached(sum(self._epochs.values()))

    def done(self, worker: int, locale: str, result: None, seconds: float) -> None:
        self._trained(locale)

    def failed(self, worker: int, locale: str, reason: str) -> None:
        self.failures[locale] = reason
