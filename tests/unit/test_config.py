"""A configuration is checked when it is made; each refusal names the parameter, its value and what was expected."""

from __future__ import annotations

import os
import subprocess
import sys
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
        ("run_dir", None, "the path of a folder"),
        ("run_dir", "a\0b", "the path of a folder"),
        ("executors", "threads", "a list of executors, such as"),
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


@pytest.mark.parametrize("label", [3, "", None])
def test_labels_are_names(label):
    with pytest.raises(ConfigurationError, match=r"ThreadPoolExecutor\(label="):
        Config([plait.ThreadPoolExecutor(label)])


def test_unknown_parameters_are_refused():
    with pytest.raises(TypeError, match="'retires'; did you mean retries"):
        Config(retires=3)


def test_configurations_that_say_the_same_are_equal():
    def made(threads=2, **options):
        provider = plait.LocalProvider(max_blocks=2, worker_init="a\nb")
        executors = [
            plait.ThreadPoolExecutor("t", max_threads=threads),
            plait.HighThroughputExecutor("h", provider=provider),
        ]
        return Config(executors, **options)

    config = made()
    assert config == made()
    assert hash(config) == hash(made())
    assert config == Config.from_toml(config.to_toml()) == Config.from_toml(config.to_toml(defaults=True))
    assert config != made(threads=3)
    assert config != made(retries=1)
    assert config != "a configuration"
    other = made()
    other.executors[1].provider.max_blocks = 1
    assert config != other


def test_repr_shows_every_field():
    text = repr(Config([plait.ThreadPoolExecutor("t")]))
    assert text.startswith("Config(\n    executors=(ThreadPoolExecutor(label='t'),),\n")
    assert "    retries=0,\n" in text


def test_a_strategy_may_be_a_policy():
    policy = Simple()
    assert Config(strategy=policy).strategy is policy


FILE = """
retries = 2
[[executors]]
type = "HighThroughputExecutor"
[executors.provider]
type = "LocalProvider"
max_blocks = 3
"""


def test_from_a_file_a_text_and_back(tmp_path):
    path = tmp_path / "plait.toml"
    path.write_text(FILE)
    for config in (
        Config.from_toml(path),
        Config.from_toml(str(path)),
        Config.from_toml(FILE),
        Config.from_toml("retries = 2"),
    ):
        assert isinstance(config, Config)
        assert config.retries == 2
    text = Config.from_toml(path).to_toml()
    assert "max_blocks = 3" in text
    assert Config.from_toml(text).to_toml() == text
    path.write_text("retries = 2\nrun_dri = 'x'")
    with pytest.raises(ConfigurationError, match=r"plait\.toml, line 2: run_dri: .*did you mean run_dir"):
        Config.from_toml(path)
    with pytest.raises(ConfigurationError, match="nowhere.toml: this file cannot be read"):
        Config.from_toml(tmp_path / "nowhere.toml")


def test_from_a_site():
    assert Config.from_site("localhost", max_blocks=5, retries=1).executors[0].provider.max_blocks == 5
    with pytest.raises(ConfigurationError, match=r"site localhost \(.*localhost.toml\)"):
        Config.from_site("localhost", max_blok=5)


def test_administrators_rules_hold_for_python_and_files(tmp_path, monkeypatch):
    rules = tmp_path / "rules.toml"
    rules.write_text(
        "[limits.LocalProvider]\nmax_blocks = 2\n[defaults.Config]\nretries = 1\n[pinned.Config]\nusage_tracking = 1\n"
    )
    monkeypatch.setattr("plait.configfile.system.SYSTEM", str(rules))
    monkeypatch.delenv("PLAIT_SYSTEM_CONFIG", raising=False)
    with pytest.raises(
        ConfigurationError, match=r"executors\[0\]\.provider\.max_blocks = 3: expected at most 2 here .*rules.toml"
    ):
        Config.from_toml(FILE)
    with pytest.raises(ConfigurationError, match="at most 2"):
        Config([plait.HighThroughputExecutor(provider=plait.LocalProvider(max_blocks=3))])
    config = Config([plait.HighThroughputExecutor(provider=plait.LocalProvider(max_blocks=2))])
    assert (config.usage_tracking, config.retries) == (1, 0)  # what a program does not say is not a default of files
    assert Config.from_toml("max_losses = 1").retries == 1


def test_a_configuration_costs_nothing_more_where_there_are_no_rules():
    code = "import sys, plait; plait.Config(); print(sorted(m for m in sys.modules if m.startswith('plait.configfile') or m == 'tomlkit'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['plait.configfile', 'plait.configfile.system']\n"
