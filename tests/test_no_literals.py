"""A task is data: what MASSIVE is like stands in the wing of data and nowhere else."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "merginguriel/utils/data"
# Columns, number of labels, patterns of codes and names of splits' columns, as whole texts or numbers.
LITERALS = ("utt", "intent", "scenario", "partition", 60, 59, "[a-z]{2}-[A-Z]{2}", "af-ZA", "en-US", "sq-AL")
# Where users of the seed's commands rely on it: defaults of flags, and columns of tables that the seed wrote.
ALLOWED = {
    "merginguriel/utils/evaluation/per_label.py": {"intent"},
    "merginguriel/utils/flags/merge_command.py": {"sq-AL"},
    "merginguriel/utils/flags/training_flags.py": {"en-US"},
    "merginguriel/utils/models/mini_encoder.py": {"utt", "partition"},
    "merginguriel/run_iterative_training.py": {"sq-AL"},
    "merginguriel/utils/merging/cost.py": {60},  # seconds
    "merginguriel/utils/results/column_types.py": {60},  # signs
}
MODULES = [path for root in ("merginguriel", "submodules") for path in sorted((ROOT / root).rglob("*.py"))]


def told(tree: ast.Module) -> set:
    """The values of all literals but docstrings and the texts of `help=`."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    ignored = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    ignored |= {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg in ("help", "metavar")
        for part in ast.walk(node.value)
    }
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in ignored]
    return {node.value for node in constants if isinstance(node.value, (str, int)) and node.value is not True}


@pytest.mark.parametrize("path", [path for path in MODULES if DATA not in path.parents], ids=lambda path: path.stem)
def test_no_module_but_the_datas_knows_massive(path):
    name = str(path.relative_to(ROOT))
    found = told(ast.parse(path.read_text(encoding="utf-8"))) & set(LITERALS)
    assert found == ALLOWED.get(name, set())


def test_the_test_sees_what_it_looks_for():
    source = '"""utt"""\nx = "intent"\ndef f(help="y"):\n    "partition"\n    return g(help="af-ZA") + 60\n'
    assert told(ast.parse(source)) & set(LITERALS) == {"intent", 60}
