from __future__ import annotations

import importlib.metadata
import sys

from plait._util.version import plait_version


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
