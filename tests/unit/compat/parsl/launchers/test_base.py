from __future__ import annotations

import copy

from plait.compat.parsl.launchers import SimpleLauncher
from plait.compat.parsl.launchers.base import Launcher, WithoutFolder, with_folder


class Old(Launcher):
    """Written before launchers got a folder."""

    def __init__(self, what):
        super().__init__(debug=False)
        self.what = what

    def __call__(self, command, tasks_per_node, nodes_per_block):
        return f"{self.what} {tasks_per_node} {nodes_per_block} {command}"


def test_a_launcher_of_three_parameters_is_called_with_three():
    launcher = with_folder(Old("run"))
    assert launcher("date", 1, 2, "/folder") == "run 1 2 date"
    assert (launcher.what, launcher.debug) == ("run", False)
    assert copy.deepcopy(launcher)("date", 1, 2, "") == "run 1 2 date"
    assert repr(launcher) == repr(Old("run"))


def test_others_stay_as_they_are():
    simple = SimpleLauncher()
    assert with_folder(simple) is simple
    assert with_folder(None) is None
    assert with_folder(Launcher) is Launcher  # for the provider to refuse
    assert not isinstance(simple, WithoutFolder)
