"""Runs a command in this process on a damaged world, and judges how it ended.

An input is wrong or right: a command ends with 2 and one line, having touched nothing, or it ends well. What is right
then, the tests ask an oracle. An exception, a hang or a foreign file that changed is a fault whatever the input.
"""

import contextlib
import hashlib
import importlib
import io
import os
import resource
import shutil
import signal
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 60  # a command that takes longer hangs
MEMORY = 8 << 30  # bytes that a command may reserve beside what the process has


@dataclass(frozen=True)
class Verdict:
    """How a command ended: exit code, what it printed, and which files are new."""

    code: int
    out: str
    err: str
    new: frozenset[str]

    @property
    def refused(self) -> bool:
        return self.code == 2


def snapshot(root: Path) -> dict[str, tuple]:
    """Path -> what it is, of all below `root`: links are named, not followed."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            state = path.lstat()
            if path.is_symlink():
                content: object = os.readlink(path)
            elif stat.S_ISREG(state.st_mode):
                content = (state.st_size, state.st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
            else:
                content = None
            found[str(path.relative_to(root))] = (stat.S_IFMT(state.st_mode), content)
    return found


def judge(root: Path, script: str, flags: Sequence[object], *, partly: bool = False, keeps: bool = False) -> Verdict:
    """Run merginguriel/`script` in `root`.

    `partly`: it may also end with 1, where single files or jobs were left out, each told in a line. `keeps`: what it
    had finished before it met what is wrong may stay, and is to be right.
    """
    before = snapshot(root)
    code, out, err = _call(root, script, [str(flag) for flag in flags])
    after = snapshot(root)
    changed = sorted(name for name, state in before.items() if after.get(name) != state)
    assert not changed, f"touched {changed}"
    new = frozenset(after.keys() - before.keys())
    assert code in ((0, 1, 2) if partly else (0, 2)), (code, err)
    assert "Traceback" not in out + err, err
    if code == 2:
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and errors[0].isprintable() and len(errors[0]) < 1500, err
        assert keeps or not new, f"refused, and left {sorted(new)}"
    if code == 1:
        assert err.strip() or out.strip()
    return Verdict(code, out, err, new)


def _call(root: Path, script: str, flags: list[str]) -> tuple[int, str, str]:
    main = importlib.import_module(f"merginguriel.{script}").main
    # As a terminal's: what UTF-8 cannot say is an error on stdout, and escaped on stderr.
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", write_through=True)
    with contextlib.chdir(root) if hasattr(contextlib, "chdir") else _inside(root):
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _bounded():
            try:
                code = main(flags)
            except SystemExit as stop:
                code = stop.code
    return code, *(stream.buffer.getvalue().decode() for stream in (out, err))


@contextlib.contextmanager
def _inside(root: Path) -> Iterator[None]:  # Python 3.10 has no contextlib.chdir
    before = os.getcwd()
    os.chdir(root)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """Raise where the block hangs, or reserves memory for what a damaged file claims to hold."""

    def hang(*_):
        raise TimeoutError(f"no end after {SECONDS} s")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(SECONDS)
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def copy_of(world: Path, scratch: Path) -> Iterator[Path]:
    """A copy to be damaged, gone afterwards. No two have one path: commands keep in memory what they read."""
    copy_of.made = number = getattr(copy_of, "made", 0) + 1
    root = scratch / f"world{number}"
    shutil.copytree(world, root, symlinks=True)
    try:
        yield root
    finally:
        for folder, _, _ in os.walk(root):
            os.chmod(folder, 0o700)
        shutil.rmtree(root)
