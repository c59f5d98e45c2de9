from __future__ import annotations

import importlib.metadata
import sys

import pytest

from plait._util.version import installed_versions, loaded_versions, other_versions, plait_version


def test_it_is_the_one_that_is_installed():
    assert plait_version() == importlib.metadata.version("plait")


def test_the_first_on_the_path_counts(tmp_path, monkeypatch):
    (tmp_path / "plait-9.9.dist-info").mkdir()
    (tmp_path / "plaiting-1.0.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", ["/does/not/exist", str(tmp_path), *sys.path])
    assert plait_version() == "9.9"


def test_one_that_is_not_installed_has_none(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    assert plait_version() == ""


@pytest.fixture
def folders(tmp_path, monkeypatch):
    for name in (
        "a/Numpy-2.1.0",
        "a/zope.thing-1.0",
        "a/some_lib-0.1",
        "b/numpy-1.0",
        "b/plait-3.0",
        "b/cloudpickle-3.1",
    ):
        (tmp_path / f"{name}.dist-info").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "a"), "/does/not/exist", str(tmp_path / "b")])


def test_versions_are_those_of_the_first_folder(folders):
    assert installed_versions() == {
        "numpy": "2.1.0", "zope_thing": "1.0", "some_lib": "0.1", "plait": "3.0", "cloudpickle": "3.1"
    }  # fmt: skip


def test_those_that_are_imported_count(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "some_lib", None)
    monkeypatch.delitem(sys.modules, "numpy", raising=False)
    assert loaded_versions() == {"some_lib": "0.1", "cloudpickle": "3.1"}


def test_other_versions_are_told_and_missing_ones_are_not(folders):
    wanted = {"numpy": "1.26.4", "cloudpickle": "3.1", "missing": "1"}
    assert other_versions(wanted) == ["numpy 2.1.0, not 1.26.4"]
    assert other_versions({}) == []
