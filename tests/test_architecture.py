"""The house: wings import only downwards, in no circle; functions stay small; the map shows the code as it is."""

import re
import sys

import pytest
from running import ROOT

sys.path.insert(0, str(ROOT / "docs"))
import architecture

MODULES = architecture.read_modules(ROOT)
PAIRS = architecture.imports(MODULES)


def write(root, name, *lines):
    file = root / "merginguriel" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines))


def test_every_module_of_utils_is_in_a_known_wing():
    folder = ROOT / "merginguriel/utils"
    assert [file.name for file in folder.glob("*.py")] == ["__init__.py"]
    assert {path.parent.name for path in folder.glob("*/*.py")} <= set(architecture.WINGS)


def test_no_modules_import_each_other_in_a_circle():
    assert architecture.circles(PAIRS) == []


def test_no_wing_imports_from_one_above_it():
    assert architecture.upward(MODULES) == []


def test_no_script_imports_another():
    scripts = {name for name, module in MODULES.items() if module.wing == architecture.SCRIPTS}
    # python -m merginguriel is the command merginguriel.
    assert [pair for pair in PAIRS if scripts.issuperset(pair) and pair[0] != "merginguriel.__main__"] == []


def test_functions_are_small():
    functions = architecture.functions(MODULES.values())
    assert [function for function in functions if function.lines > 60 or function.parameters > 8] == []


def test_the_map_is_of_this_code():
    assert architecture.drawn(architecture.PICTURE) == architecture.facts(MODULES), "run python docs/architecture.py"


def test_the_page_says_of_every_wing_what_the_map_says():
    rows = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").splitlines()
    for wing in {module.wing for module in MODULES.values() if module.source} & set(architecture.WINGS):
        ending = f" | {architecture.WINGS[wing]} |"
        assert any(row.startswith(f"| [{wing}](") and row.endswith(ending) for row in rows), wing


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_what_pages_name_is_there(page):
    text, makefile = (ROOT / page).read_text(encoding="utf-8"), (ROOT / "Makefile").read_text()
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert ((ROOT / page).parent / link).exists(), link
    for path in re.findall(r"`([\w/]+(?:\.py|/))`", text):
        assert any((folder / path).exists() for folder in (ROOT, ROOT / "merginguriel/utils")), path
    for target in re.findall(r"^make (\w+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_a_map_of_a_made_house(tmp_path):
    write(
        tmp_path, "show.py", "from merginguriel.utils.data import split", "from merginguriel.utils.storage import names"
    )
    write(
        tmp_path, "utils/data/split.py", "from merginguriel import x", "from merginguriel.utils.storage.names import y"
    )
    write(
        tmp_path, "utils/storage/names.py", "def late(self, a, *, b, **c):", "    import merginguriel.utils.data.split"
    )
    modules = architecture.read_modules(tmp_path)
    split, names = "merginguriel.utils.data.split", "merginguriel.utils.storage.names"
    assert architecture.upward(modules) == [(names, split)]
    assert architecture.circles(architecture.imports(modules)) == [[split, names]]
    assert architecture.functions(modules.values()) == [architecture.Function(f"{names}.late", 2, 3)]
    assert architecture.facts(modules)["arrows"] == {
        "data -> storage": 1,
        "scripts -> data": 1,
        "scripts -> storage": 1,
        "storage -> data": 1,
    }


def test_numbers_of_a_house_without_wings(tmp_path):
    for name in ("utils/a.py", "utils/b.py", "../submodules/auto_merge_llm/auto_merge_llm/c.py"):
        write(tmp_path, name, "from merginguriel.utils import b", "", "", "def f(a):", "    return a")
    table = architecture.numbers(tmp_path).splitlines()
    assert "| files | 2 | 1 |" in table
    assert "| most parameters | 1 (f) | 1 (f) |" in table
    assert "| arrows between wings | 1 | 1 |" in table
    assert "| circles | 0 | 0 |" in table
