"""Which results are not there yet, and the commands that make them."""

from pathlib import Path

import pandas as pd

from merginguriel.utils.jobs import ledger
from merginguriel.utils.results import reproduction
from merginguriel.utils.storage import atomic, naming
from merginguriel.utils.storage.command_lines import as_called


def missing(results_root: Path, frame: pd.DataFrame, locales: list[str] | None) -> tuple[list[str], dict[Path, str]]:
    """(jobs of sweeps under `results_root`, then gaps between variants of `frame`; damaged lists of jobs and why)

    For people: commands are named as this process was called.
    """
    lists, damaged = ledger.undone(results_root)
    lines = [str(jobs) for jobs in lists if jobs.missing] + _gaps(frame, locales)
    return list(map(as_called, lines)), damaged


def _gaps(frame: pd.DataFrame, locales: list[str] | None) -> list[str]:
    """Which of `locales` a variant has no result for, by default of all that another of its task has; the command."""
    lines = []
    for variant, group in frame.groupby("variant"):
        wanted = locales or frame.locale[(frame.kind == group.kind.iloc[0]) & (frame.task == group.task.iloc[0])]
        left = sorted({*wanted} - {*group.locale})
        if left:
            folder = Path(group.folder.iloc[0])
            command = reproduction.command_for(left, atomic.read_json(folder / naming.RESULTS_JSON), folder.parent)
            lines.append(f"{variant} has no result for {', '.join(left)}" + (f"\n  {command}" if command else ""))
    return lines
