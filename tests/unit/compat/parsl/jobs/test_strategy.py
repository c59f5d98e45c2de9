from __future__ import annotations

from types import SimpleNamespace

import pytest

from plait.compat.parsl.jobs.strategy import Strategy
from plait.errors import ConfigurationError
from plait.scaling.policy import HtexAutoScale, NoScaling


def test_the_policy_of_a_name():
    assert isinstance(Strategy(strategy="htex_auto_scale", max_idletime=1).policy, HtexAutoScale)
    assert isinstance(Strategy(strategy=None, max_idletime=1).policy, NoScaling)


def test_a_name_that_there_is_not():
    with pytest.raises(ConfigurationError, match=r"'fast'.*simple"):
        Strategy(strategy="fast", max_idletime=1)


class Executor(SimpleNamespace):
    """Notes what it is told."""

    def __init__(self, label="a"):
        super().__init__(label=label, told=[])
        self.poll_facade = lambda: self.told.append("look")
        self.scale_as = lambda *by: self.told.append(by)


def test_executors_are_asked_to_look():
    executor, strategy = Executor(), Strategy(strategy="simple", max_idletime=1)
    strategy.add_executors([executor])
    strategy.strategize([executor])
    strategy.strategize([])
    assert executor.told == ["look"]
    assert list(strategy.executors) == ["a"]


def test_one_of_somebody_s_own_decides_alone():
    class Mine(Strategy):
        def strategize(self, executors):
            for executor in executors:
                executor.told.append("mine")

    executor, strategy = Executor(), Mine(strategy="simple", max_idletime=1)
    strategy.strategize([executor])
    assert (executor.told, strategy.start_with(), strategy.is_own()) == (["mine"], "none", True)
    assert not Strategy(strategy=None, max_idletime=1).is_own()


@pytest.mark.parametrize("name", ["none", "simple", "htex_auto_scale", "demand"])
def test_what_one_of_ones_own_leaves_to_the_base_plait_does(name):
    class Mine(Strategy):
        def _general_strategy(self, executors, *, strategy_type):
            super()._general_strategy(executors, strategy_type=strategy_type)

    executor, strategy = Executor(), Mine(strategy=name, max_idletime=7)
    strategy.strategize([executor])
    strategy.strategize([executor])
    assert executor.told == [*([] if name == "none" else [(name, 7, 5.0)]), "look", "look"]


def test_a_part_of_it_may_be_another():
    class Mine(Strategy):
        def _strategy_simple(self, executors):
            executors[0].told.append("mine")

    executor = Executor()
    Mine(strategy="simple", max_idletime=1).strategize([executor])
    assert executor.told == ["mine"]
    strategy = Strategy(strategy=None, max_idletime=1)
    strategy.strategize = lambda executors: executor.told.append("by attribute")
    strategy.strategize([executor])
    assert (executor.told, strategy.is_own()) == (["mine", "by attribute"], True)
