"""The one exception for wrong input, shared by the merge library and the commands."""


class InputError(ValueError):
    """Input that a user can correct. The message is one line: what, where, what to do.

    Commands print it as ``error: …`` and exit with 2; nothing may be left half-written.
    """
