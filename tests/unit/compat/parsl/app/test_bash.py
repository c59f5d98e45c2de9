from __future__ import annotations

import pytest

from plait.compat import parsl
from plait.compat.parsl.app.bash import BashApp, remote_side_bash_executor
from plait.compat.parsl.config import Config
from plait.errors import BashExitFailure, MissingOutputs


def test_the_command_runs_here_and_now(tmp_path):
    assert remote_side_bash_executor(lambda stdout=None: "echo hello", stdout="out") == 0
    assert (tmp_path / "out").read_text() == "hello\n"


def test_its_failures_are_those_of_apps():
    def fail(code, outputs=()):
        return f"exit {code}"

    with pytest.raises(BashExitFailure) as caught:
        remote_side_bash_executor(fail, 3)
    assert (caught.value.app_name, caught.value.exitcode) == ("fail", 3)
    with pytest.raises(MissingOutputs):
        remote_side_bash_executor(fail, 0, outputs=["nowhere"])


def test_the_class_makes_apps():
    app = BashApp(lambda word, stdout=None: f"echo {word}", cache=True)
    assert app.cache
    with parsl.load(Config(initialize_logging=False)):
        assert app("x", stdout=("out", "w")).result() == 0
