"""Walls that are not between rooms: who may unpickle, fork, and touch the world at all."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.source import files, imported_names, relative, tree
from tests.support import SRC

SOURCES = [relative(file, SRC) for file in files(SRC)]

# The only places that may, each with its reason.
MAY_UNPICKLE = ("serialize/",)  # so that one review finds every way from bytes to code
MAY_FORK = (
    "executors/pool/zygote.py",
)  # single-threaded at that time; a fork of a threaded process deadlocks sooner or later
MAY_IMPORT_ZMQ = ("link.py",)

PURE = ("dataflow/", "scaling/", "core.py")
EFFECTS = {
    "asyncio", "concurrent.futures.thread", "concurrent.futures.process", "logging", "multiprocessing", "psutil", "select", "selectors",
    "shutil", "signal", "socket", "subprocess", "tempfile", "threading", "time", "zmq",
}  # fmt: skip


def is_in(path: str, places: tuple[str, ...]) -> bool:
    return any(
        path.startswith(place) if place.endswith("/") else path == place or path.endswith(f"/{place}")
        for place in places
    )


def calls(path: str) -> list[tuple[int, str]]:
    """(line, `module.function` or `function`) of each name that the file uses."""
    found = []
    for node in ast.walk(tree(SRC / path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.append((node.lineno, f"{node.value.id}.{node.attr}"))
    return found


@pytest.mark.parametrize("path", [p for p in SOURCES if not is_in(p, MAY_UNPICKLE)])
def test_only_serialize_unpickles(path):
    pickles = {"pickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve"}
    found = [
        f"{path}:{line} {name}"
        for line, name in calls(path)
        if name.split(".")[0] in pickles and "load" in name.lower()
    ]
    found += [
        f"{path}:{line} {name}"
        for line, name in imported_names(SRC / path)
        if name.split(".")[0] in pickles and name.rpartition(".")[2] in {"load", "loads", "Unpickler"}
    ]
    assert found == []


@pytest.mark.parametrize("path", [p for p in SOURCES if not is_in(p, MAY_FORK)])
def test_only_the_zygote_forks(path):
    forks = {"os.fork", "os.forkpty", "pty.fork"}
    assert [f"{path}:{line} {name}" for line, name in calls(path) if name in forks] == []
    assert [f"{path}:{line} {name}" for line, name in imported_names(SRC / path) if name in forks] == []


@pytest.mark.parametrize("path", [p for p in SOURCES if not is_in(p, MAY_IMPORT_ZMQ)])
def test_only_links_know_the_transport(path):
    assert [line for line, name in imported_names(SRC / path) if name.split(".")[0] == "zmq"] == []


@pytest.mark.parametrize("path", [p for p in SOURCES if is_in(p, PURE)])
def test_what_decides_does_nothing(path):
    assert [f"{path}:{line} imports {name}" for line, name in imported_names(SRC / path) if name in EFFECTS] == []
    assert [f"{path}:{line} open()" for line in opens(path)] == []


def opens(path: str) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(tree(SRC / path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"open", "print", "input"}
    ]


def test_there_is_source_to_look_at():
    assert SOURCES
