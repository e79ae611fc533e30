"""Runs our scripts in children of one process that has imported all that they need: seconds less for each.

Workers and scripts that a script starts are its forks as well, for they would import everything anew: what workers are
told goes through pickle, as to a new process. Tests that start a script by an interpreter of its own have real ones.

With --bare it imports what others wrote alone, and forgets where this project is installed: scripts then find their
packages by themselves.

Reads lines of JSON and answers each. script, flags, folder, environment, output, first: starts the script; its process
id. What it prints goes to the files stdout and stderr in the folder `output`; `first` is Python that runs before.
ended: a process id; its exit code, or null while it runs. ends: the same, when it has ended.
"""

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import subprocess
import sys
import threading

import datasets  # noqa: F401
import forked
import langcodes  # noqa: F401
import matplotlib.backends.backend_agg  # noqa: F401
import pandas  # noqa: F401
import scipy.cluster.hierarchy
import scipy.stats  # noqa: F401
import torch
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, XLMRobertaModel  # noqa: F401


def run_here(command, *, env=None, run=subprocess.run, **more):
    """What a script of ours has subprocess.run start, be it another one, or a program."""
    if command[0] != sys.executable:
        return run(command, env=env, **more)
    child = os.fork() or work(command[1], command[2:], env)
    return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def become(script, flags, folder, environment, output, first):
    """Be the process that a shell would have started."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f"{output}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    forked.replace(setattr)
    subprocess.run = run_here
    exec(first, {})
    work(script, flags, environment)


def work(script, flags, environment):
    """The script from its first line to the end of this process."""
    os.environ.clear()
    os.environ.update(environment)
    sys.argv, sys.path[0] = [script, *flags], script if os.path.isdir(script) else os.path.dirname(script)
    code = 1
    try:
        runpy.run_path(script, run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        threading._shutdown()  # waits for threads, idle ones of pools too, as the end of an interpreter does
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def get_ready():
    """Do once what every child would do."""
    torch.set_num_threads(1)
    transformers.utils.logging.get_logger()
    with contextlib.suppress(ModuleNotFoundError):  # of transformers 5: compiles a thousand patterns
        importlib.import_module("transformers.conversion_mapping").get_checkpoint_conversion_mapping("xlm-roberta")
    if "--bare" in sys.argv:
        sys.meta_path[:] = [
            finder for finder in sys.meta_path if "__editable__" not in getattr(finder, "__module__", "")
        ]
    else:
        utils = importlib.import_module("merginguriel.utils")
        for module in pkgutil.walk_packages(utils.__path__, "merginguriel.utils."):
            importlib.import_module(module.name)
        importlib.import_module("merginguriel.utils.data.task").USUAL_BASES.add("tiny")
    gc.collect()
    gc.freeze()  # else each collection in a child goes through all of this, and copies it


def answer(request):
    if "script" in request:
        return os.fork() or become(**request)
    ((wanted, child),) = request.items()
    ended, status = os.waitpid(child, 0 if wanted == "ends" else os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def serve():
    get_ready()
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    serve()
