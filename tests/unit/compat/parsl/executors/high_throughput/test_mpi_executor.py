from __future__ import annotations

import inspect

import pytest

from plait.compat.parsl.config import Config
from plait.compat.parsl.executors import HighThroughputExecutor, MPIExecutor
from plait.compat.parsl.executors.high_throughput import mpi_prefix_composer
from plait.compat.parsl.launchers import SimpleLauncher, SingleNodeLauncher
from plait.compat.parsl.providers import LocalProvider
from plait.errors import ConfigurationError, InvalidResourceSpecification
from plait.executors.htex.telling import manager_settings
from plait.executors.mpi import WholeNodes

DEFAULTS = {
    "label": "MPIExecutor", "launch_cmd": None, "interchange_launch_cmd": None, "address": None, "loopback_address": "127.0.0.1", "worker_port": None,
    "worker_port_range": (54000, 55000), "interchange_port_range": (55000, 56000), "storage_access": None, "working_dir": None, "worker_debug": False,
    "max_workers_per_block": 1, "prefetch_capacity": 0, "heartbeat_threshold": 120, "heartbeat_period": 30, "drain_period": None, "poll_period": 10,
    "address_probe_timeout": None, "worker_logdir_root": None, "mpi_launcher": "mpiexec", "block_error_handler": True, "encrypted": False,
    "remote_monitoring_radio": None,
}  # fmt: skip


def local(nodes=2, **more):
    return LocalProvider(nodes_per_block=nodes, launcher=SimpleLauncher(), **more)


def test_parameters_and_defaults():
    parameters = inspect.signature(MPIExecutor.__init__).parameters
    found = {name: parameter.default for name, parameter in parameters.items() if name not in {"self", "provider"}}
    assert found == DEFAULTS
    executor = MPIExecutor(provider=local(), max_workers_per_block=3, mpi_launcher="srun")
    settings = manager_settings(executor, ["127.0.0.1"], 1, "", "")
    assert (settings.gives_nodes, settings.mpi_launcher, settings.max_workers) == (True, "srun", 3)
    assert executor.workers_per_node == 3
    assert "mpi_launcher='srun'" in repr(executor)
    assert isinstance(MPIExecutor().provider.launcher, SimpleLauncher)
    assert isinstance(executor, (HighThroughputExecutor, WholeNodes))


def test_what_is_refused(recwarn):
    with pytest.raises(TypeError, match="SimpleLauncher"):
        MPIExecutor(provider=LocalProvider(launcher=SingleNodeLauncher()))
    with pytest.raises(ConfigurationError, match=r"^MPIExecutor\(mpi_launcher='ssh'"):
        MPIExecutor(provider=local(), mpi_launcher="ssh")
    assert not MPIExecutor(provider=local()).encrypted
    assert MPIExecutor(provider=local(), address="192.0.2.7").encrypted
    assert not recwarn


def test_tasks_over_nodes(tmp_path):
    """As programs that were written for Parsl submit them."""
    from plait.compat import parsl

    @parsl.bash_app
    def where(stdout=None, parsl_resource_specification=None):
        return "echo $PARSL_MPI_NODELIST $PARSL_NUM_RANKS $PARSL_RANKS_PER_NODE"

    executor = MPIExecutor(provider=local(worker_init="export PLAIT_NODELIST=a,b"), max_workers_per_block=2)
    with parsl.load(Config(executors=[executor], run_dir=str(tmp_path / "runs"), strategy="none")):
        futures = [
            where(stdout=str(tmp_path / str(n)), parsl_resource_specification={"num_nodes": 1 + n % 2, "num_ranks": 2})
            for n in range(4)
        ]
        assert [future.result(timeout=30) for future in futures] == [0] * 4
        for wrong in ({}, {"nodes": 1, "zork": 2}, {"num_nodes": 3}):
            with pytest.raises(InvalidResourceSpecification):
                where(parsl_resource_specification=wrong).result(timeout=10)
    assert (tmp_path / "1").read_text() == "a,b 2 1\n"
    assert (tmp_path / "0").read_text() in {"a 2 2\n", "b 2 2\n"}


@pytest.mark.parametrize("strategy", ["simple", "demand"])
def test_a_list_of_nodes_says_how_many_there_are(tmp_path, strategy):
    """As in an allocation, where nobody says nodes_per_block."""
    from plait.compat import parsl

    @parsl.python_app
    def where(parsl_resource_specification=None):
        import os

        return os.environ["PARSL_MPI_NODELIST"]

    nodes = tmp_path / "nodes"
    nodes.write_text("a\na\nb\nc\n")
    provider = local(nodes=1, init_blocks=0, worker_init=f"export PBS_NODEFILE={nodes}")
    executor = MPIExecutor(provider=provider)
    with parsl.load(Config(executors=[executor], run_dir=str(tmp_path / "runs"), strategy=strategy)):
        three = where(parsl_resource_specification={"num_nodes": 3})
        four = where(parsl_resource_specification={"num_nodes": 4})
        assert three.result(timeout=30) == "a,b,c"
        with pytest.raises(InvalidResourceSpecification, match="has 3"):
            four.result(timeout=30)
        with pytest.raises(InvalidResourceSpecification, match="has 3"):
            where(parsl_resource_specification={"num_nodes": 4}).result(timeout=0)


def test_there_is_one_error():
    assert mpi_prefix_composer.InvalidResourceSpecification is InvalidResourceSpecification
    assert mpi_prefix_composer.MissingResourceSpecification is InvalidResourceSpecification
