from __future__ import annotations

import inspect
import warnings

import pytest

import plait
from plait.compat.parsl.config import Config
from plait.compat.parsl.dataflow.memoization import BasicMemoizer
from plait.compat.parsl.executors.base import ParslExecutor
from plait.compat.parsl.executors.threads import ThreadPoolExecutor
from plait.compat.parsl.logconfigs.noop import NoopLogging
from plait.errors import ConfigurationError

DEFAULTS = {
    "memoizer": None, "dependency_resolver": None, "exit_mode": "cleanup", "garbage_collect": True, "internal_tasks_max_threads": 10,
    "retries": 0, "retry_handler": None, "run_dir": "runinfo", "std_autopath": None, "strategy": "simple", "strategy_period": 5,
    "max_idletime": 120.0, "monitoring": None, "usage_tracking": 0, "project_name": None, "initialize_logging": True,
}  # fmt: skip


def test_parameters_are_upstreams_in_their_order_with_their_defaults():
    parameters = list(inspect.signature(Config).parameters.values())
    assert [p.name for p in parameters[:-1]] == ["executors", *DEFAULTS]
    config = Config()
    assert {name: getattr(config, name) for name in DEFAULTS} == DEFAULTS
    (executor,) = config.executors
    assert (executor.label, executor.max_threads) == ("threads", 2)
    assert isinstance(executor, ParslExecutor)


def test_no_executors_mean_the_default():
    assert [e.label for e in Config(executors=[]).executors] == ["threads"]


def test_executors_may_be_assigned():
    config = Config()
    config.executors = [ThreadPoolExecutor(label="other")]
    assert [e.label for e in config.executors] == ["other"]
    with pytest.raises(ConfigurationError, match="executors=3"):
        config.executors = 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"retries": "x"}, {"usage_tracking": 4}, {"usage_tracking": -1}, {"exit_mode": "never"}, {"strategy": "zz"}, {"garbage_collect": 1},
        {"executors": [ThreadPoolExecutor(), ThreadPoolExecutor()]}, {"executors": [ThreadPoolExecutor]}, {"executors": 3}, {"executors": ["threads"]},
        {"initialize_logging": "yes"}, {"monitoring": object()}, {"dependency_resolver": 3}, {"memoizer": 3}, {"run_dir": 3}, {"project_name": 3},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_work_is_refused_at_once(wrong):
    with pytest.raises(ConfigurationError):
        Config(**wrong)


def test_an_unknown_parameter_is_a_type_error():
    with pytest.raises(TypeError, match="unexpected keyword argument 'zork'"):
        Config(zork=1)


@pytest.mark.parametrize(
    "removed",
    [
        {"app_cache": True},
        {"app_cache": False},
        {"checkpoint_mode": None},
        {"checkpoint_files": []},
        {"checkpoint_period": None},
    ],
    ids=str,
)
def test_removed_parameters_that_ask_for_nothing_warn_once(removed):
    with pytest.warns(FutureWarning, match=f"{next(iter(removed))}=.* upstream has removed") as caught:
        config = Config(**removed)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert (config.memoizer is not None and not config.memoizer.memoize) == (removed == {"app_cache": False})


@pytest.mark.parametrize(
    "asks",
    [
        {"checkpoint_mode": "task_exit"},
        {"checkpoint_files": ["runinfo/000/checkpoint"]},
        {"checkpoint_period": "00:01:00"},
    ],
)
def test_checkpoints_are_refused_not_ignored(asks):
    with pytest.raises(ConfigurationError, match="plait does not have checkpoints yet"):
        Config(**asks)


def test_checkpoints_are_not_ignored_either_when_they_are_assigned():
    """As upstream's guide does it with a bundled configuration."""
    config = Config()
    for name, value in (
        ("checkpoint_mode", "task_exit"),
        ("checkpoint_period", "01:00:00"),
        ("checkpoint_files", ["x"]),
    ):
        with pytest.raises(ConfigurationError, match=rf"{name}=.*plait does not have checkpoints yet"):
            setattr(config, name, value)
    with pytest.warns(FutureWarning, match="upstream has removed") as caught:
        config.app_cache = False
    assert caught[0].filename == __file__
    assert not config.memoizer.memoize
    with pytest.warns(FutureWarning, match="upstream has removed"):
        config.checkpoint_files = []


def test_usage_tracking_may_be_a_truth_value():
    assert Config(usage_tracking=True).as_plait().usage_tracking == 1


def test_strategy_none_is_deprecated():
    with pytest.warns(DeprecationWarning, match="strategy='none'"):
        assert Config(strategy=None).strategy == "none"


def test_repr_is_the_constructor():
    text = repr(Config(retries=3))
    assert text.startswith("Config(\n    executors=(ThreadPoolExecutor(\n        label='threads',\n")
    assert "\n    retries=3,\n" in text


def test_what_plait_gets():
    ours = Config(retries=2, memoizer=BasicMemoizer(), initialize_logging=NoopLogging()).as_plait()
    assert isinstance(ours, plait.Config)
    assert (ours.max_losses, ours.retries, ours.progress, ours.initialize_logging) == (0, 2, False, True)


def test_no_warning_without_reason():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Config()


def test_a_configuration_of_plait_for_programs_of_upstream(monkeypatch):
    import plait
    from plait.compat.parsl.dataflow.dflow import DataFlowKernelLoader
    from plait.kernel.loader import DataFlowKernelLoader as Loader

    text = "retries = 3\ninitialize_logging = false\n[[executors]]\ntype = 'ThreadPoolExecutor'\nlabel = 'x'\n"
    config = Config.of_plait(plait.Config.from_toml(text))
    assert (config.retries, [executor.label for executor in config.executors]) == (3, ["x"])
    monkeypatch.setattr(Loader, "default", staticmethod(lambda: plait.Config.from_toml(text)))
    monkeypatch.setattr(Loader, "only_default", "the file counts")
    with DataFlowKernelLoader.load() as kernel:
        assert kernel.config.retries == 3
    with pytest.raises(plait.errors.ConfigurationError, match="the file counts"):
        DataFlowKernelLoader.load(Config())
