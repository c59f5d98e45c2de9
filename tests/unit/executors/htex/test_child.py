"""The interchange's process, seen from the driver."""

from __future__ import annotations

import os
import select
import sys

import pytest

from plait.errors import ConfigurationError
from plait.executors.htex import messages as m
from plait.executors.htex.child import Child, find_command, own_command
from plait.executors.htex.settings import InterchangeSettings
from tests.support import wait_until
from tests.unit.executors.htex.helpers import FAKE, SETTINGS


@pytest.fixture
def start():
    children = []

    def run(*command, settings=SETTINGS):
        child = Child(command or FAKE)
        children.append(child)
        child.tell(settings)
        return child

    yield run
    for child in children:
        child.kill()
        child.how_it_ended()
        child.close()


def first(child):
    select.select([child.stream], [], [], 20)
    return child.stream.receive()[0][0]


def test_it_is_told_its_settings_and_answers_over_its_socket(start):
    child = start()
    assert first(child) == m.Listening("", ["127.0.0.1"], 54321)


def test_it_leads_a_session_of_its_own_and_holds_nothing_of_the_driver(start):
    child = start()
    first(child)
    assert os.getsid(child.pid) == child.pid != os.getsid(0)
    assert len(os.listdir(f"/proc/{child.pid}/fd")) <= 6


def test_settings_are_in_no_argument_and_no_environment(start):
    child = start(
        settings=InterchangeSettings(
            **{**{f: getattr(SETTINGS, f) for f in SETTINGS.__struct_fields__}, "server_secret": "CANARY"}
        )
    )
    first(child)
    for name in ("cmdline", "environ"):
        with open(f"/proc/{child.pid}/{name}", "rb") as file:
            assert b"CANARY" not in file.read()


def test_how_it_ended_and_the_last_that_it_said(start):
    child = start(sys.executable, "-c", "import sys; print('x' * 5000, file=sys.stderr); sys.exit('no luck')")
    how = child.how_it_ended(20)
    assert how.startswith("it ended with exit status 1; it said: ")
    assert how.endswith("no luck")
    assert len(how) < 2100

    killed = start()
    killed.kill()
    assert killed.how_it_ended() == "it was ended by SIGKILL"


def test_one_that_does_not_end_is_ended(start):
    child = start()
    first(child)
    assert child.how_it_ended(0.05) == "it was ended by SIGKILL"
    wait_until(lambda: child.stream.receive() is None)


def test_a_command_that_cannot_be_started():
    with pytest.raises(ConfigurationError, match=r"/not/there.*No such file.*interchange_launch_cmd"):
        Child(["/not/there"])


def test_one_for_which_there_is_no_file_leaves_none_open(monkeypatch):
    def fails(_):
        raise OSError(24, "too many files")

    monkeypatch.setattr("plait.executors.htex.child.anonymous_file", fails)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="too many files") as caught:
        Child(FAKE)
    assert len(os.listdir("/proc/self/fd")) == len(before)
    del caught


@pytest.mark.parametrize(
    ("tokens", "text"),
    [(["/not/there"], "no program '/not/there'"), ([], "expected a list of words"), ([3], "expected a list")],
)
def test_commands_are_looked_at_early(tokens, text):
    with pytest.raises(ConfigurationError, match=text):
        find_command(tokens)


def test_plaits_own_command_is_this_interpreter_and_this_copy():
    assert own_command()[0] == sys.executable
    assert "plait.executors.htex.interchange" in own_command()[2]
    assert find_command(own_command()) == own_command()


def test_settings_for_one_that_has_ended_already_are_no_error(start):
    child = start(sys.executable, "-c", "pass")
    child.how_it_ended(20)
    other = Child([sys.executable, "-c", "pass"])
    other.how_it_ended(20)
    other.tell(SETTINGS)
    other.close()
