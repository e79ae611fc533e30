"""What a command has to do for many targets, kept beside its results before it starts, to see what is missing."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.naming import RESULTS_JSON

JOBS, PROGRESS = "experiment_jobs", "experiment_progress"  # in the names of files


def keep(results_root: Path, jobs: Mapping[str, str | None], command: str) -> None:
    """One file in `results_root` for every `command`: names of result folders, each with its job's hash."""
    digest = hashlib.sha256(command.encode()).hexdigest()[:8]
    atomic.write_json(results_root / f"{JOBS}_{digest}.json", {"command": command, "jobs": jobs})


@dataclass(frozen=True)
class Undone:
    """Of one list: the command that does what is missing, how many jobs there are, the missing ones with the reason."""

    command: str
    total: int
    missing: dict[str, str]

    def __str__(self) -> str:
        lines = [f"{len(self.missing)} of {self.total} jobs of", f"  {self.command}"]
        return "\n".join([*lines, *(f"    {name}{reason and f': {reason}'}" for name, reason in self.missing.items())])


def undone(results_root: Path) -> tuple[list[Undone], dict[Path, str]]:
    """(of every list under `results_root` what is missing, lists that are damaged and why)

    The reason of a job that was just not reached is empty.
    """
    lists, damaged = [], {}
    for file in sorted(results_root.rglob(f"{JOBS}_*.json")):
        try:
            lists.append(_undone(file))
        except InputError as error:
            damaged[file] = str(error)
    return lists, damaged


def _undone(file: Path) -> Undone:
    content = atomic.read_json(file)
    if not isinstance(content.get("jobs"), dict) or "command" not in content:
        raise InputError(f"{file} is no list of jobs; remove it")
    failures = {}
    for progress in sorted(file.parent.glob(f"*{PROGRESS}*.json")):
        failures |= atomic.read_json(progress).get("failures", {})
    missing = {}
    for name, expected in content["jobs"].items():
        result = file.parent / name / RESULTS_JSON
        try:
            if not result.is_file():
                missing[name] = failures.get(name, "")
            elif expected and atomic.read_json(result).get("job") not in (None, expected):
                missing[name] = "its result was made with other settings"
        except InputError as error:
            missing[name] = str(error)
    return Undone(content["command"], len(content["jobs"]), missing)
