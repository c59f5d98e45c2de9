"""Reading plait's source for the tests of its architecture: files, modules, imports."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Import:
    """One import of a module of plait, wherever in the file it stands."""

    file: Path
    line: int
    module: str  # dotted, from `plait` on


def files(src: Path) -> list[Path]:
    """All Python files of the package in `src`, which is the folder `plait`."""
    return sorted(src.rglob("*.py"))


def relative(file: Path, src: Path) -> str:
    """`executors/pool/core.py`."""
    return file.relative_to(src).as_posix()


def tree(file: Path) -> ast.Module:
    """The file, parsed."""
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def walk_runtime(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and _is_type_checking(child.test):
            for other in child.orelse:
                yield other
                yield from walk_runtime(other)
            continue
        yield child
        yield from walk_runtime(child)


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
    return name == "TYPE_CHECKING"


def imports(file: Path, src: Path) -> Iterator[Import]:
    """What the file imports of plait when it runs: absolute and relative, at the top and inside functions."""
    package = ["plait", *file.relative_to(src).parent.parts]
    for node in walk_runtime(tree(file)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "plait":
                    yield Import(file, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module.split(".")[0] == "plait":
                for alias in node.names:
                    below = f"{module}.{alias.name}"
                    yield Import(file, node.lineno, below if exists(below, src) else module)


def exists(module: str, src: Path) -> bool:
    """Whether a dotted name is a module or package here."""
    path = src.joinpath(*module.split(".")[1:])
    return path.is_dir() or path.with_suffix(".py").is_file()


def imported_names(file: Path) -> Iterator[tuple[int, str]]:
    """Every module that the file imports when it runs, of whatever package, as (line, dotted name)."""
    for node in walk_runtime(tree(file)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"
