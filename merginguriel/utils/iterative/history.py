"""The merges that a run has made, kept in merge_history.json: why, with which weights, and what they gave."""

from pathlib import Path
from statistics import mean
from typing import Any

from merginguriel.utils.storage import atomic, environment

HISTORY_JSON = "merge_history.json"


def read_history(folder: Path) -> list[dict[str, Any]]:
    """The merges of the run in `folder`, in order."""
    file = folder / HISTORY_JSON
    return atomic.read_json(file)["merge_history"] if file.exists() else []


def write_history(folder: Path, merges: list[dict[str, Any]]) -> None:
    seconds = [entry["merge_duration"] for entry in merges]
    statistics = {"total_merges": len(seconds), "total_merge_time": sum(seconds), "average_merge_time": mean(seconds)}
    told = {"merge_statistics": statistics, "merge_history": merges, "timestamp": environment.utc_now()}
    atomic.write_json(folder / HISTORY_JSON, told)


def history_table(folder: Path) -> str:
    """A line for every merge of a run: validation accuracy of the sources' own models, of the merge, on the target."""
    lines = ["merge  epoch  sources' own  merged, on the sources  on the target  why"]
    for entry in read_history(folder):
        own, merged = (entry["validation_accuracy"][name] for name in ("own", "merged"))
        lines.append(
            f"{entry['cycle']:5}  {entry['epoch']:5}  {mean(own.values()):12.4f}  "
            f"{mean(merged[locale] for locale in own):22.4f}  "
            f"{merged[entry['target_locales'][0]]:13.4f}  {entry['reason']}"
        )
    return "\n".join(lines)
