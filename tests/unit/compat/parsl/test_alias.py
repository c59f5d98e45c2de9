from __future__ import annotations

import importlib
import importlib.util
import sys
import types

import pytest

import plait.compat.parsl
from plait.compat.parsl._alias import Finder, install


@pytest.mark.parametrize("name", ["", ".app.app", ".dataflow.dflow", ".executors", ".concurrent", ".multiprocessing"])
def test_one_module_has_both_names(name):
    alias = importlib.import_module(f"parsl{name}")
    real = importlib.import_module(f"plait.compat.parsl{name}")
    assert alias is real
    assert real.__name__ == real.__spec__.name == f"plait.compat.parsl{name}"


def test_a_submodule_is_an_attribute_of_its_package():
    importlib.import_module("parsl.dataflow.states")
    assert plait.compat.parsl.dataflow.states is sys.modules["parsl.dataflow.states"]


def test_absent_modules_say_why():
    with pytest.raises(
        ModuleNotFoundError,
        match=r"parsl\.executors\.taskvine yet: it belongs to executors that stand on other systems",
    ) as caught:
        importlib.import_module("parsl.executors.taskvine")
    assert caught.value.name == "parsl.executors.taskvine"


def test_absent_names_of_packages_say_why():
    for line in (
        "from parsl.executors import FluxExecutor",
        "from parsl import MonitoringHub",
        "from plait.compat.parsl.executors import FluxExecutor",
    ):
        with pytest.raises(
            ImportError,
            match=r"(FluxExecutor yet: it belongs to executors that stand|MonitoringHub yet: it belongs to the monitoring)",
        ):
            exec(line)


def test_names_that_nobody_has_are_the_usual_errors():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'parsl\.zork'"):
        importlib.import_module("parsl.zork")
    with pytest.raises(ImportError, match="cannot import name 'zork'"):
        exec("from parsl import zork")
    with pytest.raises(AttributeError, match="has no attribute 'zork'"):
        plait.compat.parsl.zork
    assert not hasattr(plait.compat.parsl, "MonitoringHub")


def test_installing_again_does_nothing():
    install()
    assert sum(isinstance(finder, Finder) for finder in sys.meta_path) == 1


def test_another_parsl_is_not_pushed_aside_while_in_use(monkeypatch):
    other = types.ModuleType("parsl")
    other.__file__ = "/somewhere/parsl/__init__.py"
    monkeypatch.setitem(sys.modules, "parsl", other)
    with pytest.raises(ImportError, match=r"parsl was imported from /somewhere/parsl/__init__\.py before"):
        install()


def test_other_modules_are_none_of_its_business():
    assert Finder().find_spec("parsley", None) is None
    assert Finder().find_spec("json", None) is None
