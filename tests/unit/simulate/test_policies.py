from __future__ import annotations

import sys

import pytest

from plait.errors import ConfigurationError
from plait.executors.htex import placement
from plait.simulate import simulate
from plait.simulate.policies import SHIPPED, checked, name_of, policy_named


def test_shipped_ones_have_names():
    for name, made in SHIPPED.items():
        policy = policy_named(name)
        assert type(policy) is made
        assert name_of(policy) == name
    assert isinstance(policy_named("Fewest_Free"), placement.FewestFree)
    assert name_of(None) == "spread"


def test_those_of_a_module_and_of_a_file(tmp_path, monkeypatch):
    text = (
        "class Mine:\n    def rank(self, manager):\n        return manager.name\n\n"
        "class Seeded(Mine):\n    def __init__(self, seed):\n        self.seed = seed\n\n"
        "class Selector:\n    def sort_managers(self, ready, names):\n        return sorted(names)\n\n"
        "def make():\n    return Mine()\n\n"
        "class Needs:\n    def __init__(self, what):\n        pass\n\n"
        "ready = Mine()\nnothing = 3\n"
    )
    (tmp_path / "policies_of_a_test.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for where in ("policies_of_a_test", "policies_of_a_test.py"):
        assert type(policy_named(f"{where}:Mine")).__name__ == "Mine"
        assert name_of(policy_named(f"{where}:ready")) == "Mine"
        assert type(policy_named(f"{where}:make")).__name__ == "Mine"
        assert policy_named(f"{where}:Seeded", seed=7).seed == 7
        assert isinstance(policy_named(f"{where}:Selector"), placement.Selected)
        for what, says in (("nothing", "no placement policy"), ("gone", "no gone"), ("Needs", "cannot be made")):
            with pytest.raises(ConfigurationError, match=says):
                policy_named(f"{where}:{what}")
    monkeypatch.delitem(sys.modules, "policies_of_a_test")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("wild", "expected one of"),
        ("wild:", "expected"),
        ("no_such_module:X", "cannot be imported"),
        ("gone.py:X", "no such file"),
    ],
)
def test_unknown_ones(name, says):
    with pytest.raises(ConfigurationError, match=says):
        policy_named(name)


def test_objects_are_looked_at_too():
    mine = placement.Pack()
    assert checked(mine) is mine
    for value in (5, placement.Pack):
        with pytest.raises(ConfigurationError, match="policy: .* is no placement policy"):
            simulate({"bag": {"a": {"tasks": 1, "duration": 1}}}, policy=value)
