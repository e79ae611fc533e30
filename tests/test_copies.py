"""Workers that are copies of a process: they have its imports, the environment of now, and end with their parent."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from running import environment

from merginguriel.utils.jobs import copies, processes

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or torch.cuda.device_count() > 0, reason="workers are new processes here"
)
CODE = """
import os, sys
from merginguriel.utils.jobs import backends, copies, processes

class Says:
    def __call__(self, name, job, report):
        import torch
        loaded = "wave" in sys.modules  # nothing else imports it
        return os.environ.get("SAID"), torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS"), loaded, os.getppid()

class Heard:
    def start(self, *told): pass
    def done(self, number, name, result, seconds): print(name, *result)
    def failed(self, number, name, reason): print("failed", name, reason)

if __name__ == "__main__":
    copies.get_ready(["wave"])
    os.environ["SAID"] = "later"
    processes.in_processes(Says, [("a", None), ("b", None)], 2, Heard())
    print("we are", os.getpid())
"""


def said(code, folder, env, stream="stdout") -> str:
    """What a script of this code prints, or what it logs."""
    script = folder / "script.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, script], env=env, cwd=folder, text=True, capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return getattr(done, stream)


def test_they_are_what_new_processes_would_be(tmp_path):
    given = {name: value for name, value in environment().items() if name != "OMP_NUM_THREADS"}
    *workers, us = [line.split() for line in said(CODE, tmp_path, given).splitlines()]
    assert sorted(one[0] for one in workers) == ["a", "b"]
    for _, later, threads, wanted, loaded, parent in workers:
        assert (later, loaded) == ("later", "True") and threads == wanted and parent != us[-1]


COMPUTING = (
    'processes.in_processes(Says, [("a", None), ("b", None)], 2, Heard())',
    'backends.LocalBackend(2).run(Says, [("a", []), ("b", [])], Heard())',
)


@pytest.mark.parametrize(("threads", "warned"), [("1", 0), (str(processes.cores()), 1)])
def test_more_threads_than_cores_are_warned_of_where_workers_compute(threads, warned, tmp_path):
    """Those that only read, as of reading_ahead.py, do not."""
    warning = f"OMP_NUM_THREADS={threads} for each of 2 workers makes more threads than there are cores"
    given = {**environment(), "OMP_NUM_THREADS": threads}
    assert warning not in said(CODE, tmp_path, given, "stderr")
    code = CODE.replace(*COMPUTING)
    assert code != CODE
    said_of_it = said(code, tmp_path, given, "stderr").count(warning)
    assert said_of_it == (warned if processes.cores() > 1 else 0)


DIES = """
import os, signal, threading
from multiprocessing import process
from merginguriel.utils.jobs import processes

class Make:
    text = ""
    def __init__(self, size): self.text = "x" * size
    def __call__(self): return lambda name, job, report: len(self.text)

class Heard:
    def start(self, *told): pass
    def done(self, number, name, result, seconds): print("done", name)
    def failed(self, number, name, reason): print("failed", name, reason)

start = process.BaseProcess.start

def start_and_stop(self):  # the first, before it reads what it is told
    process.BaseProcess.start = start
    start(self)
    os.kill(self.pid, signal.SIGSTOP)
    threading.Timer(1, os.kill, (self.pid, signal.SIGKILL)).start()

if __name__ == "__main__":
    process.BaseProcess.start = start_and_stop
    processes.in_processes(Make, [("a", 0), ("b", 0), ("c", 0)], 2, Heard())
"""


@pytest.mark.parametrize("size", [100, 210_000, 5_000_000])  # all is in the pipe, almost, not nearly
def test_a_worker_may_die_before_it_has_read_what_it_is_told(size, tmp_path):
    *done, failed = sorted(said(DIES.replace("(Make,", f"(Make({size}),"), tmp_path, environment()).splitlines())
    assert done == ["done b", "done c"] and failed.startswith("failed a its process ended with exit code -9")


@pytest.mark.parametrize(("does", "kind"), [("print", "forkserver"), ("os.abort", "spawn")])
def test_where_a_copy_cannot_use_the_gpu_workers_are_new_processes(does, kind, tmp_path):
    code = f"""
import os, torch
torch.cuda.device_count = lambda: 1
if __name__ == "__main__":
    from merginguriel.utils.jobs import copies
    copies._use_gpu = {does}
    print(copies.context().get_start_method(), copies.context().get_start_method())
"""
    assert said(code, tmp_path, environment()).split() == [kind, kind]


def test_copies_have_this_checkouts_code_wherever_the_command_is_given(tmp_path):
    """A package of the same name lies in the folder, and on PYTHONPATH before ours."""
    for folder in (tmp_path, tmp_path / "elsewhere"):
        (folder / "merginguriel").mkdir(parents=True)
        (folder / "merginguriel/__init__.py").write_text("raise ImportError('another one')")
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import multiprocessing

def tell(pipe):
    import merginguriel.utils.evaluation.nxn_job as ours
    pipe.send(ours.__file__)

if __name__ == "__main__":
    from merginguriel.utils.jobs import copies
    from merginguriel.utils.jobs.job import loaded_by
    context = copies.context(loaded_by({{"cell"}}))
    here, there = context.Pipe()
    context.Process(target=tell, args=(there,)).start()
    there.close()
    print(here.recv())
"""
    given = environment()
    given["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "elsewhere"), given["PYTHONPATH"]])
    assert said(code, tmp_path, given).strip() == str(ROOT / "merginguriel/utils/evaluation/nxn_job.py")


def test_ctrl_c_while_it_imports_is_answered_here_alone(tmp_path):
    code = """
import os, signal, time
from merginguriel.utils.jobs import copies
copies.get_ready()
time.sleep(0.5)
print("ready", flush=True)
time.sleep(60)
"""
    (tmp_path / "script.py").write_text(code)
    process = subprocess.Popen(
        [sys.executable, "script.py"],
        env=environment(),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert errors.count("Traceback") == 1 == errors.count("KeyboardInterrupt") and "script.py" in errors


def test_ctrl_c_while_it_imports_ends_what_was_asked_of_it(tmp_path):
    """More is told to a copy than a pipe holds, so that half of it is there when it would begin."""
    code = """
import functools, os, signal, threading
from merginguriel.utils.jobs import copies, processes

if __name__ == "__main__":
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    processes.in_processes(functools.partial(print, "much" * 100_000), [("a", None)], 1, None)
"""
    (tmp_path / "script.py").write_text("import torch\n" + code)
    done = subprocess.run(
        [sys.executable, "script.py"], env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stderr.count("Traceback") == 1 == done.stderr.count("KeyboardInterrupt")


def test_a_trial_that_cannot_be_made_is_an_error_and_no_endless_wait(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(copies.multiprocessing, "get_context", lambda kind: 1 / 0)
    copies._trial.cache_clear()
    try:
        with pytest.raises(ZeroDivisionError):
            copies._trial().result(timeout=10)
    finally:
        copies._trial.cache_clear()
