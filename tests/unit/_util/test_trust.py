from __future__ import annotations

import os

import pytest

from plait._util import trust


@pytest.mark.parametrize(
    ("mode", "only_root", "why"),
    [
        (0o755, False, ""),
        (0o775, False, ""),
        (0o777, False, "others may write it"),
        (0o1777, False, ""),
    ],
)
def test_who_may_write_it(tmp_path, mode, only_root, why):
    tmp_path.chmod(mode)
    assert trust.untrusted(tmp_path, only_root=only_root) == why


def test_others_are_not_trusted(tmp_path, monkeypatch):
    owner = os.stat(tmp_path).st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    monkeypatch.setattr(trust, "ROOT", owner + 2)
    assert trust.untrusted(tmp_path) == f"it belongs to user {owner}"
    monkeypatch.setattr(os, "getuid", lambda: owner)
    assert trust.untrusted(tmp_path) == ""
    assert trust.untrusted(tmp_path, only_root=True) == f"it belongs to user {owner}"
    monkeypatch.setattr(trust, "ROOT", owner)
    tmp_path.chmod(0o755)
    assert trust.untrusted(tmp_path, only_root=True) == ""


def test_what_is_not_there_is_not_trusted(tmp_path):
    assert trust.untrusted(tmp_path / "x") == "it cannot be looked at (No such file or directory)"
