"""Which variables a process can be started with."""

from __future__ import annotations

import subprocess
import sys

import pytest

from plait._util.environment import can_be_set


@pytest.mark.parametrize(("name", "value"), [("A", "x"), ("A", ""), ("é", "ü\udcff\n"), ("A B", " ")])
def test_these_can(name, value):
    assert can_be_set(name, value)
    subprocess.run([sys.executable, "-S", "-E", "-c", ""], env={name: value}, check=True)


def test_nothing_stands_for_removal():
    assert can_be_set("A", None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "x"),
        ("A=B", "x"),
        ("A", "x\0y"),
        ("A\0", "x"),
        ("A", "\ud800"),
        ("\ud800", "x"),
        (3, "x"),
        ("A", 3),
        ("A", b"x"),
    ],
)
def test_these_cannot(name, value):
    assert not can_be_set(name, value)
