"""How every command ends: 0 done, 1 some work failed, 2 wrong input, 130 interrupted."""

import errno
import functools
import logging
import os
import sys

from auto_merge_llm.errors import InputError


def command(main):
    """Wrap a command's `main(argv)`: wrong input becomes one line on stderr and exit code 2.

    Anything that is not wrong input keeps its traceback: it is a bug and should look like one.
    """

    @functools.wraps(main)
    def run(argv=None):
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
        for library in ("httpx", "httpcore", "datasets", "filelock"):
            logging.getLogger(library).setLevel(logging.WARNING)
        logging.captureWarnings(True)
        try:
            return main(argv) or 0
        except InputError as error:
            return _refuse(error)
        except KeyboardInterrupt:
            print("\ninterrupted: run the same command again to go on", file=sys.stderr)
            return 130
        except BrokenPipeError:
            # The reader (head, less) has what it wanted; keep Python's exit flush quiet.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return _refuse(f"no space left on disk{_where(error)}; free some and run again")
            if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
                return _refuse(f"no permission{_where(error)}; choose another folder or change its rights")
            raise

    return run


def _where(error: OSError) -> str:
    return f" for {error.filename}" if error.filename else ""


def _refuse(message) -> int:
    print("error:", " ".join(str(message).split()), file=sys.stderr)
    return 2
