"""The real interchange process alone, between a driver and managers that do nothing but answer.

    this process: the driver                 offers tasks, counts outcomes
      ├─ python -m plait…interchange         what is measured
      └─ python -m benchmarks.exchange …     any number of managers, each a connection of its own; one process of one thread

A manager answers each batch of tasks with their outcomes at once. CPU is read for the interchange alone, all its threads.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from benchmarks.measure import process_cpu_s, process_rss_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

Metrics = dict[str, float]

PAYLOAD = b"\x80\x05\x95\x0a\x00\x00\x00\x00\x00\x00\x00K\x01\x85}\x94\x86\x94."  # ((1,), {})
RESULT = b"\x80\x05K\x01."
BATCH = 512
WINDOW = 200_000
"""Tasks without a place that the driver lets the interchange hold, as plait's driver does."""


class Exchange:
    """A running interchange with so many managers."""

    def __init__(self, managers: int, workers: int = 2, period_s: float = 30.0) -> None:
        import msgspec

        from plait.executors.htex import messages as m
        from plait.executors.htex.link import new_keys
        from plait.executors.htex.settings import InterchangeSettings
        from plait.executors.htex.stream import Stream, socket_pair

        self.m = m
        self.managers = managers
        public, secret = new_keys()
        settings = InterchangeSettings(
            label="benchmark", run_id="run", bind=["127.0.0.1"], port=None, port_range=(20_000, 60_000), server_public=public,
            server_secret=secret, heartbeat_period_s=period_s, heartbeat_threshold_s=120.0, cores_per_worker=1.0, memory_per_worker=0,
            policy=b"", expected=[], epoch="1",
        )  # fmt: skip
        ours, theirs = socket_pair()
        command = [sys.executable, "-m", "plait.executors.htex.interchange", str(theirs.fileno())]
        self.process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=subprocess.PIPE, start_new_session=True
        )
        theirs.close()
        self._tell(self.process, msgspec.json.encode(settings))
        self.stream = Stream(ours, m.TO_DRIVER)
        self.poll = select.poll()
        self.done = self.placed = self.up = 0
        self.others: list[Any] = []
        self.crowd: subprocess.Popen[bytes] | None = None
        self._until(lambda: any(isinstance(each, m.Listening) for each in self.others), 20)
        if managers:
            port = next(each.port for each in self.others if isinstance(each, m.Listening))
            mine = new_keys()
            self.stream.send(m.Allow("block", mine[0]))
            told = {
                "managers": managers,
                "workers": workers,
                "port": port,
                "server": public,
                "public": mine[0],
                "secret": mine[1],
            }
            self.crowd = subprocess.Popen([sys.executable, "-m", "benchmarks.exchange"], stdin=subprocess.PIPE)
            self._tell(self.crowd, json.dumps(told | {"period_s": period_s}).encode())
            self._until(lambda: self.up == managers, 120)
        self.stream.send(m.Function(0), b"function")

    @staticmethod
    def _tell(process: subprocess.Popen[bytes], text: bytes) -> None:
        assert process.stdin is not None
        process.stdin.write(text)
        process.stdin.close()

    # ------------------------------------------------------------------ the driver
    def turn(self, wait_s: float = 0.01) -> None:
        """Take what has come; wait a little for it."""
        stream, m = self.stream, self.m
        poll = select.poll()
        poll.register(stream, select.POLLIN | select.POLLOUT if stream.pending else select.POLLIN)
        poll.poll(wait_s * 1000)
        stream.flush()
        frames = stream.receive()
        if frames is None:
            raise RuntimeError(f"the interchange ended with {self.process.wait()}")
        seq = 0
        for message, _, _ in frames:
            if isinstance(message, m.Delivered):
                self.done += len(message.items)
                seq = message.seq
            elif isinstance(message, m.Placed):
                self.placed += len(message.items)
            elif isinstance(message, m.ManagerUp):
                self.up += 1
            else:
                self.others.append(message)
        if seq:
            stream.send(m.Taken(seq))

    def _until(self, condition: Callable[[], bool], limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                message = f"not within {limit_s} s: up={self.up} placed={self.placed} done={self.done}"
                raise TimeoutError(message)
            self.turn()
            assert self.crowd is None or self.crowd.poll() is None

    def offer(self, first: int, count: int) -> None:
        """Offer one batch."""
        self.stream.send(self.m.Offer([(task, 1, 0, PAYLOAD, None, None) for task in range(first, first + count)]))

    def route(self, count: int, first: int = 0) -> Metrics:
        """Offer so many tasks, wait for the outcomes of all."""
        self.done = self.placed = 0
        offered = 0
        cpu = process_cpu_s(self.process.pid)
        start = time.perf_counter()
        while self.done < count:
            while offered < count and offered - self.placed < WINDOW and self.stream.pending < 1 << 20:
                size = min(BATCH, count - offered)
                self.offer(first + offered, size)
                offered += size
            self.turn()
        wall_s = time.perf_counter() - start
        cpu_s = process_cpu_s(self.process.pid) - cpu
        return {
            "wall_rate": count / wall_s,
            "cpu_us": 1e6 * cpu_s / count,
            "rate": count / cpu_s,
            "cores": cpu_s / wall_s,
        }

    def queue(self, count: int) -> Metrics:
        """Memory and time of tasks that nobody takes."""
        before, cpu = process_rss_bytes(self.process.pid), process_cpu_s(self.process.pid)
        for first in range(0, count, BATCH):
            self.offer(first, min(BATCH, count - first))
            while self.stream.pending > 1 << 20:
                self.turn()
        self.stream.send(self.m.Query(1, "queue"))
        self._until(lambda: any(isinstance(each, self.m.Answer) for each in self.others), 60)
        cpu_s = process_cpu_s(self.process.pid) - cpu
        return {
            "queued_bytes": (process_rss_bytes(self.process.pid) - before) / count,
            "offer_cpu_us": 1e6 * cpu_s / count,
        }

    def idle(self, seconds: float) -> Metrics:
        """What heartbeats alone cost."""
        cpu, start = process_cpu_s(self.process.pid), time.perf_counter()
        while time.perf_counter() - start < seconds:
            self.turn(0.5)
        wall_s = time.perf_counter() - start
        cores = (process_cpu_s(self.process.pid) - cpu) / wall_s
        return {"cores": cores}

    def close(self) -> None:
        """End everything."""
        self.stream.close()
        self.process.wait(10)
        if self.crowd is not None:
            self.crowd.kill()
            self.crowd.wait()

    def __enter__(self) -> Exchange:  # noqa: PYI034 - typing.Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def crowd(managers: int, workers: int, port: int, server: str, public: str, secret: str, period_s: float) -> None:
    """Any number of managers in one thread, over one context of ZeroMQ."""
    import resource

    import zmq

    from plait.executors.htex import messages as m
    from plait.executors.htex.wire import decode, encode

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    context = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 2 * managers + 64)
    epoll = select.epoll()
    by_fd: dict[int, tuple[Any, list[int]]] = {}
    version = ".".join(str(n) for n in sys.version_info[:3])
    for number in range(managers):
        sock = context.socket(zmq.DEALER)
        sock.linger = 0
        sock.sndhwm = sock.rcvhwm = 0
        sock.curve_serverkey, sock.curve_publickey, sock.curve_secretkey = (
            server.encode(),
            public.encode(),
            secret.encode(),
        )
        sock.connect(f"tcp://127.0.0.1:{port}")
        facts = m.Register(
            manager=f"manager-{number}", block="block", hostname="node", pid=1, boot="boot", protocol=m.PROTOCOL, plait="0.1.0", python=version,
            workers=workers, cores=float(workers), memory_bytes=0, disk_bytes=0, gpus=[], walltime_left_s=None, prefetch=0, draining=False,
            holds=[], finished=[],
        )  # fmt: skip
        sock.send(encode(facts))
        fd = sock.getsockopt(zmq.FD)
        by_fd[fd] = (sock, [0])
        epoll.register(fd, select.EPOLLIN)
    parent = os.getppid()
    due = time.monotonic() + period_s
    beats = list(by_fd.values())
    beat = 0
    ready = set(by_fd)
    while os.getppid() == parent:
        events = epoll.poll(0 if ready else 0.01)
        ready |= {fd for fd, _ in events}
        for fd in ready:
            sock, seq = by_fd[fd]
            while True:
                try:
                    head = sock.recv(zmq.NOBLOCK)
                except zmq.Again:
                    break
                while sock.getsockopt(zmq.RCVMORE):
                    sock.recv()
                message = decode(head, m.TO_MANAGER)
                if isinstance(message, m.Tasks):
                    seq[0] += 1
                    items = [(item[0], 1, m.DONE, RESULT, 5.0, 5.00001, 0) for item in message.items]
                    sock.send(encode(m.Outcomes(seq[0], items)))
        ready.clear()
        now = time.monotonic()
        upto = int(managers * (1 - (due - now) / period_s))  # spread over the period
        while beat < min(upto, managers):
            beats[beat][0].send(encode(m.Heartbeat(now)))
            ready.add(beats[beat][0].getsockopt(zmq.FD))  # sending may have taken the sign from the descriptor
            beat += 1
        if now >= due:
            due, beat = now + period_s, 0


if __name__ == "__main__":
    crowd(**json.load(sys.stdin))
