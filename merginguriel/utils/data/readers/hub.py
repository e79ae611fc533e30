"""Data sets on the Hub: their parquet branch, downloaded into the Hub's cache, which alone is read without network."""

import functools
import logging
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.readers import layouts, near_misses
from merginguriel.utils.data.readers.asked import nearest
from merginguriel.utils.data.readers.layouts import Place, languages_said
from merginguriel.utils.data.readers.table import FORMATS
from merginguriel.utils.storage.messages import some

log = logging.getLogger(__name__)

# The Hub makes it of every data set that it can read: <config>/<split>/0000.parquet.
PARQUET_BRANCH = "refs/convert/parquet"
_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def check_id(name: str) -> None:
    """Raise InputError if it can only be a path."""
    if not _ID.fullmatch(name) or Path(name).suffix in (*FORMATS, *near_misses.PACKED):
        raise near_misses.no_such(name)


def locate(
    name: str, language: str, split: str, names: Collection[str], language_column: str | None
) -> tuple[Place, str]:
    """The place of a language's split, and what messages call it.

    A config is a language, or it is `default` or the only one, with a column of languages.
    """
    files = _listed(name)
    if not isinstance(files, str):
        snapshot = _downloaded(name, _choice(name, files, language, split, names))
        for folder in (snapshot, *_configs(snapshot)):
            if place := layouts.locate(folder, language, names):
                return place, _called(place, snapshot, name)
        raise InputError(f"cannot read {split} of {language} from {name}: its parquet files are laid out otherwise")
    for snapshot in _cached(name):
        for folder in (snapshot, *_configs(snapshot)):
            place = layouts.locate(folder, language, names)
            # A config that is the only one in the cache may be another language.
            if place and (not place.mixes_languages or language in languages_said(place.table, language_column)):
                return place, _called(place, snapshot, f"{name} in the Hub's cache")
    raise InputError(
        f"cannot read {split} of {language} from {name}: {files}; the Hub's cache does not have it either: check the "
        "name and the network, or give --dataset-name a folder"
    )


def _called(place: Place, snapshot: Path, source: str) -> str:
    return f"{source} ({Path(place.table.where).relative_to(snapshot)})"


@functools.cache
def _listed(name: str) -> tuple[str, ...] | str:
    """The files of the parquet branch, or why the Hub does not tell. Raises InputError where it says there are none."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        # Not list_repo_files, which tries for half a minute where there is no network.
        siblings = HfApi().dataset_info(name, revision=PARQUET_BRANCH).siblings
        return tuple(file.rfilename for file in siblings or ())
    except (HFValidationError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise InputError(f"cannot read {name} on the Hub: {_reason(error)}; check the name") from None
    except Exception as error:  # huggingface_hub and its HTTP clients, which differ by version, share no base class
        if constants.HF_HUB_OFFLINE:
            return "HF_HUB_OFFLINE is set"
        log.warning("warning: the Hub cannot be asked for %s, its cache is read: %s", name, _reason(error))
        return _reason(error)


def _choice(name: str, files: Collection[str], language: str, split: str, names: Collection[str]) -> list[str]:
    """The files of the branch that hold the split."""
    parquet = [file for file in files if file.endswith(".parquet") and file.count("/") == 2]
    configs = sorted({file.split("/")[0] for file in parquet})
    config = next((known for known in (language, "default") if known in configs), None)
    config = config or (configs[0] if len(configs) == 1 else None)
    if config is None:
        near = nearest(language, configs)
        hint = f"did you mean {some(near)}?" if near else f"it has {some(configs) or 'no parquet files'}"
        raise InputError(f"no {language} in {name}; {hint}")
    splits = {file.split("/")[1] for file in parquet if file.startswith(f"{config}/")}
    chosen = [file for file in parquet if file.split("/")[0] == config and file.split("/")[1] in names]
    if not chosen:
        raise InputError(f"no {split} of {config} in {name}: it has {some(sorted(splits))}")
    return chosen


def _downloaded(name: str, files: list[str]) -> Path:
    """The folder of the snapshot, in which the files are."""
    from huggingface_hub import hf_hub_download

    try:
        paths = [Path(hf_hub_download(name, file, repo_type="dataset", revision=PARQUET_BRANCH)) for file in files]
    except Exception as error:  # as above
        raise InputError(f"cannot read {files[0]} of {name}: {_reason(error)}; check the network") from None
    return paths[0].parents[files[0].count("/")]


def _cached(name: str) -> Iterator[Path]:
    """The snapshots in the Hub's cache: that of the parquet branch, then the others, the newest first."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE).expanduser() / f"datasets--{name.replace('/', '--')}"
    branch = folder / "refs" / PARQUET_BRANCH
    commit = branch.read_text(encoding="utf-8").strip() if branch.is_file() else ""
    snapshots = [path for path in folder.glob("snapshots/*") if path.is_dir()]
    yield from sorted(snapshots, key=lambda path: (path.name != commit, -path.stat().st_mtime, path.name))


def _configs(snapshot: Path) -> list[Path]:
    """The folder that is read where none has the name of the language."""
    folders = [path for path in sorted(snapshot.iterdir()) if path.is_dir()]
    return [path for path in folders if path.name == "default" or len(folders) == 1]


def _reason(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
