"""Which cores and accelerators workers get, and how programs are told."""

import pytest

from plait.errors import ConfigurationError
from plait.executors.htex.affinity import Dress, accelerator_env, accelerators_of_workers, cpu_env, cpu_sets
from plait.executors.htex.messages import Grant

CPUS = [2, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(
    ("mode", "workers", "expected"),
    [
        ("none", 2, []),
        ("block", 2, [[2, 3, 4, 5], [6, 7, 8, 9]]),
        ("block", 3, [[2, 3], [4, 5], [6, 7]]),
        ("block-reverse", 4, [[9, 8], [7, 6], [5, 4], [3, 2]]),
        ("alternating", 2, [[2, 4, 6, 8], [3, 5, 7, 9]]),
        ("alternating", 3, [[2, 5], [3, 6], [4, 7]]),
        ("list:2,3:5-7", 2, [[2, 3], [5, 6, 7]]),
        ("list:9", 1, [[9]]),
    ],
)
def test_cores_of_workers(mode, workers, expected):
    assert cpu_sets(mode, CPUS, workers) == expected


@pytest.mark.parametrize("mode", ["block", "block-reverse", "alternating"])
def test_with_more_workers_than_cores_each_has_one(mode):
    sets = cpu_sets(mode, [0, 1], 5)
    assert [len(cores) for cores in sets] == [1] * 5
    assert {core for cores in sets for core in cores} == {0, 1}


def test_where_the_system_does_not_say_nothing_is_bound():
    assert cpu_sets("block", [], 4) == []


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("blocks", "block-reverse"),
        ("list:2:3:4", "3 workers, this node has 2"),
        ("list:2:a", "numbers and ranges"),
        ("list:2:", "numbers and ranges"),
        ("list:2:10", "core 10"),
    ],
)
def test_what_cannot_be(mode, says):
    with pytest.raises(ConfigurationError, match=says):
        cpu_sets(mode, CPUS, 2)


def test_openmp_is_told():
    assert cpu_env([4, 6]) == {
        "OMP_NUM_THREADS": "2",
        "GOMP_CPU_AFFINITY": "4 6",
        "KMP_AFFINITY": "explicit,proclist=[4,6]",
    }


@pytest.mark.parametrize(
    ("names", "workers", "devices", "expected"),
    [
        (["0", "1"], 2, 2, ["0", "1"]),
        (["0", "1", "2", "3"], 2, 4, ["0", "1"]),
        (["0", "1", "2", "3"], 4, 2, ["0", "0", "1", "1"]),
        (["0", "1", "2", "3", "4"], 5, 2, ["0", "0", "0", "1", "1"]),
        (["0", "1", "2", "3"], 4, 0, ["0", "1", "2", "3"]),
        (["0,1", "2,3", "4,5"], 3, 2, ["0,1", "2,3", "4,5"]),
        (["GPU-a", "GPU-b"], 2, 1, ["GPU-a", "GPU-b"]),
    ],
)
def test_accelerators_of_workers(names, workers, devices, expected):
    assert accelerators_of_workers(names, workers, devices) == expected


def dress(**changes):
    return Dress(
        **{
            "cpus": CPUS, "sets": [], "accelerators": [], "workers": 2, "threads": 4, "block": "7", "pool_id": lambda: "abc", **changes,
        }
    )  # fmt: skip


def test_workers_know_their_place_under_both_names():
    env = dress().of_worker(1)
    for prefix in ("PARSL", "PLAIT"):
        assert [env[f"{prefix}_WORKER_{name}"] for name in ("RANK", "COUNT", "POOL_ID", "BLOCK_ID")] == [
            "1",
            "2",
            "abc",
            "7",
        ]
    assert env["OMP_NUM_THREADS"] == "4"
    assert "CUDA_VISIBLE_DEVICES" not in env
    assert "OMP_NUM_THREADS" not in dress(threads=0).of_worker(0)


def test_workers_with_cores_and_accelerators_of_their_own():
    env = dress(sets=[[2, 3], [4]], accelerators=["0", "GPU-b"]).of_worker(1)
    assert (env["OMP_NUM_THREADS"], env["GOMP_CPU_AFFINITY"]) == ("1", "4")
    assert env.items() >= accelerator_env(["GPU-b"]).items()
    assert env["ZE_ENABLE_PCI_ID_DEVICE_ORDER"] == "1"


def test_tasks_know_what_they_were_granted():
    env, cores = dress().of_task(3, 2, Grant(cores=(0, 7), gpus=("1", "3")))
    assert cores == [2, 9]
    assert (env["PLAIT_TASK_ID"], env["PLAIT_ATTEMPT"]) == ("3", "2")
    assert (env["PLAIT_CORES"], env["OMP_NUM_THREADS"], env["GOMP_CPU_AFFINITY"]) == ("2", "2", "2 9")
    assert (
        env["CUDA_VISIBLE_DEVICES"]
        == env["ROCR_VISIBLE_DEVICES"]
        == env["ZE_AFFINITY_MASK"]
        == env["PLAIT_GPU_IDS"]
        == "1,3"
    )
    assert dress().of_task(3, 2, Grant()) == ({"PLAIT_TASK_ID": "3", "PLAIT_ATTEMPT": "2"}, [])


def test_cores_beyond_those_of_the_node_are_counted_and_not_bound():
    env, cores = dress(cpus=[0]).of_task(1, 1, Grant(cores=(0, 1, 2)))
    assert (cores, env["PLAIT_CORES"]) == ([0], "3")
    env, cores = dress(cpus=[]).of_task(1, 1, Grant(cores=(0, 1, 2)))
    assert (cores, env["OMP_NUM_THREADS"]) == ([], "3")


def nodes_of(**more):
    dress = Dress(
        cpus=CPUS, workers=2, block="0", pool_id=lambda: "m1", launcher="srun", env={"PMI_RANK": "1"}, gpus=["0", "1"],
        **{"sets": [], "accelerators": [], "threads": 0, **more},
    )  # fmt: skip
    return dress.of_task(3, 1, Grant(hosts=("a", "b"), members=("m2",), ranks=4, ranks_per_node=2))


def test_a_task_over_whole_nodes_is_told_its_nodes_and_bound_to_nothing():
    env, cores = nodes_of()
    assert env["PLAIT_MPI_PREFIX"].startswith("srun --ntasks 4 ")
    assert (env["PLAIT_TASK_ID"], env["PARSL_MPI_NODELIST"], env["PMI_RANK"]) == ("3", "a,b", None)
    assert "OMP_NUM_THREADS" not in env
    assert cores == []


def test_what_binds_its_worker_does_not_bind_its_processes():
    env, cores = nodes_of(sets=[[2, 3, 4, 5], [6, 7, 8, 9]], accelerators=["0", "1"])
    assert cores == CPUS
    assert env["OMP_NUM_THREADS"] == "4"  # eight cores for two ranks
    assert (env["GOMP_CPU_AFFINITY"], env["KMP_AFFINITY"]) == (None, None)
    assert env["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert nodes_of(threads=4)[0]["OMP_NUM_THREADS"] == "4"
