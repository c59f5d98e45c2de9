"""Names of packages are loaded when they are first used."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

PACKAGES = ["plait.launchers", "plait.providers", "plait.executors"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_is_there(package):
    module = importlib.import_module(package)
    names = {name: getattr(module, name) for name in module.__all__}
    assert names
    assert all(value.__name__ == name for name, value in names.items())
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_name_that_is_not(package):
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Abacus'"):
        importlib.import_module(package).Abacus


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_is_loaded_before(package):
    code = f"import sys, {package}; print([m for m in sys.modules if m.startswith('{package}.')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
