"""A full disk, in whatever words a library says it."""

import errno

NO_SPACE = "no space left on the disk; free some and run the same command again"


def is_full(error: BaseException | None) -> bool:
    """Whether this error, or one that it was raised over, is that of a full disk or of a quota.

    torch complains of a position in a file, over the error of the system; safetensors has its words alone.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
