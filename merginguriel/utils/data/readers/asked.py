"""Which rows of a table are asked for, and what its other rows say: other splits, other languages, slips of the pen."""

import functools
import re
from collections.abc import Callable, Collection
from difflib import get_close_matches
from typing import Any

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.language_codes import isos
from merginguriel.utils.storage.messages import some

# The column of a row's split, and that of its language: the first that a table has.
SPLIT_COLUMNS = ("partition", "split")
LANGUAGE_COLUMNS = ("language", "lang", "locale")
# Words that mean the same split.
SYNONYMS = (
    frozenset({"train", "training"}),
    frozenset({"dev", "validation", "valid", "val"}),
    frozenset({"test", "testing"}),
)
SPLIT_WORDS = frozenset().union(*SYNONYMS)
_UNREADABLE = re.compile("[\0\ud800-\udfff]")


class Asked:
    """Conditions on columns: the value that a row must have to be read, and that which no row may have.

    `wanted`: column -> the values of the rows that are read; looked at in order. `met` collects what else a column
    says, in rows that passed those before it. `barred`: column -> whether a value contradicts the file's name.
    """

    def __init__(
        self, wanted: dict[str, Collection[str]] | None = None, barred: dict[str, Callable[[str], bool]] | None = None
    ):
        self.wanted = {column: frozenset(values) for column, values in (wanted or {}).items()}
        self.barred = barred or {}
        self.met: dict[str, set[str]] = {column: set() for column in self.wanted}

    def takes(self, row: dict[str, Any], place: str) -> bool:
        """Whether the row is asked for. Raises InputError, naming its `place`, where that cannot be known."""
        for column in self.wanted:
            if column not in row:
                raise InputError(f"{place} has no {column}; without it {_mixed(column)} would mix")
            if not self.judges(column, row[column], place):
                return False
        for column in self.barred:
            if column in row:
                self.judges(column, row[column], place)
        return True

    def judges(self, column: str, value: Any, place: str) -> bool:
        """Whether rows with this value are asked for, as far as this column says."""
        if column in self.barred and self.barred[column](str(value)):
            raise InputError(f"{place} says {column} {value!r}, which its file does not; one of them is wrong")
        if column not in self.wanted:
            return True
        if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
            raise InputError(f"{place} says {column} {value!r}; give every row one, or {_mixed(column)} would mix")
        name = str(value)
        if name in self.wanted[column]:
            return True
        if name not in self.met[column]:
            self.met[column].add(name)
            if column in SPLIT_COLUMNS:
                _check_spelling(column, name, self.wanted[column], place)
        return False

    def check_left_out(self, where: str) -> None:
        """InputError where rows were left out that name what was asked for, but for case, sign or space."""
        for column, values in self.met.items():
            wanted = {spelling_of(name): name for name in self.wanted[column]}
            for slip in sorted(value for value in values if spelling_of(value.strip()) in wanted):
                raise InputError(
                    f"{where} says {column} {slip!r} beside {wanted[spelling_of(slip.strip())]!r}; write them alike"
                )

    def nothing(self, where: str, what: str) -> InputError:
        """What to say where no row passed: at the last column that was reached."""
        for column, values in reversed(self.met.items()):
            if values:
                names = " or ".join(sorted(self.wanted[column]))
                near = [other for name in sorted(self.wanted[column]) for other in nearest(name, values)]
                meant = f"; did you mean {some(near)}?" if near else ""
                return InputError(f"no {names} in {where}: its column {column} has {some(sorted(values))}{meant}")
        return InputError(f"no {what} rows in {where}; the table is empty")


def check_text(row: dict[str, Any], place: str) -> None:
    """Raise InputError for text that no tokenizer and no file in UTF-8 takes."""
    for column, value in row.items():
        if isinstance(value, str) and ("\0" in value or not value.isascii()) and _UNREADABLE.search(value):
            raise InputError(
                f"{place} has half a character (a lone surrogate) or NUL in {column}; write the file again in UTF-8"
            )


def check_columns(names: list[str], where: str) -> list[str]:
    """The names, of which none may stand twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{where} has two columns {', '.join(map(repr, twice))}; rename one")
    return names


def contradicts(names: Collection[str], split: str) -> Callable[[str], bool]:
    """Whether a value is the name of another split than the one that is called `split` and has these `names`."""
    own = {split, *names}
    others = frozenset().union(*(words for words in SYNONYMS if not words & own))
    return lambda value: value in others


def of_other_language(code: str) -> Callable[[str], bool]:
    """Whether a value is the code of another language than `code`, or of another place or script of the same.

    Names of languages, and codes of somebody's own, contradict nothing.
    """

    @functools.cache
    def is_other(said: str) -> bool:
        if spelling_of(said) == spelling_of(code):
            return False
        mine, theirs = isos(code), isos(said)
        if not mine or not theirs:
            return False
        return not set(mine) & set(theirs) or ("-" in spelling_of(code) and "-" in spelling_of(said))

    return is_other


def nearest(name: str, known: Collection[str]) -> list[str]:
    """Those of the known names that are the same but for case and sign, else of the same language, else similar."""
    by_spelling = {spelling_of(other): other for other in sorted(known)}
    spelling = spelling_of(name)
    if spelling in by_spelling:
        return [by_spelling[spelling]]
    same_language = [other for plain, other in by_spelling.items() if plain.split("-")[0] == spelling.split("-")[0]]
    return same_language or [by_spelling[plain] for plain in get_close_matches(spelling, by_spelling, cutoff=0.8)]


def spelling_of(name: str) -> str:
    return name.casefold().replace("_", "-")


def _mixed(column: str) -> str:
    return "train and test" if column in SPLIT_COLUMNS else "languages"


def _check_spelling(column: str, name: str, wanted: frozenset[str], place: str) -> None:
    """Raise InputError where it is a wanted name but for a slip: its rows would be left out unseen."""
    if name in SPLIT_WORDS:
        return
    spelling = name.strip().casefold()
    same = [known for known in wanted if known.strip().casefold() == spelling]
    # Of own names as fold1 and fold2 one is no slip for the other.
    usual = sorted(SPLIT_WORDS & wanted) if spelling.isalpha() else []
    near = same or get_close_matches(spelling, usual, n=1, cutoff=0.75)
    if near:
        raise InputError(f"{place} says {column} {name!r}; did you mean {near[0]}?")
