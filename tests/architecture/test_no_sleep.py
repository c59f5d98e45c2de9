"""No test sleeps: `tests.support.wait_until` waits for a fact. Tasks may sleep, since being busy is their part in the play.

So a sleep is allowed in a string that is sent to a task or process, in a function decorated with one of plait's decorators, and in
modules named `tasks.py`, which hold bodies of tasks and nothing else.
"""

from __future__ import annotations

import ast
from pathlib import Path

from tests.support import ROOT

TESTS = ROOT / "tests"
APPS = {"python_app", "bash_app", "join_app"}


def sleeps(module: ast.Module) -> list[int]:
    """Lines that call time.sleep, under whatever name."""
    modules, functions = set(), set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            modules |= {alias.asname or "time" for alias in node.names if alias.name == "time"}
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            functions |= {alias.asname or alias.name for alias in node.names if alias.name == "sleep"}
    found = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and any(is_app(d) for d in node.decorator_list):
            return
        if isinstance(node, ast.Call):
            f = node.func
            by_module = (
                isinstance(f, ast.Attribute)
                and f.attr == "sleep"
                and isinstance(f.value, ast.Name)
                and f.value.id in modules
            )
            if by_module or (isinstance(f, ast.Name) and f.id in functions):
                found.append(node.lineno)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(module)
    return found


def is_app(decorator: ast.expr) -> bool:
    if isinstance(decorator, ast.Call):
        decorator = decorator.func
    return (decorator.attr if isinstance(decorator, ast.Attribute) else getattr(decorator, "id", "")) in APPS


def test_no_test_sleeps():
    found = [
        f"{file.relative_to(ROOT)}:{line}"
        for file in sorted(TESTS.rglob("*.py"))
        if file.name != "tasks.py"
        for line in sleeps(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert found == [], "wait for a fact instead: tests.support.wait_until"


def test_the_rule_sees_through_names():
    text = """
import time, time as t
from time import sleep as nap
time.sleep(1); t.sleep(1); nap(1)
@plait.python_app(cores=2)
def task(): time.sleep(1)
script = "time.sleep(1)"
"""
    assert sleeps(ast.parse(text)) == [4, 4, 4]


def test_this_file_is_among_those_looked_at():
    assert Path(__file__) in set(TESTS.rglob("*.py"))
