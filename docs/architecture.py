"""The map of the code, drawn from its own imports: `python docs/architecture.py` writes docs/architecture.svg.

The source is read, never imported. `--numbers [ROOT]` prints what a tree measures, one without wings included: there
every module of utils is a wing of its own.
"""

import argparse
import ast
import html
import json
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PICTURE = HERE / "architecture.svg"
SCRIPTS, LIBRARY = "scripts", "auto_merge_llm"
# From the roof to the ground: what each wing holds. It imports only from those below it.
WINGS = {
    SCRIPTS: "one file a command: parse, call, print",
    "api": "the commands as functions of Python",
    "report": "the page, its pictures, tables and sentences",
    "flags": "the parser, shared groups of flags, exit codes",
    "results": "result rows, baselines, comparison, tables",
    "iterative": "training and merging in turns",
    "ensembles": "votes, the ensemble job",
    "merging": "modes, sources and weights, the plan, the merge, sweeps",
    "adaptation": "a model adapted to a target by unlabelled text",
    "training": "one Trainer set-up, trainings in parts and in batches",
    "evaluation": "one model on one language, N×N, logits, statistics",
    "jobs": "a list of jobs to done or failed: workers, backends, shards",
    "similarity": "URIEL, sparse matrices, measured transfer",
    "models": "folders of models, the initial checkpoint, texts to logits",
    "data": "tasks, readers, languages, the mini corpus",
    "storage": "atomic files, names of folders, what a number rests on",
    LIBRARY: "merge methods, and the executor that streams them",
}
Pairs = set[tuple[str, str]]


@dataclass(frozen=True)
class Module:
    name: str  # merginguriel.utils.data.task
    wing: str
    source: str

    @property
    def lines(self) -> int:
        return len(self.source.splitlines())


@dataclass(frozen=True)
class Function:
    name: str
    lines: int
    parameters: int


def read_modules(root: Path) -> dict[str, Module]:
    """Every module of the toolkit and of the merge library, by name."""
    found = {}
    for package in (root / "merginguriel", root / "submodules/auto_merge_llm/auto_merge_llm"):
        for file in sorted(package.rglob("*.py")):
            parts = [package.name, *file.relative_to(package).with_suffix("").parts]
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = Module(name, _wing(name), file.read_text(encoding="utf-8"))
    return found


def _wing(name: str) -> str:
    package, *inner = name.split(".")
    if package == LIBRARY:
        return LIBRARY
    return inner[min(1, len(inner) - 1)] if inner[:1] == ["utils"] else SCRIPTS


def imports(modules: dict[str, Module]) -> Pairs:
    """(importing, imported) module, those inside of functions too.

    A package that contains the importing module does not count: it is loaded before.
    """
    return {
        (module.name, name)
        for module in modules.values()
        for node in ast.walk(ast.parse(module.source))
        for name in _imported(node, modules)
        if not f"{module.name}.".startswith(f"{name}.")
    }


def _imported(node: ast.AST, modules: dict[str, Module]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in modules)
    elif isinstance(node, ast.ImportFrom) and node.module:
        # What is imported from a package is a module of it or a name in its __init__.py.
        found = (f"{node.module}.{alias.name}" for alias in node.names)
        whole = (name if name in modules else node.module for name in found)
        yield from (name for name in whole if name in modules)


def arrows(modules: dict[str, Module]) -> Counter[tuple[str, str]]:
    """How many imports of one module by another lead from wing to wing."""
    wings = ((modules[importing].wing, modules[imported].wing) for importing, imported in imports(modules))
    return Counter((above, below) for above, below in wings if above != below)


def upward(modules: dict[str, Module]) -> list[tuple[str, str]]:
    """Imports of a module in a wing above the importing one."""
    floor = {wing: number for number, wing in enumerate(WINGS)}
    return sorted(pair for pair in imports(modules) if floor[modules[pair[0]].wing] > floor[modules[pair[1]].wing])


def circles(pairs: Pairs) -> list[list[str]]:
    """The largest groups of modules that all import each other, directly or through others."""
    reached = {name: _reached(name, pairs) for name, _ in pairs}
    groups = {
        frozenset(other for other in others if name in reached.get(other, ()))
        for name, others in reached.items()
        if name in others
    }
    return sorted(sorted(group) for group in groups)


def _reached(start: str, pairs: Pairs) -> set[str]:
    found: set[str] = set()
    to_do = {start}
    while to_do:
        to_do = {imported for importing, imported in pairs if importing in to_do} - found
        found |= to_do
    return found


def functions(modules: Iterable[Module]) -> list[Function]:
    """Every function and method, those inside of others too; self and cls are no parameters."""
    found = []
    for module in modules:
        for node in ast.walk(ast.parse(module.source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                taken = node.args
                named = [*taken.posonlyargs, *taken.args, *taken.kwonlyargs, taken.vararg, taken.kwarg]
                count = sum(given is not None and given.arg not in ("self", "cls") for given in named)
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                found.append(Function(f"{module.name}.{node.name}", lines, count))
    return found


def numbers(root: Path) -> str:
    """What a tree measures, as a table in Markdown; empty files are left out."""
    modules = read_modules(root)
    parts = [
        {name: module for name, module in modules.items() if module.source and (module.wing == LIBRARY) is library}
        for library in (False, True)
    ]
    toolkit, library = (_measures(part, modules) for part in parts)
    rows = [f"| {name} | {value} | {library[name]} |" for name, value in toolkit.items()]
    return "\n".join(["| | merginguriel | auto_merge_llm |", "|---|---|---|", *rows])


def _measures(part: dict[str, Module], modules: dict[str, Module]) -> dict[str, str]:
    lines, inside = [module.lines for module in part.values()], functions(part.values())
    longest = max(inside, key=lambda function: function.lines)
    widest = max(inside, key=lambda function: function.parameters)
    own = {pair for pair in imports(modules) if pair[0] in part}
    between = [(modules[above].wing, modules[below].wing) for above, below in own]
    crossing = [(above, below) for above, below in between if above != below]
    return {
        "files": f"{len(lines)}",
        "lines": f"{sum(lines)}",
        "median lines of a file": f"{statistics.median(lines):.0f}",
        "longest file": f"{max(lines)}",
        "longest function": f"{longest.lines} ({longest.name.rpartition('.')[2]})",
        "most parameters": f"{widest.parameters} ({widest.name.rpartition('.')[2]})",
        "arrows between wings": f"{len(crossing)}",
        "pairs of wings that they join": f"{len(set(crossing))}",
        "circles": f"{len(circles(own))}",
    }


def facts(modules: dict[str, Module]) -> dict[str, dict[str, int]]:
    """What the picture shows, as it is kept in the picture's metadata."""
    return {
        "modules": {wing: sum(m.wing == wing and bool(m.source) for m in modules.values()) for wing in WINGS},
        "arrows": {f"{above} -> {below}": count for (above, below), count in sorted(arrows(modules).items())},
    }


def drawn(picture: Path) -> dict[str, dict[str, int]]:
    """The facts that a picture was drawn from."""
    found = re.search("<dc:description>(.*?)</dc:description>", picture.read_text(encoding="utf-8"), re.DOTALL)
    return json.loads(html.unescape(found[1])) if found else {}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", nargs="?", type=Path, default=PICTURE, help="an .svg, or a .png to look at")
    parser.add_argument("--numbers", nargs="?", type=Path, const=HERE.parent, metavar="ROOT", help="print them instead")
    arguments = parser.parse_args(argv)
    if arguments.numbers is None:
        from architecture_picture import draw

        draw(facts(read_modules(HERE.parent)), WINGS, arguments.picture)
    elif (arguments.numbers / "merginguriel").is_dir():
        print(numbers(arguments.numbers))
    else:
        parser.error(f"no folder merginguriel in {arguments.numbers}; give the top of a checkout")


if __name__ == "__main__":
    main()
