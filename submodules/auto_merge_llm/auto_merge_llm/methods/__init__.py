"""The registry of merging methods. Importing it is cheap; torch is loaded with the method itself."""

from __future__ import annotations

import ast
import dataclasses
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auto_merge_llm.errors import InputError

if TYPE_CHECKING:
    from auto_merge_llm.methods.base import Method

# Name -> one-line summary. The module methods/<name>.py binds METHOD to its class.
METHODS = {
    "linear": "weighted average of the sources",
    "slerp": "great-circle interpolation, source after source",
    "karcher": "mean direction on the sphere, for any number of sources",
    "task_arithmetic": "base plus the scaled sum or mean of the task vectors",
    "ties": "task vectors trimmed, signs elected, agreeing ones averaged",
    "dare": "task vectors dropped at random and rescaled, then averaged",
    "dare_ties": "task vectors dropped at random and rescaled, then ties",
    "breadcrumbs": "task vectors without largest and smallest elements, summed",
    "stock": "between base and average, by how far the task vectors agree",
    "regmean": "linear layers matched on their inputs, measured on data",
    "fisher": "weighted by Fisher information measured before",
    "fisher_dataset": "weighted by Fisher information measured on data",
    "fisher_simple": "norm-weighted average: a heuristic, no Fisher information",
    "widen": "columns weighted by how far they diverge from the base",
    "adamerging": "task vectors by coefficients learnt on unlabelled text",
    "passthrough": "one source, unchanged",
}


def create(name: str, **hyperparameters: Any) -> Method:
    """The method `name` with these hyper-parameters.

    Raises InputError for an unknown method or hyper-parameter, or a value out of its range.
    """
    if name not in METHODS:
        raise InputError(f"no merging method {name!r}; choose one of {', '.join(METHODS)}")
    kind = importlib.import_module(f"{__name__}.{name}").METHOD
    known = [field.name for field in dataclasses.fields(kind)]
    unknown = sorted(set(hyperparameters) - set(known))
    if unknown:
        raise InputError(
            f"{name} has no hyper-parameter {', '.join(unknown)}; "
            + (f"it takes {', '.join(known)}" if known else "it takes none")
        )
    method: Method = kind(**hyperparameters)
    return method


def defaults(name: str) -> dict[str, Any]:
    """The hyper-parameters of the method `name` and their defaults, as its file states them: torch is not loaded.

    For readers of results, which only ask what differs from them. A default is a literal.
    """
    statements = ast.parse((Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")).body
    classes = {node.name: node for node in statements if isinstance(node, ast.ClassDef)}
    bound = next(node for node in statements if isinstance(node, ast.Assign) and _is_name(node.targets[0], "METHOD"))
    kind = classes[ast.unparse(bound.value)]
    of_base = {
        alias.name: (node.module or "").rpartition(".")[2]
        for node in statements
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    found: dict[str, Any] = {}
    for base in kind.bases:
        if of_base.get(ast.unparse(base)) in METHODS:
            found |= defaults(of_base[ast.unparse(base)])
    fields = (node for node in kind.body if isinstance(node, ast.AnnAssign) and node.value is not None)
    return found | {
        ast.unparse(field.target): ast.literal_eval(field.value)  # type: ignore[arg-type]
        for field in fields
        if not ast.unparse(field.annotation).startswith("ClassVar")
    }


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
