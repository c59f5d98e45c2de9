"""Values for a `HighThroughputExecutor`."""

from __future__ import annotations

import math
import threading

import pytest

import plait
from plait.errors import ConfigurationError
from plait.executors.htex import options
from plait.executors.htex.placement import Pack


@pytest.mark.parametrize("value", ["htex", "a b", "x-1.2+3", "_", "HighThroughputExecutor"])
def test_labels(value):
    assert options.label(value) == value


@pytest.mark.parametrize("value", ["", "a/b", "..", " a", None, 3, "a\nb"])
def test_labels_that_are_no_names_of_folders(value):
    with pytest.raises(ConfigurationError, match=r"label=.*expected a name"):
        options.label(value)


def test_numbers():
    assert options.positive("x", 2) == 2.0
    assert options.positive("x", None, none="for none") is None
    for value in (0, -1, math.nan, math.inf, True, "1", None):
        with pytest.raises(ConfigurationError, match=r"x=.*expected a number above 0"):
            options.positive("x", value)
    assert options.whole("x", 0, 0) == 0
    assert options.whole("x", math.inf, 1, none="for no limit") is None
    for value in (0, 1.5, True, "1", None, math.inf):
        with pytest.raises(ConfigurationError, match="expected a whole number from 1"):
            options.whole("x", value, 1)
    assert options.yes_or_no("x", False) is False
    with pytest.raises(ConfigurationError, match="expected True or False"):
        options.yes_or_no("x", 1)


def test_ports():
    assert options.port("worker_port", None) is None
    assert options.port("worker_port", 5000) == 5000
    assert options.port_range("worker_port_range", [1, 65536]) == (1, 65536)
    for value in (0, 65536, True, "80", 1.5):
        with pytest.raises(ConfigurationError, match="expected a port"):
            options.port("worker_port", value)
    for value in ((5, 5), (6, 5), (0, 5), (5,), 5, "56", (1, 70000), (True, 5), None):
        with pytest.raises(ConfigurationError, match="expected two ports"):
            options.port_range("worker_port_range", value)


@pytest.mark.parametrize("value", ["none", "block", "block-reverse", "alternating", "list:0", "list:0-3,8:4-7"])
def test_affinities(value):
    assert options.affinity(value) == value


@pytest.mark.parametrize("value", ["blocks", "list:", "list:a", "list:0::1", None, ["list:0"], "list:0-"])
def test_no_affinities(value):
    with pytest.raises(ConfigurationError, match=r"cpu_affinity=.*alternating"):
        options.affinity(value)


def test_accelerators():
    assert options.accelerators(3) == ["0", "1", "2"]
    assert options.accelerators(()) == []
    assert options.accelerators(("a", "b")) == ["a", "b"]
    for value in (-1, "01", True, [1], [""], None, 10**30):
        with pytest.raises(ConfigurationError, match="available_accelerators"):
            options.accelerators(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("env", {"A": "x\0y"}),
        ("env", {"A": "\ud800"}),
        ("env", {"A B": "x"}),
        ("prefetch_capacity", 2**70),
        ("max_tasks_per_worker", 2**70),
        ("worker_logdir_root", "a\0b"),
        ("working_dir", "a\0b"),
    ],
)
def test_what_managers_could_not_be_told(name, value):
    with pytest.raises(ConfigurationError, match=rf"HighThroughputExecutor\({name}="):
        plait.HighThroughputExecutor(**{name: value})


def test_heartbeats():
    assert options.heartbeats(30, 120) == (30.0, 120.0)
    with pytest.raises(ConfigurationError, match=r"heartbeat_threshold=30.*more than heartbeat_period \(30\)"):
        options.heartbeats(30, 30)
    with pytest.raises(ConfigurationError, match="heartbeat_period"):
        options.heartbeats(0, 30)


def test_words():
    assert options.words("x", None) == []
    assert options.words("x", ("a", "b")) == ["a", "b"]
    for value in ("a b", [], 3, [1], ["a", ""], ["a\0b"]):
        with pytest.raises(ConfigurationError, match="expected a list of words"):
            options.words("x", value)


def test_plug_ins():
    class Plugin:
        def sort(self):
            """A method."""

    plugin = Plugin()
    assert options.methods("x", plugin, ["sort"], "a sorter") is plugin
    with pytest.raises(ConfigurationError, match="expected a sorter$"):
        options.methods("x", 3, ["sort"], "a sorter")
    with pytest.raises(ConfigurationError, match="with parentheses"):
        options.methods("x", Plugin, ["sort"], "a sorter")


def test_launchers():
    assert options.launcher("srun") == "srun"
    for value in ("ssh", None, 3, ["srun"]):
        with pytest.raises(ConfigurationError, match='expected "mpiexec" or "mpirun" or "srun" or "aprun"'):
            options.launcher(value)


def test_what_was_assigned_is_checked_and_brought_into_one_form():
    executor = plait.HighThroughputExecutor()
    executor.available_accelerators = 2
    executor.max_workers_per_node = math.inf
    executor.initargs = [1]
    options.settle(executor)
    assert executor.available_accelerators == ["0", "1"]
    assert executor.max_workers_per_node is None
    assert executor.initargs == (1,)
    executor.heartbeat_threshold = 1
    with pytest.raises(ConfigurationError, match=r"HighThroughputExecutor\(heartbeat_threshold=1"):
        options.settle(executor)


def test_policies():
    mine = Pack()
    assert options.policy(mine) is mine
    assert options.policy(None) is None
    mine.lock = threading.Lock()
    with pytest.raises(ConfigurationError, match="manager_selector: it is sent to the interchange.*lock"):
        options.policy(mine)
    for value in ("pack", 3, Pack, object()):
        with pytest.raises(ConfigurationError, match="manager_selector: .* is no placement policy: expected an object"):
            options.policy(value)
