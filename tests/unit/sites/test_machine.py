from __future__ import annotations

import os
import sys

import pytest

from plait.sites import machine
from plait.sites.machine import Scheduler, activation, find_gpus, find_schedulers, look


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Makes commands, and hides all others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(**texts):
        for name, text in texts.items():
            path = folder / name
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(0o755)

    return make


def names():
    return [scheduler.system for scheduler in find_schedulers()]


def test_no_batch_system(commands):
    assert names() == []
    found = look()
    assert found.schedulers == ()
    assert found.queues is None


def test_systems_by_their_commands(commands):
    commands(sbatch="", squeue="")
    assert names() == []  # not all of them
    commands(scancel="")
    assert names() == ["slurm"]
    commands(flux="", bsub="", bjobs="", bkill="", condor_submit="", condor_q="", condor_rm="")
    assert names() == ["slurm", "flux", "lsf", "condor"]


def test_a_command_that_takes_too_long_leaves_nothing(commands, monkeypatch):
    """The check for leaks finds what the script had started."""
    monkeypatch.setattr(machine, "_TIMEOUT_S", 0.3)
    commands(qsub="", qdel="", qstat="/bin/sleep 600 &\nwait", sinfo="/bin/sleep 600 &\nwait")
    assert machine.run("sinfo") is None
    assert names() == []


@pytest.mark.parametrize(
    ("version", "system"),
    [
        ("echo 'pbs_version = 19.1.1'", "pbspro"),
        ("echo 'Version: 6.1.2' >&2", "torque"),
        ("echo something else", None),
    ],
)
def test_systems_whose_commands_have_the_same_names(commands, version, system):
    commands(qsub="", qdel="", qstat=version)
    assert names() == ([system] if system else [])
    commands(qconf="")
    assert names() == ["gridengine"]


def test_kubernetes_needs_a_context(commands):
    commands(kubectl="exit 1")
    assert names() == []
    commands(kubectl="echo minikube")
    assert names() == ["kubernetes"]


def test_of_several_the_one_that_answers_comes_first(commands):
    commands(sbatch="", squeue="", scancel="", sinfo="exit 1", flux='echo "QUEUE TLIMIT"; echo "batch 1h"')
    found = look()
    assert [scheduler.system for scheduler in found.schedulers] == ["flux", "slurm"]
    assert [queue.name for queue in found.queues] == ["batch"]
    assert look("slurm").schedulers[0].system == "slurm"
    assert look("slurm").queues is None
    assert look("").schedulers == ()


def test_gpus(commands):
    commands(**{"nvidia-smi": "echo 'GPU 0: A (UUID: x)'; echo 'GPU 1: A (UUID: y)'"})
    assert find_gpus() == (2, "NVIDIA")
    commands(**{"nvidia-smi": "echo 'it has failed' >&2; exit 9"})
    assert find_gpus()[0] == len(
        [name for name in os.listdir("/dev") if name.startswith("nvidia") and name[6:].isdigit()]
    )


def test_the_environment_of_this_python(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/opt/conda/envs/my env/bin/python")
    monkeypatch.setattr(sys, "prefix", "/usr")
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    assert activation({"CONDA_PREFIX": "/opt/conda/envs/my env", "CONDA_EXE": "/opt/conda/bin/conda"}) == [
        "source /opt/conda/etc/profile.d/conda.sh",
        "conda activate '/opt/conda/envs/my env'",
    ]
    assert activation({"CONDA_PREFIX": "/opt/conda/envs/other"}) == []
    assert activation({}) == []
    monkeypatch.setattr(sys, "prefix", "/home/me/env")
    assert activation({}) == ["source /home/me/env/bin/activate"]


def test_addresses_with_their_interfaces():
    assert machine.with_interfaces(["127.0.0.1", "203.0.113.9"]) == [("lo", "127.0.0.1"), ("?", "203.0.113.9")]
    assert look("", ["127.0.0.1"]).interfaces == (("lo", "127.0.0.1"),)


def test_as_data(commands, monkeypatch):
    monkeypatch.setenv("LOADEDMODULES", "gcc/12:python/3.11")
    data = look().data()
    assert data["modules"] == ["gcc/12", "python/3.11"]
    assert data["schedulers"] == []


def test_every_scheduler_names_a_provider_that_there_is():
    import plait.providers

    for scheduler in machine.SCHEDULERS:
        assert isinstance(scheduler, Scheduler)
        assert scheduler.provider in plait.providers.__all__
