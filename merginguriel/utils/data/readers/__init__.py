"""Rows of data in the forms that data come in.

A new format (how a file is read) is a line in `table.FORMATS`, a new layout (where files of languages and splits lie) a
class in `layouts.LAYOUTS`, a new place to fetch from a branch in `read.read_rows`.
"""

from merginguriel.utils.data.readers.read import Rows, languages_in, read_rows

__all__ = ["Rows", "languages_in", "read_rows"]
