"""Tables fit a terminal of 80 columns, whatever their rows are called."""

import pytest

from merginguriel.utils.storage.text_lines import COLUMNS, name_width, named


@pytest.mark.parametrize("longest", [5, 36, 37, 90])
def test_no_line_is_wider(longest):
    names, numbers = ["model", "x" * longest], "  0.5" + " " * 39
    width = name_width(names, len(numbers))
    lines = "\n".join(named(name, width, numbers) for name in names).splitlines()
    assert all(len(line) <= max(COLUMNS, longest) for line in lines)
    assert {line.index("0.5") for line in lines if "0.5" in line} == {width + 2}
    assert len(lines) == (2 if longest <= COLUMNS - len(numbers) else 3)
