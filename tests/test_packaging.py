"""What `pip install` puts into an environment is enough, away from every checkout."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from running import ROOT

from merginguriel.utils.data import lang2vec_files
from merginguriel.utils.similarity.matrix import SPARSE_CSV

BUILT_OF = ("pyproject.toml", "setup.py", "MANIFEST.in", "LICENSE", "README.md", SPARSE_CSV, f"{SPARSE_CSV}.license")
BUILD = (
    "import os; from setuptools import build_meta as b; b.build_sdist('.')\n"
    "import glob, tarfile; tarfile.open(glob.glob('*.tar.gz')[0]).extractall('unpacked', filter='data')\n"
    "os.chdir(glob.glob('unpacked/*')[0]); b.build_wheel(os.environ['TO'])"
)
READ = (
    "from merginguriel.utils.similarity.matrix import SPARSE_CSV, find_matrix, read_matrix\n"
    "print(find_matrix(SPARSE_CSV), len(read_matrix(find_matrix(SPARSE_CSV)).targets))"
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder where pip has installed the wheel of the source archive of a copy of the checkout."""
    copy, wheels, site = (tmp_path_factory.mktemp(name) for name in ("copy", "wheels", "site"))
    for part in ("merginguriel", "submodules"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in BUILT_OF:
        shutil.copy(ROOT / name, copy)
    environment = {**os.environ, "TO": str(wheels)}
    done = subprocess.run(
        [sys.executable, "-c", BUILD], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", site, next(wheels.glob("*.whl"))], check=True)
    return site


def test_a_merge_in_an_empty_folder(installed, models_root, tmp_path):
    """By the short name, with nothing of the checkout on the path; corpus and matrix are the package's."""
    merge = ["merge", "--mode", "average", "--target-lang", "af-ZA", "--num-languages", "3", "--dataset-name", "mini"]
    done = called(installed, tmp_path, *merge, "--base-model", "tiny", "--models-root", models_root)
    assert done.returncode == 0 and "average_merge_af-ZA_3merged" in done.stdout, done.stderr
    assert (tmp_path / "merged_models/average_merge_af-ZA_3merged_tiny/model.safetensors").is_file()


def test_the_doctor_finds_everything_in_the_package(installed, tmp_path):
    done = called(installed, tmp_path, "doctor")
    assert done.returncode == 0 and done.stdout.endswith("everything that is needed is here\n"), done.stdout
    found = dict(re.findall(r"^  (\S.*?)  +(.*)$", done.stdout, re.MULTILINE))
    assert found["merginguriel"].endswith(f" in {installed / 'merginguriel'}")
    for part in ("similarity matrix", "mini corpus", "page of reports"):
        assert found[part].startswith(str(installed / "merginguriel")), part


def called(installed, folder, *arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "merginguriel", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_matrix_is_where_the_package_is(installed, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", READ], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == [str(installed / "merginguriel" / SPARSE_CSV), "49"], done.stderr
    licence = installed / "merginguriel" / f"{SPARSE_CSV}.license"
    assert "CC-BY-SA-4.0" in licence.read_text(encoding="utf-8")


def test_every_module_and_data_file_is_in_the_package(installed):
    packages = [ROOT / "merginguriel", ROOT / "submodules/auto_merge_llm/auto_merge_llm"]
    wanted = {
        path.relative_to(package.parent)
        for package in packages
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {path for path in wanted if not (installed / path).exists()} == set()


def test_lang2vec_is_found_beside_its_own_command(tmp_path, monkeypatch):
    """An environment's bin/ has lang2vec.py, and is first on the path of every command there."""
    found = lang2vec_files.folder()
    (tmp_path / "lang2vec.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert found is not None and lang2vec_files.folder() == found
