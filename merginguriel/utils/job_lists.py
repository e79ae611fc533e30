"""What a command has to do for many targets, kept beside its results before it starts, to see what is missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils import records
from merginguriel.utils.evaluation import RESULTS_JSON

JOBS, PROGRESS = "experiment_jobs", "experiment_progress"  # in the names of files that belong together


def keep(progress_json: Path, jobs: Mapping[str, str | None], command: str) -> None:
    """Beside `progress_json`, which will say what became of them: names of result folders, each with its job's hash."""
    records.write_json(progress_json.with_name(progress_json.name.replace(PROGRESS, JOBS)),
                       {"command": command, "jobs": jobs})


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
    for file in sorted(results_root.rglob(f"*{JOBS}*.json")):
        try:
            lists.append(_undone(file))
        except InputError as error:
            damaged[file] = str(error)
    return lists, damaged


def _undone(file: Path) -> Undone:
    content = records.read_json(file)
    if not isinstance(content.get("jobs"), dict) or "command" not in content:
        raise InputError(f"{file} is no list of jobs; remove it")
    progress = file.with_name(file.name.replace(JOBS, PROGRESS))
    failures = records.read_json(progress).get("failures", {}) if progress.is_file() else {}
    missing = {}
    for name, expected in content["jobs"].items():
        result = file.parent / name / RESULTS_JSON
        try:
            if not result.is_file():
                missing[name] = failures.get(name, "")
            elif expected and records.read_json(result).get("job") not in (None, expected):
                missing[name] = "its result was made with other settings"
        except InputError as error:
            missing[name] = str(error)
    # What could not even be planned is in no list.
    impossible = {name: reason for name, reason in failures.items() if name not in content["jobs"]}
    return Undone(content["command"], len(content["jobs"]) + len(impossible), missing | impossible)
