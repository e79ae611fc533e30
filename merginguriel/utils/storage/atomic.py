"""What a run leaves behind: merge_details.txt, results.json, predictions; written whole or not at all."""

import contextlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.storage.made_folders import PARTIAL, Made


class PlaceTakenError(InputError):
    """Something stands where a folder was to be put."""


@contextlib.contextmanager
def whole_folder(path: Path, kind: Made | None = None, *, overwrite: bool = False):
    """Yield an empty folder beside `path` that becomes `path` if the block ends well, else vanishes.

    Raises PlaceTakenError, before and after the block, where `path` exists and `overwrite` is false, InputError where
    it is no folder that the toolkit made of that `kind`; None: nothing is ever replaced.
    """
    check_replaceable(path, kind, overwrite)
    _remove_abandoned(path)
    new_parents = [parent for parent in path.parents if not parent.exists()]
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=_prefix(path), dir=path.parent))  # fails for a name that is too long
        yield partial
        # mkdtemp makes private folders; the result gets the rights that the user's umask gives.
        mask = os.umask(0)
        os.umask(mask)
        partial.chmod(0o777 & ~mask)
        check_replaceable(path, kind, overwrite)  # somebody may have been quicker
        if path.exists():
            replaced = Path(tempfile.mkdtemp(prefix=_prefix(path), dir=path.parent))
            path.rename(replaced / path.name)
            partial.rename(path)
            shutil.rmtree(replaced)
        else:
            partial.rename(path)
    except BaseException:
        if partial:
            shutil.rmtree(partial, ignore_errors=True)
        with contextlib.suppress(OSError):  # somebody else's work is in it by now
            for parent in new_parents:
                parent.rmdir()
        raise


def check_replaceable(path: Path, kind: Made | None, overwrite: bool) -> None:
    """Raise InputError unless a folder of that `kind` may be put at `path`; PlaceTakenError without `overwrite`."""
    if not path.exists() and not path.is_symlink():
        return
    if not overwrite:
        raise PlaceTakenError(f"{path} exists already; use --overwrite to replace it or choose another output folder")
    if path.is_dir() and not any(path.iterdir()):
        return
    objection = kind.objection(path) if kind else "exists already"
    if objection:
        raise InputError(
            f"{path} {objection}; so it is not replaced: remove it yourself or choose another output folder"
        )


def check_apart(model: Path, results: Iterable[Path]) -> None:
    """Raise InputError where one of the folders of `results` would be, hold or lie in that of the `model`."""
    place = model.resolve()
    for result in results:
        other = result.resolve()
        if place == other or place in other.parents or other in place.parents:
            raise InputError(
                f"the model {model} and its result {result} would be in one folder; choose another --output-dir or "
                "--results-dir"
            )


def _prefix(path: Path) -> str:
    """Of the name of what is to become `path`: whose it is, as PARTIAL reads it. A name has at most 255 bytes."""
    return f".{path.name[:64]}.partial-{platform.node()[:64]}-{os.getpid()}-"


def _remove_abandoned(path: Path) -> None:
    """Remove what runs of this machine that were killed left beside `path`, of it or of others."""
    if not path.parent.is_dir():
        return
    with os.scandir(path.parent) as beside_it:
        left = [
            Path(entry.path)
            for entry in beside_it
            if (match := PARTIAL.fullmatch(entry.name))
            and match[1] == platform.node()[:64]
            and not _is_running(int(match[2]))
        ]
    for one in left:
        shutil.rmtree(one, ignore_errors=True) if one.is_dir() else one.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    if os.name == "nt":  # there the signal would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    # Who has ended, and whose parent does not ask how: in a container that may be for ever.
    status = Path(f"/proc/{process}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # it has just ended, or this system has no such file
        return not status.parent.parent.is_dir()


@contextlib.contextmanager
def beside(path: Path):
    """Yield a path beside `path` that becomes it if the block ends well: readers see the old file or the new."""
    _remove_abandoned(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=_prefix(path), dir=path.parent)
    os.close(handle)
    try:
        yield Path(partial)
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):  # Ctrl+C just after it got its name
            os.unlink(partial)
        raise


def set_aside(path: Path) -> Path:
    """Rename what stands where something whole is to be, it may be somebody's; its new name."""
    number = 1
    while (aside := path.with_name(f"{path.name}.incomplete{number}")).exists():
        number += 1
    path.rename(aside)
    return aside


def write_text(path: Path, text: str) -> None:
    with beside(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, data) -> None:
    write_text(path, as_json(data))


def as_json(data) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def plain(settings: dict) -> dict:
    """`settings` as JSON can have them: paths as text."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}


def read_json(path: Path) -> dict:
    """The JSON object in `path`; InputError where it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no file {path}; check the path") from None
    except (ValueError, RecursionError):  # no JSON, not UTF-8, a number of 5,000 digits, 100,000 brackets
        content = None
    if not isinstance(content, dict):
        raise InputError(f"{path} is no JSON object; it is damaged, remove it and run again")
    return content
