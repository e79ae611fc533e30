"""Sources or teachers that were named for each target, as all of some languages but the target: one choice for all."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

NAMED = ("sources", "teachers")  # the settings that may be lists of languages
ALL_BUT_TARGET = "all-but-target"
AMONG = tuple(f"{name}-among" for name in NAMED)  # beside it: these languages and the target


def shared(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """(row, its settings with the choice in place of the list) of those of which several targets share the languages.

    A list that another target has too was meant as that list.
    """
    found = []
    with_list, with_pool = defaultdict(set), defaultdict(set)
    for row in rows:
        settings = json.loads(row["settings"])
        lists = {name: frozenset(settings[name]) for name in NAMED if isinstance(settings.get(name), list)}
        lists = {name: languages for name, languages in lists.items() if row["target"] not in languages}
        found.append((row, settings, lists))
        for choice in lists.items():
            with_list[choice].add(row["target"])
            with_pool[_pool(choice, row)].add(row["target"])
    for row, settings, lists in found:
        chosen = [one for one in lists.items() if len(with_list[one]) == 1 and len(with_pool[_pool(one, row)]) > 1]
        if chosen:
            told = {name: ALL_BUT_TARGET for name, _ in chosen}
            yield row, settings | told | {f"{name}-among": sorted(_pool((name, of), row)[1]) for name, of in chosen}


def languages_in(settings: Mapping[str, Any], name: str, target: str) -> set[str]:
    """The languages of a list for one target, whichever way its settings tell it; none where they do not."""
    if settings.get(name) == ALL_BUT_TARGET:
        return {*settings[f"{name}-among"]} - {target}
    return {*settings.get(name, ())}


def _pool(choice: tuple[str, frozenset[str]], row: Mapping[str, Any]) -> tuple[str, frozenset[str]]:
    name, languages = choice
    return name, languages | {row["target"]}
