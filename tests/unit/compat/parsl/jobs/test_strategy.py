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


def test_executors_are_asked_to_look():
    looked = []
    strategy = Strategy(strategy="simple", max_idletime=1)
    strategy.add_executors([SimpleNamespace(label="a", poll_facade=lambda: looked.append("a"))])
    strategy.strategize()
    strategy.strategize([])
    assert looked == ["a"]
    assert list(strategy.executors) == ["a"]
