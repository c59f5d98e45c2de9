"""A configuration is checked when it is made; each refusal names the parameter, its value and what was expected."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import plait
from plait.config import EXIT_MODES, Config
from plait.errors import ConfigurationError
from plait.scaling.policy import Simple


def test_the_default_is_one_pool_of_processes_on_all_cores():
    (executor,) = Config().executors
    assert isinstance(executor, plait.ProcessPoolExecutor)
    assert 1 <= executor.max_workers <= (os.cpu_count() or 1)
    assert Config(None).executors[0] is not Config([]).executors[0]  # none is shared


def test_what_was_given_stays():
    executors = [plait.ThreadPoolExecutor("a"), plait.ThreadPoolExecutor("b")]
    config = Config(iter(executors), retries=1.5, run_dir=Path("runs"), exit_mode="wait", strategy=None)
    assert config.executors == tuple(executors)
    assert (config.retries, config.run_dir, config.exit_mode, config.strategy) == (1.5, "runs", "wait", "none")


@pytest.mark.parametrize("mode", EXIT_MODES)
def test_exit_modes(mode):
    assert Config(exit_mode=mode).exit_mode == mode


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("exit_mode", "leave", "one of cleanup, skip, wait"),
        ("strategy", "fast", "one of none, simple"),
        ("strategy", 3, "one of none, simple, htex_auto_scale, demand, or a policy, which has decide(view)"),
        ("strategy", Simple, "one of none, simple, htex_auto_scale, demand, or a policy"),
        ("retries", -1, "a number, 0 or more"),
        ("retries", "2", "a number, 0 or more"),
        ("retries", True, "a number, 0 or more"),
        ("retries", float("nan"), "a number, 0 or more"),
        ("max_losses", -1, "a whole number, 0 or more"),
        ("max_losses", 1.5, "a whole number, 0 or more"),
        ("max_pending", 0, "a whole number from 1, or None"),
        ("internal_tasks_max_threads", 0, "a whole number from 1"),
        ("strategy_period", 0, "seconds, more than 0"),
        ("max_idletime", -1, "seconds, 0 or more"),
        ("usage_tracking", 4, "a level from 0 to 3"),
        ("monitoring", object, "None"),
        ("retry_handler", "f", "a function or None"),
        ("std_autopath", "f", "a function or None"),
        ("garbage_collect", 1, "True or False"),
        ("initialize_logging", None, "True or False"),
        ("progress", "yes", "True, False or None"),
        ("memoizer", object(), "a plait.Memoizer or None"),
        ("dependency_resolver", object(), "a DependencyResolver or None"),
    ],
)
def test_a_value_that_cannot_work_is_named(name, value, expected):
    with pytest.raises(ConfigurationError) as caught:
        Config(**{name: value})
    assert str(caught.value).startswith(f"Config({name}=")
    assert f"expected {expected}" in str(caught.value)


@pytest.mark.parametrize("executors", [5, [5], ["threads"], [plait.ThreadPoolExecutor], plait.ThreadPoolExecutor()])
def test_executors_are_executors(executors):
    with pytest.raises(ConfigurationError, match=r"^Config\(executors="):
        Config(executors)


def test_a_class_in_the_place_of_an_executor_gets_a_hint():
    with pytest.raises(ConfigurationError, match="with parentheses"):
        Config([plait.ThreadPoolExecutor])


def test_labels_differ():
    with pytest.raises(ConfigurationError, match="threads is there more than once"):
        Config([plait.ThreadPoolExecutor(), plait.ThreadPoolExecutor()])


def test_unknown_parameters_are_refused():
    with pytest.raises(TypeError):
        Config(retires=3)


def test_repr_shows_every_field():
    text = repr(Config([plait.ThreadPoolExecutor("t")]))
    assert text.startswith("Config(\n    executors=(ThreadPoolExecutor(label='t'),),\n")
    assert "    retries=0,\n" in text


def test_a_strategy_may_be_a_policy():
    policy = Simple()
    assert Config(strategy=policy).strategy is policy
