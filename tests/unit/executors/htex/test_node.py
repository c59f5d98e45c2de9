"""What a node has, and how many workers that makes."""

import os
import time

import pytest

from plait._util import machine
from plait.errors import ConfigurationError
from plait.executors.htex.node import Node, count_devices, count_shared, find_gpus, look, worker_count
from tests.unit.executors.htex.scripted import settings

GB = 1 << 30
NODE = Node("host", "boot", (0, 1, 2, 3), 4, 16 * GB, 8 * GB, 100 * GB, (), None)


def told(**changes):
    return settings(**{"cores_per_worker": 1.0, "max_workers": None, **changes})


def test_this_node():
    node = look(told(), {})
    assert node.cores == machine.available_cores()
    assert set(node.cpus) == os.sched_getaffinity(0)
    assert 0 < node.free_memory_bytes <= node.memory_bytes == machine.available_memory_bytes()
    assert node.disk_bytes > 0
    assert node.boot
    assert node.ends_s is node.walltime_left_s() is None


def test_variables_know_better():
    env = {"PARSL_CORES": "3", "PARSL_MEMORY_GB": "1.5", "PLAIT_DISK_GB": "2", "PLAIT_GPUS": "a, b"}
    node = look(told(), env)
    assert (node.cores, node.memory_bytes, node.free_memory_bytes, node.disk_bytes) == (
        3,
        3 * GB // 2,
        3 * GB // 2,
        2 * GB,
    )
    assert node.gpus == ("a", "b")
    assert look(told(), {**env, "PLAIT_CORES": "5"}).cores == 5


@pytest.mark.parametrize("value", ["many", "-1", "0", "nan"])
def test_variables_must_be_numbers(value):
    with pytest.raises(ConfigurationError, match=f"PARSL_CORES='{value}'"):
        look(told(), {"PARSL_CORES": value})


def test_the_end_of_the_node_is_the_earliest_that_is_known():
    env = {"SLURM_JOB_END_TIME": str(time.time() + 100)}
    assert look(told(), env).walltime_left_s() == pytest.approx(100, abs=2)
    assert look(told(walltime_s=50.0), env).walltime_left_s() == pytest.approx(50, abs=2)
    assert look(told(walltime_s=500.0), env).walltime_left_s() == pytest.approx(100, abs=2)
    assert look(told(), {"PLAIT_END_TIME": "1"}).walltime_left_s() == 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 4),
        ({"cores_per_worker": 0.1}, 40),
        ({"cores_per_worker": 3.0}, 1),
        ({"max_workers": 2}, 2),
        ({"mem_per_worker_gb": 3.0}, 2),
        ({"accelerators": ["0", "1", "2"]}, 3),
        ({"accelerators": ["0", "1", "2"], "mem_per_worker_gb": 8.0}, 1),
    ],
)
def test_workers_that_fit(changes, expected):
    assert worker_count(told(**changes), NODE) == expected


@pytest.mark.parametrize("changes", [{"cores_per_worker": 5.0}, {"mem_per_worker_gb": 9.0}])
def test_when_none_fits_the_numbers_are_told(changes):
    with pytest.raises(ConfigurationError, match=r"no worker fits on host: .* 4 cores; .* 8\.0 GB are free"):
        worker_count(told(**changes), NODE)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, ["0", "1", "2"]),
        ({"CUDA_VISIBLE_DEVICES": "4,6"}, ["4", "6"]),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, []),
        ({"ROCR_VISIBLE_DEVICES": "GPU-a, GPU-b"}, ["GPU-a", "GPU-b"]),
        ({"ZE_AFFINITY_MASK": "0.0,0.1"}, ["0.0", "0.1"]),
        ({"PLAIT_GPUS": "x", "CUDA_VISIBLE_DEVICES": "4,6"}, ["x"]),
    ],
)
def test_accelerators(tmp_path, env, expected):
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert find_gpus(env, str(tmp_path)) == expected


def test_no_devices(tmp_path):
    assert count_devices(str(tmp_path)) == count_devices(str(tmp_path / "none")) == 0


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        (
            "echo 'GPU 0: A100 (UUID: GPU-a)'; echo '  MIG 1g.5gb Device 0: (UUID: MIG-a)'; echo 'GPU 1: A100 (UUID: GPU-b)'",
            2,
        ),
        ("echo 'NVIDIA-SMI has failed'; exit 9", 3),
    ],
)
def test_who_shares_accelerators_asks_what_this_job_may_use(tmp_path, monkeypatch, says, expected):
    for name in ("nvidia0", "nvidia1", "nvidia2"):
        (tmp_path / name).touch()
    command = tmp_path / "nvidia-smi"
    command.write_text(f'#!/bin/sh\n[ "$*" = -L ] || exit 2\n{says}\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert count_shared(["0", "1", "2", "3"], 4, str(tmp_path)) == expected
    assert count_shared(["0"], 1, str(tmp_path)) == count_shared(["a", "b"], 2, str(tmp_path)) == 0
    command.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert count_shared(["0", "1"], 2, str(tmp_path)) == 3


def test_configured_accelerators_are_those_of_the_node():
    assert look(told(accelerators=["0", "0", "1"]), {"CUDA_VISIBLE_DEVICES": "7"}).gpus == ("0", "1")


def test_the_nodes_of_a_block():
    env = {"PLAIT_NODELIST": "n1,n2", "PLAIT_NODE_NAME": "n1", "PLAIT_CORES": "1"}
    node = look(settings(gives_nodes=True, max_workers=5), env)
    assert (node.name, node.hosts) == ("n1", ("n1", "n2"))
    assert worker_count(settings(gives_nodes=True, max_workers=5), node) == 5
    assert look(settings(), env).hosts == ()
    with pytest.raises(ConfigurationError, match="nodes of the block are not known"):
        look(settings(gives_nodes=True), {})
