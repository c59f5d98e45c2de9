"""What interchange, managers and block commands are told."""

from __future__ import annotations

import os
import sys

import pytest

from plait._util.version import loaded_versions
from plait.errors import ConfigurationError
from plait.executors.htex.executor import HighThroughputExecutor
from plait.executors.htex.interchange import make_core
from plait.executors.htex.placement import NearData
from plait.executors.htex.telling import interchange_settings, manager_settings, template_values
from plait.providers import LocalProvider
from plait.serialize import load_function, loads
from plait.testing import tasks
from tests.unit.executors.htex.helpers import Remote


def test_the_interchange():
    executor = HighThroughputExecutor(
        "htex", heartbeat_period=1, heartbeat_threshold=3, cores_per_worker=2, mem_per_worker=1.5, worker_port=54001, manager_selector=NearData(wait_s=7)
    )  # fmt: skip
    told = interchange_settings(executor, ["127.0.0.1"], ("P", "S"), "/logs", 7)
    assert (told.label, told.bind, told.port, told.port_range) == ("htex", ["127.0.0.1"], 54001, (54000, 55000))
    assert (told.server_public, told.server_secret) == ("P", "S")
    assert (told.heartbeat_period_s, told.heartbeat_threshold_s) == (1.0, 3.0)
    assert (told.cores_per_worker, told.memory_per_worker) == (2.0, 3 << 29)
    assert (told.max_result_bytes, told.log) == (7, "/logs/interchange.log")
    assert loads(told.policy).near_wait_s == 7
    assert interchange_settings(HighThroughputExecutor(), [], ("", ""), "", 0).policy == b""


@pytest.mark.parametrize(
    ("strategy", "most", "fewest", "packs"),
    [("none", 4, 0, False), ("simple", 4, 0, False), ("demand", 4, 0, True), ("htex_auto_scale", 4, 4, False), ("demand", 1, 0, False)],
)  # fmt: skip
def test_blocks_that_may_go_one_by_one_are_emptied(strategy, most, fewest, packs):
    executor = HighThroughputExecutor(provider=LocalProvider(init_blocks=fewest, min_blocks=fewest, max_blocks=most))
    told = interchange_settings(executor, [], ("", ""), "", 0, strategy=strategy)
    assert told.packs is packs
    assert type(make_core(told, 0.0)._filler.ranking.rank.__self__).__name__ == ("BlockByBlock" if packs else "Spread")


def test_managers_that_do_not_see_our_files_are_told_nothing_of_our_folders():
    provider = Remote()
    provider.shares_files = False
    told = manager_settings(
        HighThroughputExecutor(provider=provider, address="127.0.0.1"), ["127.0.0.1"], 54001, "P", "/logs"
    )
    assert (told.path, told.cwd, told.log_dir) == ([], "", "")


def test_managers():
    executor = HighThroughputExecutor(
        "htex", max_workers_per_node=3, available_accelerators=2, drain_period=60, env={"A": "b", "C": None}, initializer=tasks.initialize,
        initargs=("x",), max_tasks_per_worker=9, cpu_affinity="block", worker_logdir_root="/elsewhere",
    )  # fmt: skip
    told = manager_settings(executor, ["127.0.0.1"], 54001, "P", "/logs")
    assert (told.block, told.public, told.secret, told.server_public) == ("", "", "", "P")
    assert (told.max_workers, told.accelerators, told.cpu_affinity, told.drain_after_s) == (
        3,
        ["0", "1"],
        "block",
        60.0,
    )
    assert (told.env, told.max_tasks, told.probe_timeout_s) == ({"A": "b", "C": None}, 9, 30.0)
    assert (told.log_dir, told.cwd) == ("/elsewhere/htex", os.getcwd())
    data, args = loads(told.initializer)
    assert (load_function(data), args) == (tasks.initialize, ("x",))
    assert all(told.path)
    assert told.packages == loaded_versions()
    assert set(told.path) >= {path for path in sys.path if path}


def test_managers_on_other_machines_have_a_directory_of_their_own():
    executor = HighThroughputExecutor(provider=Remote(walltime="01:00:00"))
    told = manager_settings(executor, ["192.0.2.1"], 54001, "P", "/logs")
    assert (told.cwd, told.walltime_s, told.log_dir) == ("", 3600.0, "/logs")


def test_templates_know_the_parameters():
    values = template_values(HighThroughputExecutor(max_workers_per_node=3, available_accelerators=["a", "b"]))
    assert (values["max_workers_per_node"], values["available_accelerators"]) == (3, "a b")


def test_folders_that_messages_cannot_hold_are_refused(monkeypatch):
    executor = HighThroughputExecutor("htex")
    with pytest.raises(ConfigurationError, match="is not in UTF-8"):
        interchange_settings(executor, ["127.0.0.1"], ("P", "S"), "/logs/\udcfc", 7)
    monkeypatch.setattr(sys, "path", ["\udcfc"])
    with pytest.raises(ConfigurationError, match=r"udcfc.*rename the folder"):
        manager_settings(executor, ["127.0.0.1"], 54001, "P", "/logs")
