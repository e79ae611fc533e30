"""What a run leaves behind: merge_details.txt, results.json, predictions; written whole or not at all."""

import contextlib
import json
import os
import platform
import shutil
import tempfile
from pathlib import Path

from auto_merge_llm.errors import InputError


@contextlib.contextmanager
def whole_folder(path: Path, *, overwrite: bool = False):
    """Yield an empty folder beside `path` that becomes `path` if the block ends well, else vanishes.

    Raises InputError where `path` exists and `overwrite` is false, or is nothing that the toolkit made.
    """
    check_replaceable(path, overwrite)
    _remove_abandoned(path)
    new_parents = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.{_owner()}", dir=path.parent))
    try:
        yield partial
        # mkdtemp makes private folders; the result gets the rights that the user's umask gives.
        mask = os.umask(0)
        os.umask(mask)
        partial.chmod(0o777 & ~mask)
        if path.exists():
            replaced = Path(tempfile.mkdtemp(prefix=f".{path.name}.{_owner()}", dir=path.parent))
            path.rename(replaced / path.name)
            partial.rename(path)
            shutil.rmtree(replaced)
        else:
            partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        with contextlib.suppress(OSError):  # somebody else's work is in it by now
            for parent in new_parents:
                parent.rmdir()
        raise


# Every folder that a command makes has one of these in it; no other folder is ever replaced, unless it is empty.
MARKS = ("merge_details.json", "merge_details.txt", "results.json", "training.json", "adaptation.json", "texts.json")


def check_replaceable(path: Path, overwrite: bool) -> None:
    """Raise InputError unless a folder may be put at `path`."""
    if not path.exists() and not path.is_symlink():
        return
    if not overwrite:
        raise InputError(f"{path} exists already; use --overwrite to replace it or choose another output folder")
    is_empty = path.is_dir() and not any(path.iterdir())
    if not is_empty and not any((path / mark).is_file() for mark in MARKS):
        raise InputError(
            f"{path} is nothing that this toolkit made, so it is not replaced; remove it yourself or "
            "choose another output folder"
        )


def _owner() -> str:
    return f"partial-{platform.node()}-{os.getpid()}-"


def _remove_abandoned(path: Path) -> None:
    """Remove what runs of this machine that were killed left beside `path`."""
    for left in path.parent.glob(f".{path.name}.partial-{platform.node()}-*"):
        process = left.name.split("-")[-2]
        if process.isdigit() and not _is_running(int(process)):
            shutil.rmtree(left, ignore_errors=True)


def _is_running(process: int) -> bool:
    if os.name == "nt":  # there the signal would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextlib.contextmanager
def beside(path: Path):
    """Yield a path beside `path` that becomes it if the block ends well: readers see the old file or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        yield Path(partial)
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
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
