"""The pool's edge in a real run: its thread survives what can go wrong, and when it does not, everything ends with the reason.

What it does with workers that end is in tests/fault; what it promises is in tests/contract.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import signal
import sys
import threading
import types

import pytest

import plait
from plait.executors.capacity import Capacity
from plait.executors.pool import link as link_module
from plait.executors.pool import wire
from plait.executors.pool.core import PoolCore
from plait.executors.pool.egg import lay
from plait.executors.pool.link import PoolLink
from plait.executors.pool.peer import Peer
from plait.limits import GATHER_S
from plait.model.resources import Resources
from plait.model.task import CANCELLED, EXEC_DONE, LAUNCHED, AppSpec, Task, TaskDetails
from plait.serialize import FunctionBlob, dumps, loads
from plait.testing import tasks
from tests.fault.lab import in_processes
from tests.support import wait_until

WAIT_S = 20


def link_of(kernel) -> PoolLink:
    (executor,) = kernel.config.executors
    return executor._link


def test_a_failure_of_its_thread_ends_all_tasks_with_the_reason(monkeypatch, tmp_path, caplog):
    with in_processes() as kernel:
        link = link_of(kernel)
        path, go = str(tmp_path / "notes"), str(tmp_path / "go")
        running = [plait.python_app(tasks.hold)(path, str(number), go) for number in range(2)]
        wait_until(lambda: len(tasks.notes(path)) == 2)
        waiting = [plait.python_app(tasks.echo, cores=cores)(1) for cores in (1, 2) for _ in range(5)]
        monkeypatch.setattr(link, "_obey", lambda outcomes: 1 / 0)
        link.wake()
        errors = [future.exception(WAIT_S) for future in [*running, *waiting]]
        later = plait.python_app(tasks.echo)(2).exception(WAIT_S)

    assert {type(error) for error in [*errors, later]} == {plait.errors.ExecutorError}
    assert "ZeroDivisionError" in str(later)
    assert "I/O thread" in caplog.text


def test_outcomes_that_were_taken_from_a_worker_are_told_when_the_thread_fails_after_that(monkeypatch, caplog):
    with in_processes(workers=1) as kernel:
        link = link_of(kernel)
        read = link._read

        def fail(peer, outcomes):
            read(peer, outcomes)
            if outcomes:
                raise OSError(24, "Too many open files")

        assert plait.python_app(tasks.echo)(4).result(WAIT_S) == 4
        monkeypatch.setattr(link, "_read", fail)
        assert plait.python_app(tasks.echo)(5).result(WAIT_S) == 5
        later = plait.python_app(tasks.echo)(6).exception(WAIT_S)
    assert isinstance(later, plait.errors.ExecutorError)
    assert "Too many open files" in caplog.text


def test_a_worker_that_cannot_be_replaced_now_is_replaced_later(monkeypatch):
    monkeypatch.setattr(link_module, "_SHORT_S", (0.01, 30.0))
    with in_processes(workers=1, max_losses=1) as kernel:
        link = link_of(kernel)
        spawn, asked = link._nursery.spawn, []

        def refuse_twice(number):
            asked.append(number)
            if len(asked) < 3:
                raise OSError(24, "Too many open files")
            return spawn(number)

        monkeypatch.setattr(link._nursery, "spawn", refuse_twice)
        crashed = plait.python_app(lambda: os.kill(os.getpid(), signal.SIGKILL))()
        assert isinstance(crashed.exception(WAIT_S), plait.errors.PoisonTask)
        assert plait.python_app(tasks.echo)(5).result(WAIT_S) == 5
        assert len(asked) >= 3
        assert len(link._ranks) == 0


def test_a_pool_for_which_there_are_never_files_again_says_so(monkeypatch):
    monkeypatch.setattr(link_module, "_SHORT_S", (0.01, 0.05))
    with in_processes(workers=1, max_losses=1) as kernel:
        link = link_of(kernel)
        assert plait.python_app(tasks.echo)(4).result(WAIT_S) == 4

        def refuse(number):
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(link._nursery, "spawn", refuse)
        crashed = plait.python_app(lambda: os.kill(os.getpid(), signal.SIGKILL))()
        assert "no worker could be started for 0.05 s" in str(crashed.exception(WAIT_S))


def test_a_system_without_processes_to_give_costs_no_other_worker(monkeypatch, tmp_path):
    full, asked = tmp_path / "full", tmp_path / "asked"
    (tmp_path / "forks_when_it_can.py").write_text(
        f"""import os
def fork(real=os.fork):
    if os.path.exists({str(full)!r}):
        open({str(asked)!r}, "w").close()
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return real()
os.fork = fork
"""
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(link_module, "_SHORT_S", (0.01, 30.0))
    executor = plait.ProcessPoolExecutor(max_workers=2, preload=["forks_when_it_can"])
    path, go = str(tmp_path / "notes"), str(tmp_path / "go")
    with plait.load(plait.Config([executor], max_losses=1, initialize_logging=False, progress=False)):
        runs = plait.python_app(tasks.hold)(path, "runs", go)
        wait_until(lambda: tasks.notes(path))
        full.write_text("")
        crashed = plait.python_app(lambda: os.kill(os.getpid(), signal.SIGKILL))()
        wait_until(asked.exists)
        full.unlink()
        assert isinstance(crashed.exception(WAIT_S), plait.errors.PoisonTask)
        assert plait.python_app(tasks.echo)(5).result(WAIT_S) == 5
        open(go, "w").close()
        runs.result(WAIT_S)
        assert runs.task_record["try_id"] == 0


def test_files_that_cannot_be_sent_now_are_sent_later(monkeypatch):
    """As when as many files as a user may have open are on their way already."""
    with in_processes(workers=1):
        echo = plait.python_app(tasks.echo)
        assert echo(0).result(WAIT_S) == 0
        send, refused = wire.send_files, []

        def busy(sock, buffers, fds):
            if fds and len(refused) < 3:
                refused.append(fds)
                raise OSError(errno.ETOOMANYREFS, "Too many references")
            return send(sock, buffers, fds)

        monkeypatch.setattr(wire, "send_files", busy)
        futures = [echo(bytes([number]) * 200_000) for number in range(5)]
        assert [future.result(WAIT_S)[0] for future in futures] == list(range(5))
        assert len(refused) == 3


def test_cancelled_between_being_chosen_and_being_sent(monkeypatch):
    """The payload is gone by then; the worker and the others do not notice."""
    with in_processes(workers=1) as kernel:
        link = link_of(kernel)
        echo = plait.python_app(tasks.echo)
        assert echo(0).result(WAIT_S) == 0
        send = link._send_batch
        chosen = []

        def send_later(peer, batch, now_s):
            if not chosen:
                chosen.extend(task for _, task in batch)
                chosen[0].future.cancel()
            send(peer, batch, now_s)

        monkeypatch.setattr(link, "_send_batch", send_later)
        first = echo(1)
        assert [future.result(WAIT_S) for future in [echo(number) for number in range(50)]] == list(range(50))
        wait_until(first.cancelled)
        assert link.core.capacity.used_cores in {0, 1}
        wait_until(lambda: link.core.capacity.used_cores == 0)


def test_arguments_that_cannot_be_put_into_a_file(monkeypatch):
    """As when memory has run out: that task fails, the others do not. Where only descriptors have, it goes through the socket."""
    from plait.executors.pool import prepare, wire

    monkeypatch.setattr(prepare, "MAX_WAITING_FILES", 0)
    full = []

    def anonymous_file(size, real=wire.anonymous_file):
        if full:
            raise OSError(full[-1], "no file")
        return real(size)

    with in_processes(workers=1):
        echo = plait.python_app(tasks.echo)
        assert len(echo(b"x" * 200_000).result(WAIT_S)) == 200_000
        monkeypatch.setattr(wire, "anonymous_file", anonymous_file)
        full.append(errno.ENOMEM)
        error = echo(b"x" * 200_000).exception(WAIT_S)
        full.append(errno.EMFILE)
        assert echo(bytearray(b"y" * 500_000)).result(WAIT_S) == b"y" * 500_000
        full.clear()
        assert echo(1).result(WAIT_S) == 1
        assert len(echo(b"x" * 200_000).result(WAIT_S)) == 200_000

    assert isinstance(error, plait.errors.SerializationError)
    assert "no file" in str(error)


class Interrupted:
    """A lock after whose taking a Ctrl-C comes, once."""

    def __init__(self, lock):
        self._lock = lock
        self._armed = True

    def acquire(self, *, blocking=True):
        taken = self._lock.acquire(blocking)
        if self._armed and not blocking:
            self._armed = False
            raise KeyboardInterrupt
        return taken

    def __getattr__(self, name):
        return getattr(self._lock, name)


@pytest.mark.parametrize("when", ["the lock was taken", "a part of a frame was sent"])
def test_a_signal_while_a_caller_sends(when, monkeypatch):
    with in_processes(workers=1) as kernel:
        link = link_of(kernel)
        echo = plait.python_app(tasks.echo)
        assert echo(0).result(WAIT_S) == 0
        wait_until(lambda: link.sleeping and link.core.idle)
        data = bytes(20_000_000)
        if when == "the lock was taken":
            link._io = Interrupted(link._io)
        else:
            real = Peer._listen

            def listen(peer, events):
                if peer.sending and threading.current_thread() is threading.main_thread():
                    raise KeyboardInterrupt
                real(peer, events)

            monkeypatch.setattr(Peer, "_listen", listen)
        with pytest.raises(KeyboardInterrupt):
            plait.python_app(lambda: len(data))()
        assert echo(1).result(WAIT_S) == 1
        wait_until(lambda: link.core.capacity.used_cores == 0)


def test_a_worker_that_sends_nonsense_is_ended():
    def talks():
        import gc
        import socket

        (sock,) = [s for s in gc.get_objects() if isinstance(s, socket.socket) and s.fileno() >= 0]
        sock.sendall(b"\xff" * 64)
        return "talked"

    with in_processes(workers=1, max_losses=0):
        future = plait.python_app(talks)()
        assert isinstance(future.exception(WAIT_S), (plait.errors.WorkerLost, type(None)))
        assert plait.python_app(tasks.echo)(1).result(WAIT_S) == 1


def test_cancelling_in_bulk_while_tasks_run(tmp_path):
    """What is cancelled in time never runs; what is not runs once."""
    path = str(tmp_path / "notes")
    with in_processes():
        note = plait.python_app(tasks.note)
        futures = [note(path, str(number)) for number in range(3000)]
        for future in futures[::3]:
            future.cancel()
        results = [None if future.cancelled() else future.result(WAIT_S) for future in futures]
    counts = collections.Counter(tasks.notes(path))
    assert set(counts.values()) == {1}
    assert [counts[str(number)] for number, result in enumerate(results) if result is not None] == [1] * sum(
        r is not None for r in results
    )
    assert all(result == str(number) for number, result in enumerate(results) if number % 3)


def test_recycled_workers_lose_nothing(tmp_path):
    path = str(tmp_path / "notes")
    with in_processes() as kernel:
        (executor,) = kernel.config.executors
        note, pid = plait.python_app(tasks.note), plait.python_app(tasks.pid)
        before = {future.result(WAIT_S) for future in [pid() for _ in range(50)]}
        futures = []
        for round_ in range(5):
            futures += [note(path, f"{round_} {number}") for number in range(100)]
            executor.recycle("for the test")
        assert [future.exception(WAIT_S) for future in futures] == [None] * 500
        wait_until(lambda: pid().result(WAIT_S) not in before)
    assert set(collections.Counter(tasks.notes(path)).values()) == {1}
    assert len(tasks.notes(path)) == 500


def test_what_waits_behind_a_long_task_goes_to_whoever_is_idle(tmp_path):
    with in_processes(options={"prefetch": 50}):
        echo = plait.python_app(tasks.echo)
        assert echo(1).result(WAIT_S) == 1
        long = plait.python_app(tasks.hold)(str(tmp_path / "notes"), "long", str(tmp_path / "go"))
        others = [echo(number) for number in range(200)]
        assert [future.result(WAIT_S) for future in others] == list(range(200))
        assert not long.done()
        (tmp_path / "go").touch()


def test_explanations(tmp_path):
    with in_processes(workers=1):
        long = plait.python_app(tasks.hold)(str(tmp_path / "notes"), "long", str(tmp_path / "go"))
        behind = [plait.python_app(tasks.echo)(number) for number in range(5)]
        wait_until(lambda: tasks.notes(str(tmp_path / "notes")))
        assert "runs on worker 0" in long.explain()
        assert "behind a running task" in behind[0].explain()
        assert (
            "waits in executor 'processes' for a free worker: 2 tasks are with its 1 worker and 4 wait"
            in behind[4].explain()
        )
        asking = plait.python_app(tasks.echo, memory="1GB")(1)
        assert "waits in executor 'processes' for a free worker and 1 core, 1.0 GB: " in asking.explain()
        (tmp_path / "go").touch()


def test_shut_down_twice_and_by_its_own_thread():
    with in_processes() as kernel:
        done = threading.Event()

        def end(_):
            kernel.cleanup()
            kernel.cleanup()
            done.set()

        plait.python_app(tasks.echo)(1).add_done_callback(end)
        assert done.wait(5)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no memfd")
def test_no_descriptor_stays_after_large_calls():
    with in_processes():
        echo = plait.python_app(tasks.echo)
        assert echo(1).result(WAIT_S) == 1
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            assert {len(future.result(WAIT_S)) for future in [echo(b"x" * 300_000) for _ in range(20)]} == {300_000}
        wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before)


# ------------------------------------------------------------------ served by a thread that does other things as well
class Sink:
    """An outlet that keeps everything: (task, how it ended, payload or reason)."""

    def __init__(self):
        self.emit = None
        self.got = []
        self.deliver = self.got.extend

    def take(self, worker, items, files, outcomes):
        skipped = [sequence for sequence, status, *_ in items if status == wire.SKIPPED]
        for sequence, status, payload, *_ in items:
            if status != wire.SKIPPED:
                entry = worker.held.pop(sequence, None)
                if entry is not None and entry[0].state == LAUNCHED:
                    entry[0].state = EXEC_DONE
                    outcomes.append((entry[0].id, status, loads(payload)))
        return len(items) - len(skipped), 0.001, skipped

    def lost(self, task, attempt, worker, how):
        return task.id, "lost", how

    def timed_out(self, task, attempt, worker):
        return task.id, "late", worker

    def refused(self, task, attempt, error):
        return task.id, "refused", str(error)


class Script:
    """A feed: does what the test says, in the pool's thread."""

    def __init__(self, link):
        self.link = link
        self.todo = collections.deque()
        self.read, self.write = os.pipe()
        os.set_blocking(self.read, False)
        self.rounds = []

    def fileno(self):
        return self.read

    def pump(self, readable):
        self.rounds.append(readable)
        if readable:
            with contextlib.suppress(BlockingIOError):
                os.read(self.read, 100)
        while self.todo:
            self.todo.popleft()()

    def do(self, function, *args):
        self.todo.append(lambda: function(*args))
        os.write(self.write, b"x")


class Served:
    """A pool without an executor."""

    def __init__(self, workers=2, prefetch=None, **options):
        self.sink = Sink()
        self.core = PoolCore(Capacity(workers), prefetch)
        config = {
            "path": sys.path,
            "cwd": os.getcwd(),
            "output": "",
            "cpus": [],
            "preload": [],
            "initializer": b"",
            "max_tasks": 0,
        }
        self.link = PoolLink(self.core, workers, config, dict(os.environ), "served", self.sink, **options)
        self.feed = Script(self.link)
        self.thread = threading.Thread(target=self.link.run, args=(self.feed,))
        self.thread.start()
        self.count = 0

    def submit(self, function, *args, **kwargs):
        details = TaskDetails() if kwargs else None
        if details is not None:
            details.resources = Resources(**kwargs)
        task = Task(AppSpec(function, function.__name__), args, {}, None, 0.0)
        task.id, task.state, task.attempt, task.details = self.count, LAUNCHED, 1, details
        task.app.blob, task.payload = FunctionBlob(function), dumps((args, {}))
        self.count += 1
        self.feed.do(self.link.submit, task)
        return task

    def results(self, count):
        wait_until(lambda: len(self.sink.got) >= count, dump=lambda: self.sink.got)
        return sorted(self.sink.got)

    def close(self):
        self.feed.do(self.link.stop)
        self.thread.join(10)
        self.link.shutdown(10)
        os.close(self.feed.read)
        os.close(self.feed.write)


@pytest.fixture
def served():
    made = []

    def make(*args, **kwargs):
        made.append(Served(*args, **kwargs))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_feed_is_served_beside_the_workers(served):
    pool = served()
    for number in range(100):
        pool.submit(tasks.echo, number)
    assert pool.results(100) == [(number, wire.DONE, number) for number in range(100)]
    assert pool.feed.rounds[0] is True
    assert False in pool.feed.rounds


def test_the_death_of_the_zygote_is_one_failure_however_many_workers_were_starting(served):
    pool = served(8)
    os.kill(pool.link._nursery._process.pid, signal.SIGKILL)  # its workers have not said anything yet
    pool.submit(tasks.echo, 1)
    assert pool.results(1) == [(0, wire.DONE, 1)]
    assert pool.link.broken is None


def test_ranks_are_those_of_workers_that_live(served):
    pool = served(env_of=lambda rank: {"PLAIT_RANK": str(rank)})
    for _ in range(4):
        pool.submit(tasks.crash, "os._exit")
        wait_until(lambda: any(how == "lost" for _, how, _ in pool.sink.got))
        pool.sink.got.clear()
    wait_until(lambda: len(pool.core.workers) == 2)
    for _ in range(40):
        pool.submit(os.getenv, "PLAIT_RANK")
    assert {value for _, _, value in pool.results(40)} <= {"0", "1"}


def test_special_tasks_are_bound(served):
    pool = served(1, binding_of=lambda task: ({"PLAIT_TASK_ID": str(task.id)}, []))
    pool.submit(os.getenv, "PLAIT_TASK_ID", priority=1)
    pool.submit(os.getenv, "PLAIT_TASK_ID")
    pool.submit(os.getenv, "PLAIT_TASK_ID", priority=1)
    assert sorted(str(value) for _, _, value in pool.results(3)) == ["0", "2", "None"]


def test_what_was_not_begun_is_given_back_the_last_first(served, tmp_path):
    pool = served(1, prefetch=4)
    path, go = str(tmp_path / "notes"), str(tmp_path / "go")
    pool.submit(tasks.hold, path, "long", go)
    wait_until(lambda: tasks.notes(path))
    for number in range(9):
        pool.submit(tasks.echo, number)
    wait_until(lambda: pool.core.running == 5 and pool.core.queued == 5)
    back = []
    pool.feed.do(pool.link.give_back, 7, lambda given: back.extend(task.id for task in given))
    wait_until(lambda: len(back) == 7)
    assert back[:5] == [9, 8, 7, 6, 5]
    assert sorted(back[5:]) == [3, 4]
    (tmp_path / "go").touch()
    assert [number for number, *_ in pool.results(3)] == [0, 1, 2]


def test_giving_everything_back_leaves_what_runs(served, tmp_path):
    pool = served(2, prefetch=4)
    path, go = str(tmp_path / "notes"), str(tmp_path / "go")
    for number in range(2):
        pool.submit(tasks.hold, path, str(number), go)
    wait_until(lambda: len(tasks.notes(path)) == 2)
    for number in range(50):
        pool.submit(tasks.echo, number)
    back = []
    pool.feed.do(pool.link.give_back, sys.maxsize, lambda given: back.extend(task.id for task in given))
    wait_until(lambda: len(back) == 50)
    (tmp_path / "go").touch()
    assert [number for number, *_ in pool.results(2)] == [0, 1]
    assert pool.core.running == pool.core.queued == 0


def test_workers_wait_while_they_are_held_up(served):
    pool = served(1)
    pool.submit(tasks.echo, 1)
    pool.results(1)
    pool.feed.do(lambda: pool.link.hold_up(on=True))
    for number in range(2, 40):
        pool.submit(tasks.echo, number)
    wait_until(lambda: pool.core.running > 1)
    rounds = len(pool.feed.rounds)
    pool.feed.do(lambda: None)
    wait_until(lambda: len(pool.feed.rounds) > rounds)
    assert len(pool.sink.got) == 1
    pool.feed.do(lambda: pool.link.hold_up(on=False))
    pool.results(39)


def test_abandoned_tasks_end_and_other_workers_come(served, tmp_path):
    pool = served(2)
    path = str(tmp_path / "notes")
    held = [pool.submit(tasks.hold, path, str(number), str(tmp_path / "never")) for number in range(2)]
    wait_until(lambda: len(tasks.notes(path)) == 2)
    before = {worker.pid for worker in pool.core.workers.values()}

    def abandon():
        for task in held:
            task.state = CANCELLED
        pool.link.abandon("for the test")

    pool.feed.do(abandon)
    wait_until(lambda: {worker.pid for worker in pool.core.workers.values()}.isdisjoint(before))
    task = pool.submit(tasks.echo, "new")  # the losses of the held ones come in any order with it: nobody wants them
    wait_until(lambda: (task.id, wire.DONE, "new") in pool.results(0))


def test_shut_down_without_ever_having_been_served():
    config = {"path": sys.path, "cwd": "", "output": "", "cpus": [], "preload": [], "initializer": b"", "max_tasks": 0}
    link = PoolLink(PoolCore(Capacity(1)), 1, config, dict(os.environ), "x", Sink(), egg=lay(dict(os.environ)))
    link.shutdown(5)


@pytest.mark.parametrize(
    ("busy", "mean_s", "since_s", "waits_s"),
    [
        (8, 1.0, 0.0005, GATHER_S - 0.0005),
        (8, 0.001, 0.0, 0.0002),
        (8, 1.0, 1.0, None),
        (7, 1.0, 0.0, None),
        (8, 0.0, 0.0, None),
    ],
)
def test_with_many_busy_workers_a_moment_passes_between_rounds(monkeypatch, busy, mean_s, since_s, waits_s):
    slept = []
    monkeypatch.setattr(link_module, "time", types.SimpleNamespace(monotonic=lambda: 100.0, sleep=slept.append))
    link = object.__new__(PoolLink)
    link.core = types.SimpleNamespace(mean_s=mean_s, workers=range(busy + 2), idle=range(2))
    link._woke_s = 100.0 - since_s
    link._gather()
    assert slept == ([] if waits_s is None else [pytest.approx(waits_s)])
    assert link._woke_s == pytest.approx(100.0 + (waits_s or 0.0))
