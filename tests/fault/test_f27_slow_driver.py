"""F27: the driver is stopped while results flow, and goes on: what waits for it is bounded in every process, and nothing is lost."""

from __future__ import annotations

import signal

import psutil
import pytest

from tests.fault.lab import driver, let_pass
from tests.fault.pilot import interchanges, managers
from tests.support import require_linux, wait_until

BODY = """
from plait.providers import LocalProvider
htex = plait.HighThroughputExecutor(address="127.0.0.1", max_workers_per_node=2, cores_per_worker=0.25, heartbeat_period=0.2, heartbeat_threshold=20,
                                    provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1))

@python_app
def make(path, number, size):
    import os
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, b"x")
    os.close(fd)
    return bytes([number % 256]) * size

count, size = int(sys.argv[2]), int(sys.argv[3])
seen = []
def check(future, number):
    assert future.result() == bytes([number % 256]) * size
    seen.append(number)
with load(executors=[htex], max_losses=0):
    echo(1).result()
    print("up", flush=True)
    futures = [make(sys.argv[1], number, size) for number in range(count)]
    for number, future in enumerate(futures):
        future.add_done_callback(lambda future, number=number: check(future, number))
    print("submitted", flush=True)
    while futures:
        futures.pop(0).result(60)
print(f"right {len(seen)} {len(set(seen))}")
"""

#: (results, bytes of each, bytes by which a process may grow)
CASES = {
    "small": (30_000, 10, 30_000_000),
    "middling": (3000, 90_000, 80_000_000),
    "large": (100, 3_000_000, 80_000_000),
}


@pytest.mark.parametrize("case", CASES)
def test_it_goes_on_where_it_was(case, tmp_path):
    require_linux("reads /proc")
    count, size, room = CASES[case]
    path = tmp_path / "notes"

    def ran() -> int:
        return path.stat().st_size if path.exists() else 0

    with driver(BODY, str(path), str(count), str(size)) as program:
        program.says("up", 40)
        # one that is just being started looks like the process that starts it
        both = [psutil.Process(pid) for pid in (interchanges()[0], managers()[0])]
        before = [process.memory_info().rss for process in both]
        wait_until(lambda: ran() > count // 20, 40, program.text)
        program.signal(signal.SIGSTOP)
        last = -1
        most = [0, 0]
        while ran() != last:  # until nothing more is run
            last = ran()
            for _ in range(4):
                let_pass(0.1)
                most = [max(m, process.memory_info().rss - b) for m, process, b in zip(most, both, before, strict=True)]
        assert last < count  # nobody keeps on for a driver that does not listen
        program.signal(signal.SIGCONT)
        assert program.wait(90) == 0, program.text()
        assert f"right {count} {count}" in program.text()
        assert ran() == count
    assert max(most) < room, most
