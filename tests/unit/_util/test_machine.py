from __future__ import annotations

import os
import subprocess
import sys

import pytest

from plait._util import machine
from plait._util.machine import Mount

# Texts as the kernel writes them: /proc/self/cgroup and /proc/self/mountinfo.
V2_GROUP = "0::/user.slice/job_7/step_0\n"
V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_GROUP = """\
9:name=systemd:/
5:memory:/slurm/job_7/step_0
2:cpu,cpuacct:/slurm
0::/
"""
V1_MOUNT = """\
23 1 0:21 / /proc rw,relatime - proc proc rw
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:17 - cgroup cgroup rw,memory
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
CONTAINER_MOUNT = "35 31 0:32 /docker/4f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"


def test_mounts():
    assert machine.parse_mounts(V2_MOUNT) == [Mount(frozenset(), "/", "/sys/fs/cgroup")]
    assert machine.parse_mounts(V1_MOUNT) == [
        Mount(frozenset({"rw", "memory"}), "/", "/sys/fs/cgroup/memory"),
        Mount(frozenset({"rw", "cpu", "cpuacct"}), "/", "/sys/fs/cgroup/cpu,cpuacct"),
        Mount(frozenset(), "/", "/sys/fs/cgroup/unified"),
    ]
    assert machine.parse_mounts("1 2 0:3 /a\\040b /c\\134d rw - cgroup2 none rw")[0][1:] == ("/a b", "/c\\d")
    assert machine.parse_mounts("nonsense\n\n1 2 - \n") == []


def test_groups():
    assert machine.parse_groups(V2_GROUP) == {"": "/user.slice/job_7/step_0"}
    assert machine.parse_groups(V1_GROUP) == {
        "name=systemd": "/", "memory": "/slurm/job_7/step_0", "cpu": "/slurm", "cpuacct": "/slurm", "": "/",
    }  # fmt: skip
    assert machine.parse_groups("0::/with:colon\nnonsense\n") == {"": "/with:colon"}


@pytest.mark.parametrize(
    ("controller", "group", "mount", "folders"),
    [
        (
            "", V2_GROUP, V2_MOUNT,
            ["/sys/fs/cgroup/user.slice/job_7/step_0", "/sys/fs/cgroup/user.slice/job_7", "/sys/fs/cgroup/user.slice", "/sys/fs/cgroup"],
        ),
        (
            "memory", V1_GROUP, V1_MOUNT,
            [f"/sys/fs/cgroup/memory{path}" for path in ("/slurm/job_7/step_0", "/slurm/job_7", "/slurm", "")],
        ),
        ("cpu", V1_GROUP, V1_MOUNT, ["/sys/fs/cgroup/cpu,cpuacct/slurm", "/sys/fs/cgroup/cpu,cpuacct"]),
        ("", V1_GROUP, V1_MOUNT, ["/sys/fs/cgroup/unified"]),
        ("memory", V2_GROUP, V2_MOUNT, []),
        ("memory", "5:memory:/docker/4f/inner\n", CONTAINER_MOUNT, ["/sys/fs/cgroup/memory/inner", "/sys/fs/cgroup/memory"]),
        ("memory", "5:memory:/docker/4f\n", CONTAINER_MOUNT, ["/sys/fs/cgroup/memory"]),
        ("memory", "5:memory:/docker/4fff\n", CONTAINER_MOUNT, ["/sys/fs/cgroup/memory"]),
        ("", "0::/../other\n", V2_MOUNT, ["/sys/fs/cgroup"]),
    ],
)  # fmt: skip
def test_folders_of_a_group(controller, group, mount, folders):
    assert machine.group_folders(controller, machine.parse_groups(group), machine.parse_mounts(mount)) == folders


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000\n", None),
        ("150000 100000\n", 1.5),
        ("50000 100000", 0.5),
        ("200000", 2.0),
        ("", None),
        ("5 0", None),
    ],
)
def test_quota_of_version_2(text, cores):
    assert machine.parse_cpu_max(text) == cores


@pytest.mark.parametrize(
    ("quota", "period", "cores"), [("-1\n", "100000\n", None), ("250000\n", "100000\n", 2.5), ("", "", None)]
)
def test_quota_of_version_1(quota, period, cores):
    assert machine.parse_cfs_quota(quota, period) == cores


@pytest.mark.parametrize(
    ("text", "limit"), [("max\n", None), ("9223372036854771712\n", None), ("4294967296\n", 2**32), ("", None)]
)
def test_limit_of_memory(text, limit):
    assert machine.parse_limit(text) == limit


def test_counters():
    events = "low 0\nhigh 0\nmax 12\noom 2\noom_kill 3\noom_group_kill 0\n"
    assert machine.parse_counter(events, "oom_kill") == 3
    assert machine.parse_counter(events, "max") == 12
    assert machine.parse_counter("oom_kill_disable 0\nunder_oom 0\n", "oom_kill") is None
    assert machine.parse_counter("oom_kill none\n", "oom_kill") is None


@pytest.fixture
def system(monkeypatch):
    """A machine whose files are the entries of the dictionary."""
    files = {}
    monkeypatch.setattr(machine, "_read", lambda path: files.get(path, ""))
    monkeypatch.setattr(machine, "_has_proc", lambda: True)
    monkeypatch.setattr(machine, "_affinity", lambda: 8)
    return files


def test_the_smallest_quota_counts(system):
    assert machine.available_cores() == 8
    system |= {"/proc/self/cgroup": V2_GROUP, "/proc/self/mountinfo": V2_MOUNT}
    assert machine.available_cores() == 8
    system["/sys/fs/cgroup/user.slice/job_7/step_0/cpu.max"] = "max 100000"
    system["/sys/fs/cgroup/user.slice/job_7/cpu.max"] = "250000 100000"
    system["/sys/fs/cgroup/user.slice/cpu.max"] = "400000 100000"
    assert machine.available_cores() == 3
    system["/sys/fs/cgroup/user.slice/cpu.max"] = "1000 100000"
    assert machine.available_cores() == 1
    system["/sys/fs/cgroup/user.slice/job_7/cpu.max"] = system["/sys/fs/cgroup/user.slice/cpu.max"] = "3200000 100000"
    assert machine.available_cores() == 8


def test_quota_by_version_1(system):
    system |= {"/proc/self/cgroup": V1_GROUP, "/proc/self/mountinfo": V1_MOUNT}
    system |= {
        "/sys/fs/cgroup/cpu,cpuacct/slurm/cpu.cfs_quota_us": "200000\n",
        "/sys/fs/cgroup/cpu,cpuacct/slurm/cpu.cfs_period_us": "100000\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    assert machine.available_cores() == 2


def test_the_smallest_limit_of_memory_counts(system):
    total = machine.available_memory_bytes()
    assert total == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    system |= {"/proc/self/cgroup": V1_GROUP, "/proc/self/mountinfo": V1_MOUNT}
    system["/sys/fs/cgroup/memory/slurm/job_7/memory.limit_in_bytes"] = "1048576\n"
    system["/sys/fs/cgroup/memory/slurm/memory.limit_in_bytes"] = "2097152\n"
    assert machine.available_memory_bytes() == 2**20
    system.update({"/proc/self/cgroup": V2_GROUP, "/proc/self/mountinfo": V2_MOUNT})
    assert machine.available_memory_bytes() == total
    system["/sys/fs/cgroup/user.slice/memory.max"] = "4194304\n"
    assert machine.available_memory_bytes() == 2**22


def test_kills_of_the_innermost_group_that_counts_them(system):
    assert machine.oom_kills() == 0
    system |= {"/proc/self/cgroup": V2_GROUP, "/proc/self/mountinfo": V2_MOUNT}
    system["/sys/fs/cgroup/user.slice/memory.events"] = "oom 9\noom_kill 9\n"
    assert machine.oom_kills() == 9
    system["/sys/fs/cgroup/user.slice/job_7/step_0/memory.events"] = "oom 1\noom_kill 1\n"
    assert machine.oom_kills() == 1
    system.update({"/proc/self/cgroup": V1_GROUP, "/proc/self/mountinfo": V1_MOUNT})
    system["/sys/fs/cgroup/memory/slurm/job_7/step_0/memory.oom_control"] = (
        "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"
    )
    assert machine.oom_kills() == 4


def test_this_machine():
    assert 1 <= machine.available_cores() <= (os.cpu_count() or 1)
    assert 2**20 < machine.available_memory_bytes() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert machine.oom_kills() >= 0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_counts():
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "from plait._util import machine; import sys; print(machine.available_cores(), 'psutil' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "1 False\n"
    )
