"""Reading and writing at a position of an open file, on systems without pread and pwrite (Windows) too."""

import os
import threading

# Windows would change line ends in what is opened without it.
BINARY = getattr(os, "O_BINARY", 0)
# Threads share a descriptor, and its position where there is no call that takes one.
_MOVING = threading.Lock()


def read_into(descriptor: int, target: memoryview, position: int) -> int:
    """Fill the start of `target` from `position` on; the number of bytes, 0 at the end of the file."""
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [target], position)
    with _MOVING:
        os.lseek(descriptor, position, os.SEEK_SET)
        content = os.read(descriptor, len(target))
    target[: len(content)] = content
    return len(content)


def read_at(descriptor: int, size: int, position: int) -> bytes:
    """`size` bytes from `position` on, fewer at the end of the file."""
    content = bytearray(size)
    rest, read = memoryview(content), 0
    while read < size and (count := read_into(descriptor, rest[read:], position + read)):
        read += count
    return bytes(content[:read])


def write_at(descriptor: int, data: memoryview, position: int) -> int:
    """Write the start of `data` at `position`; the number of bytes, which may be fewer."""
    if hasattr(os, "pwrite"):
        return os.pwrite(descriptor, data, position)
    with _MOVING:
        os.lseek(descriptor, position, os.SEEK_SET)
        return os.write(descriptor, data)
