"""Paths that other processes are told."""

import os
import sys
from pathlib import Path

from plait._util.paths import search_path


def test_entries_that_python_passes_over_are_left_out(monkeypatch):
    monkeypatch.setattr(sys, "path", ["", "lib", Path("src"), None, b"x"])
    assert search_path() == [os.getcwd(), "lib"]
