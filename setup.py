"""Puts what lies at the top of a checkout into the package that is built of it; all else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = "sparsed_language_similarity_matrix_unified.csv"


class BuildWithMatrix(build_py):
    """Also copies the similarity matrix and its licence, which an editable install reads where they are."""

    def run(self):
        super().run()
        if not self.editable_mode:
            for name in (SHIPPED, f"{SHIPPED}.license"):
                shutil.copy(Path(__file__).with_name(name), Path(self.build_lib) / "merginguriel")


setup(cmdclass={"build_py": BuildWithMatrix})
