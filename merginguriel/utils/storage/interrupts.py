"""Ctrl+C that comes back as another error."""


def is_interrupt(error: BaseException | None) -> bool:
    """Whether it was raised over Ctrl+C: libraries that tidy up after it may fail at that, and we at what they say."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False
