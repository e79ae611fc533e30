"""What other libraries' errors say, in words for people."""


def one_line(error: Exception) -> str:
    """What a library said of a model, with the advice that this toolkit gives in place of running foreign code."""
    if "trust_remote_code" in str(error):
        return (
            "it needs code of its own (auto_map), which is never run; use a model of an architecture that transformers "
            "has by itself"
        )
    said = " ".join(str(error).split())
    if not said or isinstance(error, (LookupError, TypeError, AttributeError)):  # they are written for programmers
        said = f"{type(error).__name__} {said}"
    return said if len(said) <= 200 else said[:200] + "…"
