from __future__ import annotations

import pytest

from plait.launchers import Launcher, SingleNodeLauncher, WrappedLauncher


def test_a_launcher_is_a_function_of_the_command():
    class Echo(Launcher):
        def __call__(self, command, tasks_per_node, nodes_per_block, script_dir=""):
            return f"echo {command}"

    assert Echo()("x", 1, 1) == "echo x"


def test_it_needs_its_function():
    with pytest.raises(TypeError):
        Launcher()


def test_its_text_can_be_written_into_a_configuration():
    assert repr(WrappedLauncher("nice")) == "WrappedLauncher(debug=True, prepend='nice')"
    assert eval(repr(SingleNodeLauncher(fail_on_any=True))).fail_on_any
