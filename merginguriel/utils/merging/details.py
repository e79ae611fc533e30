"""What a merge leaves beside its weights: merge_details.txt for people, merge_details.json for programs."""

import re
from collections.abc import Mapping
from types import MappingProxyType

DETAILS_TXT = "merge_details.txt"
DETAILS_JSON = "merge_details.json"
NOTHING: Mapping[str, object] = MappingProxyType({})


def merge_details(
    *, mode: str, base_model: str, target: str, sources, timestamp: str, settings: Mapping[str, object] = NOTHING
) -> str:
    """The text of merge_details.txt for people; merge_details.json is its twin for programs.

    `sources` have `locale`, `path` and `weight`; weights are fractions of 1. `settings`: what else to tell, by name.
    """
    total = sum(source.weight for source in sources)
    lines = [
        f"Merge Mode: {mode}",
        *(f"{name}: {value}" for name, value in settings.items()),
        f"Timestamp (UTC): {timestamp}",
        "",
        f"Base Model (for architecture): {base_model}",
        f"Target Language: {target}",
        "",
        "--- Merged Models and Weights ---",
    ]
    for number, source in enumerate(sources, 1):
        lines += [
            f"{number}. Model: {source.path}",
            f"   - Language: {source.locale}",
            f"   - Locale: {source.locale}",
            f"   - Weight: {source.weight:.6f} ({source.weight / total:.2%} of total)",
        ]
    return "\n".join([*lines, "", f"Total Weight: {total:.6f}", ""])


def read_merge_details(text: str) -> dict:
    """Mode, base model, target, time and sources of a merge_details.txt, as merge_details.json has them.

    What a line does not tell is missing; the published ones are read too.
    """

    def after(title: str) -> str | None:
        match = re.search(rf"^{re.escape(title)}: *(\S.*?)\s*$", text, re.MULTILINE)
        return match[1] if match else None

    sources = [
        {"path": path, "locale": locale, "weight": float(weight)}
        for path, locale, weight in re.findall(
            r"^\d+\. Model: (.+?)\s*$(?:\n\s+- (?!Locale).*)*\n\s+- Locale: (\S+)\s*\n\s+- Weight: ([\d.eE+-]+)",
            text,
            re.MULTILINE,
        )
    ]
    found = {
        "mode": after("Merge Mode"),
        "base_model": after("Base Model (for architecture)"),
        "target": after("Target Language"),
        "timestamp": after("Timestamp (UTC)"),
        "sources": sources,
    }
    return {name: value for name, value in found.items() if value}
