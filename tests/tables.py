"""What commands print as tables."""

import re


def whole_rows(printed: str) -> list[str]:
    """Its lines, with rows of long names, whose numbers stand in the next line, in one."""
    return re.sub(r"\n {20,}(?=[\d.])", "  ", printed).splitlines()
