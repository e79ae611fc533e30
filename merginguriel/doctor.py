"""Say what is installed here, which device computes, where models are kept, what is missing and what for.

Exit code 1 where something is missing that every command needs; --quiet prints that alone.
"""

if not __package__:
    import _checkout  # noqa: F401

import importlib
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from merginguriel import __version__
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.storage import messages

# What the commands cannot do without, by the names on PyPI.
NEEDED = (
    "torch", "transformers", "datasets", "accelerate", "huggingface_hub", "safetensors", "sentencepiece", "numpy",
    "pandas", "pyarrow", "scipy", "matplotlib", "lang2vec", "langcodes", "peft", "pyyaml", "filelock", "tqdm",
    "argcomplete",
)  # fmt: skip
# Name on PyPI -> what it is for, and what installs it.
OPTIONAL = {
    "ray": "--backend ray: pip install 'merginguriel[ray]'",
    "wandb": "--wandb and --enable-wandb: pip install wandb",
    "pytest": "make test: pip install 'merginguriel[test]'",
}
GIGABYTE = 10**9


@dataclass(frozen=True)
class Finding:
    """One line; `is_good` is false where every command needs what is missing."""

    about: str
    words: str
    is_good: bool = True

    def __str__(self) -> str:
        return f"{'' if self.is_good else '!':2}{self.about:<19}{self.words}"


def findings() -> Iterator[Finding]:
    """Everything that there is to say, in order."""
    yield Finding("merginguriel", f"{__version__} in {Path(__file__).parent}")
    yield Finding("python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    yield from map(_needed, NEEDED)
    yield _device()
    yield _cache()
    yield Finding("free", f"{_free_memory()} of memory, {_free_disk()} on the disk of {Path.cwd()}")
    yield _file("similarity matrix", _matrix())
    yield _file("mini corpus", next(Path(__file__).with_name("mini_corpus").glob("*.json"), None))
    page = Path(__file__).parent / "utils/report/page.html"
    yield _file("page of reports", page if page.is_file() else None)
    for name, what_for in OPTIONAL.items():
        version = _version(name)
        yield Finding(name, version or f"not here; only for {what_for}")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _needed(name: str) -> Finding:
    version = _version(name)
    return Finding(name, version or f"missing: pip install {name}, or pip install -e . in the checkout", bool(version))


def _device() -> Finding:
    from merginguriel.utils.jobs.processes import cores

    try:
        torch = importlib.import_module("torch")
    except Exception as error:  # of a broken installation: whatever its libraries raise
        return Finding("GPU", f"unknown, torch cannot be imported: {str(error).splitlines()[0]}", False)
    if not torch.cuda.is_available():
        return Finding("GPU", f"none; {cores()} processor cores compute")
    cards = [torch.cuda.get_device_properties(card) for card in range(torch.cuda.device_count())]
    return Finding("GPU", "; ".join(f"{card.name}, {_gigabytes(card.total_memory)}" for card in cards))


def _cache() -> Finding:
    try:
        from huggingface_hub import constants
    except ImportError:
        return Finding("Hub's cache", "unknown without huggingface_hub")
    folder = Path(constants.HF_HUB_CACHE)
    kept = sum(1 for _ in folder.glob("models--*")) if folder.is_dir() else 0
    offline = ", offline: HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else ""
    return Finding("Hub's cache", f"{folder}, {kept} models{offline}")


def _free_memory() -> str:
    from merginguriel.utils.jobs.memory import free_memory

    return _gigabytes(free_memory())


def _free_disk() -> str:
    return _gigabytes(shutil.disk_usage(os.curdir).free)


def _matrix() -> Path | None:
    from merginguriel.utils.similarity.matrix import SPARSE_CSV, find_matrix

    return find_matrix(SPARSE_CSV)


def _file(about: str, found: Path | None) -> Finding:
    words = str(found.parent if about == "mini corpus" else found) if found else "missing: install merginguriel again"
    return Finding(about, words, found is not None)


def _gigabytes(size: int) -> str:
    return f"{size / GIGABYTE:.1f} GB"


@command
def main(argv: Sequence[str] | None = None) -> int:
    ArgumentParser("doctor.py", description=__doc__).parse_args(argv)
    missing = []
    for one in findings():
        if not (one.is_good and messages.is_quiet()):
            print(one, flush=True)
        missing += [] if one.is_good else [one.about]
    if not messages.is_quiet():
        print(f"\nneeded and missing: {', '.join(missing)}" if missing else "\neverything that is needed is here")
    return 1 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
