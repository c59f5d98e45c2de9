from __future__ import annotations

import os

import pytest

from plait._util import trust
from plait.configfile import system
from plait.errors import ConfigurationError


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file that only "root" can write: the user of the test."""
    tmp_path.chmod(0o755)
    path = tmp_path / "rules.toml"
    path.touch(0o644)
    path.chmod(0o644)
    monkeypatch.setattr(trust, "ROOT", os.stat(path).st_uid)
    monkeypatch.setattr(system, "SYSTEM", str(tmp_path / "none"))
    monkeypatch.delenv("PLAIT_SYSTEM_CONFIG", raising=False)
    return path


def test_most_machines_have_none(file):
    assert system.files() == []


def test_the_systems_file_counts_and_the_variable_adds_one(file, monkeypatch):
    monkeypatch.setattr(system, "SYSTEM", str(file))
    assert system.files() == [str(file)]
    monkeypatch.setenv("PLAIT_SYSTEM_CONFIG", str(file))
    assert system.files() == [str(file), str(file)]


def test_rules_that_a_user_may_not_read_are_an_error(file, monkeypatch):
    monkeypatch.setattr(system, "SYSTEM", str(file))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ConfigurationError, match=r"rules\.toml: you may not read .* let everybody read"):
        system.files()

    def stat(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", stat)  # its folder
    with pytest.raises(ConfigurationError, match="let everybody read"):
        system.files()


def test_a_file_that_is_tried_stands_for_all(file, monkeypatch):
    monkeypatch.setattr(system, "SYSTEM", str(file))
    monkeypatch.setattr(system, "tried", ["new.toml"])
    assert system.files() == ["new.toml"]


def test_a_file_that_users_may_write_is_refused(file, monkeypatch):
    monkeypatch.setenv("PLAIT_SYSTEM_CONFIG", str(file))
    file.chmod(0o666)
    with pytest.raises(ConfigurationError, match=r"rules.toml: others may write it; expected a file.* only root"):
        system.files()
    file.chmod(0o644)
    file.parent.chmod(0o777)
    with pytest.raises(ConfigurationError, match="others may write it"):
        system.files()
    file.parent.chmod(0o755)
    assert system.files()
    monkeypatch.setattr(trust, "ROOT", os.getuid() + 1)
    with pytest.raises(ConfigurationError, match=f"it belongs to user {os.getuid()}"):
        system.files()


def test_a_file_that_is_not_there_is_an_error(file, monkeypatch):
    monkeypatch.setenv("PLAIT_SYSTEM_CONFIG", str(file.parent / "x"))
    with pytest.raises(ConfigurationError, match="cannot be looked at"):
        system.files()
