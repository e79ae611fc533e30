"""What a command has to do and why something of it failed, kept beside its results: a file for every command.

Two commands in one folder keep both their lists and reasons. `aggregate_results.py --show-missing` reads them.
"""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.jobs.job import Job
from merginguriel.utils.jobs.outcome import Outcome
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.environment import utc_now
from merginguriel.utils.storage.naming import RESULTS_JSON, short_hash

JOBS = "experiment_jobs"  # in the names of files


@dataclass(frozen=True)
class Ledger:
    """The list of one `command` whose results go into `folder`.

    Progress and end are written twice: with a hash of the command in their names, and plainly, which the next command
    in the folder overwrites.
    `planned_failures`: name -> why a job could not even be planned. `config`: the command's flags. `prefix`: of the
    names of progress and end, "" for none; `describe(jobs, outcome)` is what the end tells beside.
    """

    folder: Path
    command: str
    jobs: Sequence[Job]
    planned_failures: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""
    ending: str = ""
    describe: Callable[[Sequence[Job], Outcome], dict[str, Any]] = lambda jobs, outcome: {}
    _earlier: dict[str, float] = field(default_factory=dict, init=False)  # seconds of jobs, before the command stopped

    def begin(self) -> None:
        self._list({})
        with contextlib.suppress(InputError):  # none yet, or a damaged one, which is written anew
            told = atomic.read_json(self._places("progress")[0]).get("seconds")
            self._earlier.update(told if isinstance(told, dict) else {})

    def changed(self, outcome: Outcome) -> None:
        """A job has ended."""
        if self.prefix:
            self._write("progress", self.progress(outcome))

    def end(self, outcome: Outcome) -> Path | None:
        """Put what could not be planned among the failures, and write everything; the file that tells the end."""
        outcome.failures.update(self.planned_failures)
        self._list(outcome.failures)
        self.changed(outcome)
        if not self.prefix:
            return None
        said = self.progress(outcome)
        modes = dict.fromkeys(job.label for job in self.jobs if job.label)
        counts = {mode: sum(of.get(mode, False) for of in said["results"].values()) for mode in modes}
        return self._write(
            "final_results",
            {
                "timestamp": said["timestamp"],
                "command": self.command,
                "config": dict(self.config),
                "summary": {"total_locales": said["total_locales"], "mode_success_counts": counts},
                "detailed_results": said["results"],
                "failures": outcome.failures,
                **self.describe(self.jobs, outcome),
            },
        )

    def progress(self, outcome: Outcome) -> dict[str, Any]:
        """A locale's mode is true where all its jobs are done, false where one failed.

        A locale is processed when nothing of it is left to do.
        """
        results: dict[str, dict[str, bool]] = {}
        left = []
        for job in self.jobs:
            locale = job.options.get("locale", job.group)
            if not outcome.settled(job.name):
                left.append(locale)
            elif job.label:
                of = results.setdefault(locale, {})
                of[job.label] = of.get(job.label, True) and outcome.is_whole(job.name)
        locales = {job.options.get("locale", job.group) for job in self.jobs}
        return {
            "timestamp": utc_now(),
            "command": self.command,
            "total_locales": len(locales),
            "processed_locales": len(locales) - len(set(left)),
            "current_locale": left[0] if left else None,
            "results": results,
            "total_jobs": len(self.jobs),
            "done_jobs": len(outcome.done) + len(outcome.kept),
            "failures": outcome.failures,
            "seconds": {**self._earlier, **outcome.seconds},
        }

    def _list(self, failures: Mapping[str, str]) -> None:
        marks = {job.name: os.path.relpath(job.folder / job.mark, self.folder) for job in self.jobs}
        jobs = {job.name: {"job": job.hash, "mark": marks[job.name]} for job in self.jobs}
        atomic.write_json(
            self.folder / f"{JOBS}_{short_hash(self.command)}.json",
            {
                "command": self.command,
                "jobs": jobs | dict.fromkeys(self.planned_failures),
                "failures": {**self.planned_failures, **failures},
            },
        )

    def _write(self, what: str, content: dict[str, Any]) -> Path:
        """Once for this command alone, and once as that of the command that wrote last; the former."""
        own, latest = self._places(what)
        for file in (own, latest):
            atomic.write_json(file, content)
        return own

    def _places(self, what: str) -> tuple[Path, Path]:
        latest = self.folder / f"{self.prefix}_{what}{self.ending}.json"
        return latest.with_name(f"{latest.stem}_{short_hash(self.command)}.json"), latest


def ending_of(part: tuple[int, int] | None) -> str:
    """Of the files of one shard."""
    return f"_shard{part[0]}of{part[1]}" if part else ""


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
        except OSError as error:  # a name of 5,000 letters
            damaged[file] = f"{file} is no list of jobs: {error.strerror}; remove it"
    return lists, damaged


def _is_list(content: Mapping[str, Any]) -> bool:
    jobs = content.get("jobs")
    return (
        isinstance(jobs, dict)
        and isinstance(content.get("command"), str)
        and all(isinstance(told.get("mark"), str) and "job" in told for told in jobs.values() if isinstance(told, dict))
    )


def _undone(file: Path) -> Undone:
    content = atomic.read_json(file)
    failures = content.get("failures") or {}
    if not (_is_list(content) and isinstance(failures, dict)):
        raise InputError(f"{file} is no list of jobs; remove it")
    missing: dict[str, str] = {}
    for name, expected in content["jobs"].items():
        if not isinstance(expected, dict):  # a list of an earlier version has the hash alone
            expected = {"job": expected, "mark": f"{name}/{RESULTS_JSON}"}
        mark = file.parent / expected["mark"]
        try:
            if not mark.is_file():
                missing[name] = failures.get(name, "")
            elif expected["job"] and atomic.read_json(mark).get("job") not in (None, expected["job"]):
                missing[name] = "its result was made with other settings"
        except InputError as error:
            missing[name] = str(error)
    return Undone(content["command"], len(content["jobs"]), missing)
