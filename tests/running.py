"""Where the project is, and the process from which its scripts are started."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def environment() -> dict:
    """In which scripts run from a bare checkout."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "submodules/auto_merge_llm")])}


def renaming(part: str, what: str) -> str:
    """Python to run `first`: before a file or folder gets a name that has `part` in it, `what` is done."""
    return (
        "import os, time\nrename_ = os.rename\n"
        f"def rename(a, b):\n    if {part!r} in str(b): {what}\n    rename_(a, b)\n"
        "os.rename = rename"
    )


class Zygote:
    """The process of tests/zygote.py."""

    def __init__(self, checkout: Path | None = None, **variables: str):
        """`checkout`: whose scripts find their packages by themselves; `variables`: of the environment, beside ours."""
        script = str(Path(__file__).with_name("zygote.py"))
        self.root = checkout or ROOT
        self.environment = {**environment(), **variables}
        if checkout:
            del self.environment["PYTHONPATH"]
        self._process = subprocess.Popen(
            [sys.executable, script, *(["--bare"] if checkout else [])],
            env=self.environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, **request):
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


class Started:
    """A script at work. It leads a process group of its own, as what a terminal starts."""

    def __init__(self, zygote: Zygote, script, flags, folder: Path, output: Path, first: str = "", **variables: str):
        """`first`: Python that it runs before; what it prints goes to files in `output`; `variables`: as above."""
        self.args, self._zygote, self._output = [script, *map(str, flags)], zygote, output
        self._code: int | None = None
        self.pid: int = zygote.ask(
            script=str(zygote.root / script),
            flags=self.args[1:],
            folder=str(folder),
            output=str(output),
            environment={**zygote.environment, **variables},
            first=first,
        )

    def poll(self) -> int | None:
        """Its exit code, once it has ended."""
        if self._code is None:
            self._code = self._zygote.ask(ended=self.pid)
        return self._code

    def kill(self, sent: int = signal.SIGKILL, *, group: bool = False) -> None:
        (os.killpg if group else os.kill)(self.pid, sent)

    def end(self, timeout: float = 240) -> subprocess.CompletedProcess:
        """Wait for it; what takes longer than `timeout` seconds is killed."""
        if self._code is None:
            watch = threading.Timer(timeout, self.kill)
            watch.start()
            self._code = self._zygote.ask(ends=self.pid)
            watch.cancel()
        shown = [file.read_text() if file.exists() else "" for file in map(self._output.joinpath, ("stdout", "stderr"))]
        return subprocess.CompletedProcess(self.args, self._code, *shown)
