"""Several pilot-job executors: in one run, and in many runs on one host that want ports of the same small range."""

from __future__ import annotations

import contextlib
import socket

import pytest

import plait
from plait.testing import tasks
from tests.fault.lab import driver
from tests.fault.pilot import executor, interchanges, managers
from tests.support import require_linux, wait_until

RUNS = 4
BODY = """
from plait.providers import LocalProvider
htex = plait.HighThroughputExecutor(address="127.0.0.1", worker_port_range=(int(sys.argv[1]), int(sys.argv[2])), max_workers_per_node=1, cores_per_worker=0.25,
                                    provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1))
with load(executors=[htex], run_dir="runs", initialize_logging=True):
    assert [future.result() for future in [echo((os.getpid(), i)) for i in range(100)]] == [(os.getpid(), i) for i in range(100)]
    print("port", htex._link.lives.port, flush=True)
    while not os.path.exists("all"):
        time.sleep(0.01)
    assert echo(1).result() == 1
print("good", flush=True)
"""


def free_range(count: int) -> tuple[int, int]:
    """Ports that nobody has, in a row."""
    for start in range(21_000, 31_000, count):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(start, start + count):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return start, start + count
    raise AssertionError("no free ports")


def test_many_runs_share_a_small_range_of_ports(tmp_path):
    first, end = free_range(RUNS)
    with contextlib.ExitStack() as stack:
        programs = [stack.enter_context(driver(BODY, str(first), str(end))) for _ in range(RUNS)]
        ports = {int(program.says("port", 60).split("port ")[1].split()[0]) for program in programs}
        assert ports == set(range(first, end))
        (tmp_path / "all").touch()
        for program in programs:
            assert program.wait(40) == 0, program.text()
            assert "good" in program.text()
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [f"{number:03}" for number in range(RUNS)]


def test_two_executors_in_one_run():
    require_linux("reads /proc")
    two = [executor(label="left"), executor(label="right")]
    config = plait.Config(two, initialize_logging=False, progress=False, strategy_period=0.1, max_losses=0)
    left = plait.python_app(tasks.pid, executors=["left"])
    right = plait.python_app(tasks.pid, executors=["right"])
    with plait.load(config):
        wait_until(lambda: all(each.connected_managers() for each in two), 30)
        assert len(interchanges()) == len(managers()) == 2
        pids = [(left(), right()) for _ in range(100)]
        on_left = {one.result(30) for one, _ in pids}
        on_right = {one.result(30) for _, one in pids}
        assert on_left.isdisjoint(on_right)
        two[0].set_bad_state_and_fail_all(RuntimeError("the left one is given up"))
        with pytest.raises(plait.errors.PlaitError, match="given up"):
            left().result(30)
        assert right().result(30) in managers_workers()


def managers_workers() -> set[int]:
    """All processes below managers."""
    from plait._util import procs

    return {pid for manager in managers() for pid in procs.descendants(manager)}
