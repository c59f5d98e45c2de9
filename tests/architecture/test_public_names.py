"""The public names are those that the documentation lists, and each of them can be had."""

from __future__ import annotations

import re

import plait
from tests.support import ROOT

PAGE = ROOT / "docs" / "reference" / "public-names.md"


def documented() -> list[str]:
    """First column of the page's tables."""
    return re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_what_is_exported_is_what_is_documented():
    assert sorted(plait.__all__) == sorted(documented())


def test_every_public_name_is_there_and_explains_itself():
    for name in plait.__all__:
        value = getattr(plait, name)
        if callable(value):
            assert value.__doc__, f"plait.{name} has no docstring"


def test_dir_shows_them():
    assert set(plait.__all__) <= set(dir(plait))
