"""Prints the ten largest modules, functions and constructors, so that growth is seen. Sizes never fail: they are to be looked at."""

from __future__ import annotations

import ast

from tests.architecture.source import files, relative, tree
from tests.support import SRC

SHOWN = 10
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def test_print_sizes(capsys):
    modules, functions, constructors = measure()
    with capsys.disabled():
        for title, sizes in (
            ("modules (lines)", modules),
            ("functions (lines)", functions),
            ("constructors (parameters)", constructors),
        ):
            print(f"\nlargest {title}")
            for size, name in sorted(sizes, reverse=True)[:SHOWN]:
                print(f"  {size:5}  {name}")
    assert modules, "the counting found no module, so it is the counting that is broken"


def measure() -> tuple[list[tuple[int, str]], ...]:
    """(size, name) of each module, function and constructor."""
    modules, functions, constructors = [], [], []
    for file in files(SRC):
        path, module = relative(file, SRC), tree(file)
        modules.append((len(file.read_text(encoding="utf-8").splitlines()), path))
        for owner in ast.walk(module):
            if isinstance(owner, FUNCTIONS):
                functions.append((lines(owner), f"{path}:{owner.lineno} {owner.name}"))
            elif isinstance(owner, ast.ClassDef):
                constructors.append((parameters(owner), f"{path}:{owner.lineno} {owner.name}"))
    return modules, functions, constructors


def lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    first = function.body[0]
    is_doc = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    doc = first.end_lineno - first.lineno + 1 if is_doc else 0
    return function.end_lineno - function.lineno + 1 - doc


def parameters(owner: ast.ClassDef) -> int:
    """Parameters of `__init__`, or the fields of a dataclass or struct."""
    for node in owner.body:
        if isinstance(node, FUNCTIONS) and node.name == "__init__":
            a = node.args
            return len(a.posonlyargs) + len(a.args) + len(a.kwonlyargs) - 1
    return sum(isinstance(node, ast.AnnAssign) for node in owner.body)
