from __future__ import annotations

import inspect
from types import SimpleNamespace

import pytest

import plait
from plait.errors import ConfigurationError, InvalidResourceSpecification
from plait.executors import MPIExecutor
from plait.executors.htex.telling import manager_settings
from plait.launchers.simple import SimpleLauncher, SingleNodeLauncher
from plait.model.resources import DEFAULT, parse_resources
from plait.providers.local import LocalProvider
from tests.unit.executors.htex.helpers import make_task

NODES = {"nodes": 2, "ranks_per_node": 2}


def local(nodes=2, **more):
    return LocalProvider(nodes_per_block=nodes, launcher=SimpleLauncher(), **more)


def shape(**spec):
    return parse_resources(spec)[0]


def test_parameters_are_those_that_users_know():
    parameters = inspect.signature(MPIExecutor).parameters
    assert parameters["label"].default == "MPIExecutor"
    assert parameters["max_workers_per_block"].default == 1
    assert parameters["mpi_launcher"].default == "mpiexec"
    gone = {
        "cores_per_worker",
        "mem_per_worker",
        "max_workers_per_node",
        "cpu_affinity",
        "available_accelerators",
        "manager_selector",
    }
    assert not gone & set(parameters)
    assert plait.MPIExecutor is MPIExecutor


def test_one_manager_is_told_to_give_out_the_nodes():
    executor = MPIExecutor(provider=local(), max_workers_per_block=3, mpi_launcher="srun")
    settings = manager_settings(executor, ["127.0.0.1"], 1, "", "")
    assert (settings.gives_nodes, settings.mpi_launcher, settings.max_workers) == (True, "srun", 3)
    assert executor.workers_per_node == 3
    htex = plait.HighThroughputExecutor(provider=LocalProvider(), mpi_launcher="mpirun")
    settings = manager_settings(htex, ["127.0.0.1"], 1, "", "")
    assert (settings.gives_nodes, settings.mpi_launcher) == (False, "mpirun")


def test_without_a_provider_it_is_this_machine():
    assert isinstance(MPIExecutor().provider.launcher, SimpleLauncher)


@pytest.mark.parametrize("launcher", [SingleNodeLauncher(), None])
def test_another_launcher_is_refused(launcher):
    with pytest.raises(TypeError, match=r"must be a SimpleLauncher.*LocalProvider\(launcher=SimpleLauncher\(\)"):
        MPIExecutor(provider=LocalProvider(launcher=launcher))


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (
            {"mpi_launcher": "mpi"},
            """MPIExecutor(mpi_launcher='mpi'): expected "mpiexec" or "mpirun" or "srun" or "aprun\"""",
        ),
        ({"max_workers_per_block": 0}, "MPIExecutor(max_workers_per_block=0): expected a whole number from 1"),
        ({"heartbeat_period": 0}, "MPIExecutor(heartbeat_period=0)"),
    ],
)
def test_what_cannot_be_is_named(parameters, text):
    with pytest.raises(ConfigurationError) as caught:
        MPIExecutor(provider=local(), **parameters)
    assert text in str(caught.value)


def test_only_loopback_goes_in_the_clear(monkeypatch, caplog):
    assert MPIExecutor().encrypted
    assert not MPIExecutor(provider=local(), encrypted=False).encrypted
    monkeypatch.setattr("plait.executors.htex.executor.choose_addresses", lambda *_: ["192.0.2.7"])
    assert MPIExecutor(provider=local(), encrypted=False).encrypted
    assert "encrypted nevertheless, because other machines can reach them" in caplog.text


def test_what_is_assigned_is_looked_at_before_a_run():
    executor = MPIExecutor(provider=local())
    executor.provider = LocalProvider()
    with pytest.raises(TypeError, match="must be a SimpleLauncher"), plait.load(plait.Config([executor])):
        pass
    executor.provider, executor.max_workers_per_block = local(), 0
    with pytest.raises(ConfigurationError, match=r"MPIExecutor\(max_workers_per_block=0\)"):
        plait.load(plait.Config([executor]))


@pytest.mark.parametrize(
    ("resources", "keys", "text"),
    [
        (DEFAULT, ["nodes"], "gives whole nodes: expected nodes (or num_nodes)"),
        (shape(cores=2), ["nodes"], "expected nodes"),
        (shape(nodes=3), ["nodes"], "3 nodes of one block asked, a block of executor 'MPIExecutor' has 2"),
        (shape(nodes=1, cores=4), ["cores"], "leave this out"),
        (shape(nodes=1, memory="1GB", gpus=1), ["gpus", "memory"], "leave this out"),
    ],
)
def test_what_it_can_never_give_is_refused(resources, keys, text):
    with pytest.raises(InvalidResourceSpecification) as caught:
        MPIExecutor(provider=local()).check(resources)
    assert caught.value.invalid_keys == keys
    assert text in str(caught.value)


def test_a_list_of_nodes_says_how_many_there_are(monkeypatch):
    """Of one that only the manager will see nothing is known before that is up."""
    executor = MPIExecutor(provider=local(nodes=1, worker_init="export PBS_NODEFILE=nodes"))
    executor.check(shape(nodes=4))
    managers = {"a": SimpleNamespace(nodes=3)}
    executor._link = SimpleNamespace(hearing=SimpleNamespace(managers=managers))
    executor.check(shape(nodes=3))
    with pytest.raises(InvalidResourceSpecification, match=r"4 nodes .* has 3 \(nodes that its list names\)"):
        executor.check(shape(nodes=4))
    of_batch_system = MPIExecutor(provider=local(nodes=2))
    of_batch_system._link = executor._link
    of_batch_system.check(shape(nodes=3))


def test_what_it_can_give():
    executor = MPIExecutor(provider=local())
    executor.check(shape(**NODES))
    executor.check(shape(nodes=1, ranks_per_node=64, priority=1, walltime="1h"))


def test_a_task_that_says_nothing_is_refused_however_it_comes():
    executor = MPIExecutor(provider=local())
    task = make_task(1)
    with pytest.raises(InvalidResourceSpecification):
        executor.submit(task)
    with pytest.raises(InvalidResourceSpecification):
        executor.submit_simple(task)
    ((refused, error),) = executor.submit_many([task])
    assert refused is task
    assert isinstance(error, InvalidResourceSpecification)
