"""How every command ends: 0 done, 1 some work failed, 2 wrong input, 130 interrupted."""

import contextlib
import functools
import io
import os
import signal
import socket
import sys
import threading

from auto_merge_llm.errors import InputError

from merginguriel.utils.storage.disk import of_disk
from merginguriel.utils.storage.interrupts import is_interrupt
from merginguriel.utils.storage.messages import heard, in_one_line
from merginguriel.utils.training import ranks

INTERRUPTED = "\ninterrupted: run the same command again to go on"


def command(main=None, /, *, on_several_gpus: bool = False):
    """Wrap a command's `main(argv)`: wrong input becomes one line on stderr and exit code 2.

    Anything that is not wrong input keeps its traceback: it is a bug and should look like one. `on_several_gpus`: it
    may be started by torchrun.
    """
    if main is None:
        return functools.partial(command, on_several_gpus=on_several_gpus)

    @functools.wraps(main)
    def run(argv=None):
        write_whatever_the_encoding()
        try:
            with heard():
                if ranks.count() > 1 and not on_several_gpus:
                    raise InputError(f"{main.__module__.rpartition('.')[2]}.py is not for torchrun; start it without")
                return main(argv) or 0
        except KeyboardInterrupt:
            return _interrupted()
        except BrokenPipeError:
            # The reader (head, less) has what it wanted; keep Python's exit flush quiet.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except Exception as error:
            if is_interrupt(error):
                return _interrupted()
            if reason := error if isinstance(error, InputError) else of_disk(error):
                return _refuse(reason)
            raise

    return run


def write_whatever_the_encoding() -> None:
    """Terminals, pipes and files that are not UTF-8 get \\xd7 for a sign that they lack, in place of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def answering_interrupts(seconds: float = 1.5):
    """Inside, Ctrl+C ends the process after `seconds` at the latest, even in a computation that Python cannot leave.

    A backward pass on a CPU can take long. Only for work whose files are whole, or known as half, at any moment.
    """
    reading, writing = socket.socketpair()  # no pipe: Windows takes none
    writing.setblocking(False)
    before, left = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False), threading.Event()

    def watch():
        while received := reading.recv(1):
            if received[0] == signal.SIGINT and not left.wait(seconds):
                print(INTERRUPTED, file=sys.stderr, flush=True)
                os._exit(130)
        reading.close()

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(before)
        writing.close()


def _interrupted() -> int:
    print(INTERRUPTED, file=sys.stderr)
    return 130


def _refuse(message) -> int:
    print("error:", in_one_line(message), file=sys.stderr)
    return 2
