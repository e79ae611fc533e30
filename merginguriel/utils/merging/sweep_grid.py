"""The grid of a sweep: modes x numbers of sources x selections."""

from dataclasses import asdict, dataclass, replace

from merginguriel.utils.adaptation.settings import AdaptSettings
from merginguriel.utils.merging.modes import ADAPTED, BASELINE, WEIGHTINGS, method_of
from merginguriel.utils.merging.settings import MergeSettings


@dataclass(frozen=True)
class Grid:
    """Every mode, adapted ones too, with every number of sources and every selection, None for the mode's own.

    `common`: all else. Its hyper-parameters go to those methods that have them, weights and base to the modes that
    take them; its mode and target stand for nothing.
    """

    modes: tuple[str, ...]
    numbers: tuple[int, ...]
    selections: tuple[str | None, ...]
    common: MergeSettings

    @property
    def merging_modes(self) -> list[str]:
        """Without the baseline."""
        return [mode for mode in self.modes if mode != BASELINE]

    @property
    def job_kinds(self) -> set[str]:
        """Of its jobs."""
        return {"evaluation", "merge", *("adapted_merge" for merge in self.merges if merge.adaptation.adapt)}

    @property
    def merges(self) -> list[MergeSettings]:
        """One of each mode and selection, of no target."""
        return [self.settings(mode, "", 1, chosen) for mode in self.merging_modes for chosen in self.selections]

    def settings(self, name: str, target: str, number: int, chosen: str | None) -> MergeSettings:
        """`name`: a mode, or one that is adapted: regmean+vote."""
        mode, _, adapted = name.partition(ADAPTED)
        method, common = method_of(mode), self.common
        own = {name: value for name, value in common.hyperparameters.items() if name in asdict(method)}
        return replace(
            common,
            mode=mode,
            target=target,
            choice=replace(common.choice, num_languages=number, selection=chosen),
            hyperparameters=own,
            adaptation=replace(common.adaptation, adapt=adapted) if adapted else AdaptSettings(),
            weights=None if mode in WEIGHTINGS else common.weights,
            base=common.base if method.needs_base or common.length != 1 else None,
        )
