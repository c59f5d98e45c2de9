"""A soak: random work on pilot jobs, while a seeded killer ends, stops and confuses what runs it.

    make soak                              ten minutes
    python tools/soak.py --minutes 1 --seed 7

The oracle: every task writes a line into a file when it begins. At the end
- every future has ended, and every success is the value that the same call gives in this process;
- whatever succeeded has begun at least once, and no more often than it had attempts (the journal knows how many);
- no process, thread or descriptor is left, and the driver's memory has not grown beyond bounds;
- the logs hold no error that nobody expects.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import plait
from plait._util import procs
from plait.monitoring.journal import read_journal
from plait.providers import LocalProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Futures that are kept at one time.
_LIVE = 300
_THRESHOLD_S = 3.0
_joins: set[int] = set()
#: Bytes by which the least memory of the last third of the time may exceed that of the first.
_GROWTH = 40_000_000


def begin(path: str, number: int) -> None:
    """A line that is there before the task can be lost."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, f"{number} {os.getpid()}\n".encode())
    os.close(fd)


@plait.python_app
def value(path, number, x):
    begin(path, number)
    return x * 7 + 1


@plait.python_app
def total(path, number, parts):
    begin(path, number)
    return sum(parts)


@plait.python_app
def slow(path, number, seconds):
    begin(path, number)
    time.sleep(seconds)
    return number


@plait.python_app
def big(path, number, data):
    begin(path, number)
    return bytes(reversed(data))


@plait.python_app
def wrong(path, number):
    begin(path, number)
    raise ValueError(number)


@plait.join_app
def fan(path, number, width):
    return [value(path, number, i) for i in range(width)]


@plait.bash_app
def shell(path, number):
    return f"echo {number} $$ >> {path}"


class Work:
    """Makes random calls, and knows what each must give."""

    def __init__(self, seed: int, path: str) -> None:
        self.random = random.Random(f"work {seed}")
        self.path = path
        self.number = 0
        self.kinds: Counter[str] = Counter()

    def calls(self) -> list[tuple[plait.AppFuture, Callable[[object], bool], int]]:
        """Some futures, each with the test of its result (or error) and the number under which it notes its beginning."""
        kind = self.random.choice(("map", "map", "chain", "fan-in", "join", "wrong", "slow", "big", "special", "shell"))
        self.kinds[kind] += 1
        return list(getattr(self, f"_{kind.replace('-', '_')}")())

    def _next(self) -> int:
        self.number += 1
        return self.number

    def _map(self) -> Iterator:
        for _ in range(self.random.randint(1, 60)):
            number, x = self._next(), self.random.randint(0, 1000)
            yield value(self.path, number, x), _equals(x * 7 + 1), number

    def _chain(self) -> Iterator:
        x: object = self.random.randint(0, 9)
        expected = x
        for _ in range(self.random.randint(2, 12)):
            number = self._next()
            x, expected = value(self.path, number, x), expected * 7 + 1
            yield x, _equals(expected), number

    def _fan_in(self) -> Iterator:
        xs = [self.random.randint(0, 1000) for _ in range(self.random.randint(1, 30))]
        parts = []
        for x in xs:
            number = self._next()
            parts.append(value(self.path, number, x))
            yield parts[-1], _equals(x * 7 + 1), number
        number = self._next()
        yield total(self.path, number, parts), _equals(sum(x * 7 + 1 for x in xs)), number

    def _join(self) -> Iterator:
        number, width = self._next(), self.random.randint(1, 8)
        _joins.add(number)
        yield fan(self.path, number, width), _equals([i * 7 + 1 for i in range(width)]), number

    def _wrong(self) -> Iterator:
        number = self._next()
        yield wrong(self.path, number), lambda error: isinstance(error, ValueError) and error.args == (number,), number

    def _slow(self) -> Iterator:
        for _ in range(self.random.randint(1, 4)):
            number = self._next()
            yield slow(self.path, number, self.random.uniform(0.05, 1.0)), _equals(number), number

    def _big(self) -> Iterator:
        number = self._next()
        data = self.random.randbytes(self.random.choice((200_000, 3_000_000, 12_000_000)))
        yield big(self.path, number, data), _equals(bytes(reversed(data))), number

    def _special(self) -> Iterator:
        for _ in range(self.random.randint(1, 6)):
            number, x = self._next(), self.random.randint(0, 1000)
            app = value.options(cores=self.random.choice((1, 2)), priority=self.random.randint(0, 3), walltime="60s")
            yield app(self.path, number, x), _equals(x * 7 + 1), number

    def _shell(self) -> Iterator:
        number = self._next()
        yield shell(self.path, number), _equals(0), number


def _equals(expected: object) -> Callable[[object], bool]:
    return lambda found: found == expected


class Killer(threading.Thread):
    """Ends and stops processes of the run, by a clock that the seed sets."""

    def __init__(self, seed: int, mean_s: float) -> None:
        super().__init__(name="killer", daemon=True)
        self.random = random.Random(f"killer {seed}")
        self.mean_s = mean_s
        self.over = threading.Event()
        self.done: Counter[str] = Counter()

    def run(self) -> None:
        while not self.over.wait(self.random.expovariate(1 / self.mean_s)):
            what = self.random.choice(("worker", "worker", "manager", "pause", "long-pause", "interchange", "stall"))
            try:
                self._do(what)
            except (ProcessLookupError, IndexError):
                continue  # it ended by itself, or is not up yet

    def _do(self, what: str) -> None:
        if what == "worker":
            self._kill(self._choose("htex.manager", below=2), signal.SIGKILL)
        elif what == "manager":
            self._kill(self._choose("htex.manager"), signal.SIGKILL)
        elif what == "interchange":
            self._kill(self._choose("htex.interchange"), signal.SIGKILL)
        elif what == "stall":
            self._pause(self._choose("htex.interchange"), 1.5 * _THRESHOLD_S)
        else:
            self._pause(self._choose("htex.manager"), (0.5 if what == "pause" else 2) * _THRESHOLD_S)
        self.done[what] += 1

    def _kill(self, pid: int, number: int) -> None:
        os.kill(pid, number)

    def _pause(self, pid: int, seconds: float) -> None:
        os.kill(pid, signal.SIGSTOP)
        try:
            self.over.wait(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)

    def _choose(self, module: str, below: int = 0) -> int:
        """A process that runs the module; or one so many generations below it."""
        found = [pid for pid in procs.descendants(os.getpid()) if f"{module}" in _command(pid)]
        for _ in range(below):
            found = [child for pid in found for child in procs.children_of(pid)]
        return self.random.choice(sorted(found))


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return b" ".join(words[1:3]).decode(errors="replace") if words[1:2] in ([b"-m"], [b"-c"]) else ""


def soak(minutes: float, seed: int, mean_s: float) -> int:
    """Runs it; the number of findings."""
    folder = Path(tempfile.mkdtemp(prefix="plait-soak-"))
    notes = folder / "begun"
    notes.touch()
    before = {"threads": threading.active_count(), "files": len(os.listdir("/proc/self/fd"))}
    executor = plait.HighThroughputExecutor(
        address="127.0.0.1",
        max_workers_per_node=3,
        cores_per_worker=0.5,
        heartbeat_period=0.5,
        heartbeat_threshold=_THRESHOLD_S,
        provider=LocalProvider(init_blocks=3, min_blocks=3, max_blocks=3),
        block_error_handler=False,
    )
    config = plait.Config(
        [executor], run_dir=str(folder / "runs"), max_losses=1000, progress=False, strategy_period=0.2
    )
    work, killer = Work(seed, str(notes)), Killer(seed, mean_s)
    findings: list[str] = []
    memory: list[int] = []
    ended = 0
    succeeded: list[tuple[int, int]] = []
    with plait.load(config) as kernel:
        run_dir = kernel.run_dir
        end_s = time.monotonic() + 60 * minutes
        killer.start()
        live: list = []
        while time.monotonic() < end_s or live:
            if time.monotonic() >= end_s:
                killer.over.set()
            while time.monotonic() < end_s and len(live) < _LIVE:
                live += work.calls()
            future, is_right, number = live.pop(0)
            try:
                found: object = future.result(timeout=120)
                succeeded.append((number, future.tid))
            except TimeoutError:
                findings.append(f"{future} had not ended after 120 s: {future.explain()}")
                break
            except Exception as error:  # noqa: BLE001 - compared with what is expected
                found = error
            ended += 1
            if not is_right(found):
                findings.append(f"{future} gave {found!r:.300}")
            if ended % 500 == 0:
                memory.append(_rss())
                print(
                    f"{ended} ended, {len(findings)} findings, {dict(killer.done)}, {memory[-1] >> 20} MiB", flush=True
                )
        killer.over.set()
        killer.join()
    del future, found, live
    gc.collect()
    findings += _judge(notes, run_dir, succeeded, memory, before)
    print(f"seed {seed}: {ended} tasks of {dict(work.kinds)}; {dict(killer.done)}; {len(findings)} findings; {folder}")
    for finding in findings[:40]:
        print("  *", finding)
    return len(findings)


def _judge(
    notes: Path, run_dir: str, succeeded: list[tuple[int, int]], memory: list[int], before: dict[str, int]
) -> list[str]:
    findings = []
    begun = Counter(int(line.split()[0]) for line in notes.read_text().splitlines())
    attempts = {event.task: event.attempt for event in read_journal(run_dir) if type(event).__name__ == "TaskEnded"}
    calls = Counter(number for number, _ in succeeded)  # the calls that a join app makes note its own number
    never = [number for number, _ in succeeded if not begun[number]]
    if never:
        findings.append(f"{len(never)} calls succeeded that never began, the first {never[0]}")
    often = [
        (number, begun[number], attempts[task])
        for number, task in succeeded
        if number not in _joins and calls[number] == 1 and begun[number] > attempts[task]
    ]
    if often:
        number, times, allowed = often[0]
        findings.append(f"{len(often)} calls began too often, the first {number}: {times} times in {allowed} attempts")
    deadline = time.monotonic() + 5
    while (left := procs.descendants(os.getpid())) and time.monotonic() < deadline:
        time.sleep(0.05)
    if left:
        findings.append(f"processes are left: {[_command(pid) or pid for pid in left]}")
    after = {"threads": threading.active_count(), "files": len(os.listdir("/proc/self/fd"))}
    findings += [f"{after[name] - count} {name} are left" for name, count in before.items() if after[name] > count]
    third = len(memory) // 3
    if third and (grown := min(memory[-third:]) - min(memory[:third])) > _GROWTH:
        findings.append(f"the driver grew by {grown >> 20} MiB")
    log = Path(run_dir, "plait.log").read_text(errors="replace")
    findings += [f"in the log: {line}" for line in log.splitlines() if " ERROR " in line]
    return findings


def _rss() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=float, default=4.0, metavar="S", help="mean seconds between two faults")
    options = parser.parse_args()
    return min(1, soak(options.minutes, options.seed, options.every))


if __name__ == "__main__":
    sys.exit(main())
