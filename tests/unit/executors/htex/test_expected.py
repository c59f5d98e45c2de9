"""What is known of a node before there is one."""

from __future__ import annotations

import pytest

from plait._util import machine
from plait.executors.htex.expected import GIB, Expected, expected_node, expected_nodes
from plait.launchers import WrappedLauncher
from plait.providers import LocalProvider
from tests.unit.executors.htex.helpers import Remote

ENV = {"PLAIT_CORES": "8", "PLAIT_MEMORY_GB": "2", "PLAIT_DISK_GB": "4", "CUDA_VISIBLE_DEVICES": "0,1"}


def test_of_other_machines_only_what_the_provider_says():
    assert expected_node(Remote(), 0, ENV) == Expected()
    assert expected_node(Remote(cores_per_node=4, mem_per_node=8), 2, ENV) == Expected(4, 8 * GIB, 2, None)


def test_of_this_machine_what_its_managers_will_find():
    assert expected_node(LocalProvider(), 0, ENV) == Expected(8, 2 * GIB, 2, 4 * GIB)
    here = expected_node(LocalProvider(), 3, {})
    assert (here.cores, here.memory_bytes, here.gpus) == (
        machine.available_cores(),
        machine.available_memory_bytes(),
        3,
    )
    assert here.disk_bytes is not None


@pytest.mark.parametrize(
    "options",
    [{"worker_init": "export CUDA_VISIBLE_DEVICES=0"}, {"launcher": WrappedLauncher("env PLAIT_CORES=64")}],
    ids=["worker_init", "launcher"],
)
def test_nothing_where_the_block_changes_that(options):
    assert expected_node(LocalProvider(**options), 0, ENV) == Expected()


def test_nothing_where_a_variable_cannot_be_read():
    """The managers say so."""
    assert expected_node(LocalProvider(), 0, {"PLAIT_CORES": "many"}) == Expected()


def test_nodes_of_a_block():
    """A batch system gives as many as were asked for; on this machine a list says how many there are."""
    assert expected_nodes(LocalProvider(nodes_per_block=2), {}) == 2
    assert expected_nodes(LocalProvider(), {"PBS_NODEFILE": "f"}) is None
    assert expected_nodes(LocalProvider(worker_init="export PLAIT_NODELIST=a,b"), {}) is None
    assert expected_nodes(LocalProvider(launcher=WrappedLauncher("env LSB_HOSTS=a")), {}) is None
    assert expected_nodes(Remote(worker_init="export PLAIT_NODELIST=a,b", nodes_per_block=3), {"LSB_HOSTS": "a"}) == 3
