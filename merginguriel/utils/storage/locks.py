"""Locks between processes, on file systems that have none too (some of NFS and Lustre)."""

import contextlib
import errno
import logging
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

log = logging.getLogger(__name__)
LockedError = Timeout
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)


@contextlib.contextmanager
def locked(path: Path, timeout: float = -1) -> Iterator[None]:
    """Inside, nobody else is; LockedError where somebody is for `timeout` seconds, by default as long as it takes.

    Where the file system has no locks, `path`.owner stands for one. It names the process that has made it, and what a
    killed one of this machine has left is taken over.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=timeout)
    try:
        lock.acquire()
    except OSError as error:
        if isinstance(error, Timeout) or error.errno not in _NO_LOCKS:
            raise
        log.info("%s: the file system has no locks; a file that names its owner stands for one", path.parent)
        path.unlink(missing_ok=True)
        lock = SoftFileLock(path.with_name(f"{path.name}.owner"), timeout=timeout)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
