"""A full disk, in whatever words a library says it."""

import errno
import re

# What safetensors, torch (three ways) and numpy say, who have an error of their own.
_SAID = re.compile(
    r"No space left on device|inline_container\.cc:\d+\] \. unexpected pos|PytorchStreamWriter failed writing"
    r"|iostream error|\d+ requested and \d+ written"
)
NO_SPACE = "no space left on the disk; free some and run the same command again"


def is_full(error: BaseException | None) -> bool:
    """Whether this error, or one that it was raised over, is that of a full disk or of a quota."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if _SAID.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def of_disk(error: Exception) -> str | None:
    """What to say of an error that a full disk or a path has caused; None for any other, which is a bug."""
    if is_full(error):
        return NO_SPACE
    # A path that the user gave is a folder, a file, too long, forbidden, …
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot use {error.filename}: {error.strerror}; check the path and its rights"
    loop = "Symlink loop from "  # of pathlib, before Python 3.13
    if isinstance(error, RuntimeError) and str(error).startswith(loop):
        return f"cannot use {str(error).removeprefix(loop)}: a link that leads to itself; remove it"
    return None
