"""Workers that are forked, in place of new processes, which would import everything anew: seconds each."""

import multiprocessing
import multiprocessing.forkserver
import pickle

FORKED = multiprocessing.get_context("fork")


class Told(FORKED.Process):
    """A worker that knows what a new process would have been told."""

    def __init__(self, *, target, args, **more):
        *told, pipe = args  # which a fork inherits
        super().__init__(target=_work, args=(pickle.dumps((target, told)), pipe), **more)


def _work(told, pipe):
    target, args = pickle.loads(told)  # noqa: S301, what __init__ has just pickled
    target(*args, pipe)


class Workers:
    """What multiprocessing.get_context has by either name, for ours."""

    Pipe, Process = staticmethod(FORKED.Pipe), Told
    set_forkserver_preload = staticmethod(lambda modules: None)


def replace(set_attribute):
    """`set_attribute(module, name, value)`: have multiprocessing give ours."""
    set_attribute(multiprocessing, "get_context", {"spawn": Workers, "forkserver": Workers}.__getitem__)
    set_attribute(multiprocessing.forkserver, "ensure_running", lambda: None)
