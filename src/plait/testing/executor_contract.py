"""What every executor promises, as a suite for pytest: inherit from `ExecutorContract` and say which executor by `make_executor`.

`ProcessContract` adds what can be promised only where tasks run in processes of their own: they can be ended, and nothing of them is shared.
The crash matrix is a suite of its own (`plait.testing.crash_matrix`).
"""

from __future__ import annotations

import concurrent.futures
import functools
import os
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

import pytest

import plait
from plait._util import procs
from plait.errors import (
    AppTimeout,
    DeserializationError,
    InvalidResourceSpecification,
    RemoteError,
    SerializationError,
    TaskExited,
)
from plait.testing import tasks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from plait.executors.base import Executor

WAIT_S = 30.0


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = WAIT_S) -> Any:
    """What the condition returns, as soon as that is true."""
    deadline_s = time.monotonic() + timeout_s
    pause = threading.Event()
    while not (answer := condition()):
        if time.monotonic() >= deadline_s:
            pytest.fail(f"after {timeout_s:g} s still not: {what}")
        pause.wait(0.002)
    return answer


class ContractBase:
    """How a suite comes to its executor."""

    def make_executor(self, workers: int = 2, **options: Any) -> Executor:
        """A new executor.

        Args:
            workers: tasks that it can run at once.
            options: of executors with processes: prefetch, initializer, initargs, max_tasks_per_worker, env, cpu_affinity.
        """
        raise NotImplementedError

    def load(self, workers: int = 2, *, config: dict[str, Any] | None = None, **options: Any) -> Any:
        """A run on it, for ``with``."""
        settings = {"initialize_logging": False, "progress": False, **(config or {})}
        return plait.load(plait.Config(executors=[self.make_executor(workers, **options)], **settings))


class ExecutorContract(ContractBase):
    """What all executors promise."""

    # ------------------------------------------------------------------ results and errors
    def test_results(self) -> None:
        """They arrive as they are, whatever the order of ending."""
        values = [None, True, 0, 10**40, 1.5, "text", b"bytes", (1, [2, {"three": {4}}]), frozenset({1}), Ellipsis]
        echo = plait.python_app(tasks.echo)
        with self.load():
            futures = [echo(value) for value in values]
            assert [future.result(WAIT_S) for future in reversed(futures)] == values[::-1]
            assert echo(value="named").result(WAIT_S) == "named"
            assert echo(value=echo("future")).result(WAIT_S) == "future"
            assert echo(value=[echo(1), echo(value=2)]).result(WAIT_S) == [1, 2]

    def test_order_of_ending_is_not_that_of_calling(self, tmp_path: Path) -> None:
        """A later task may end earlier."""
        hold, echo = plait.python_app(tasks.hold), plait.python_app(tasks.echo)
        with self.load(workers=2):
            first = hold(str(tmp_path / "notes"), "first", str(tmp_path / "go"))
            others = [echo(number) for number in range(20)]
            assert [other.result(WAIT_S) for other in others] == list(range(20))
            assert not first.done()
            (tmp_path / "go").touch()
            assert first.result(WAIT_S) == "first"

    def test_standard_functions_take_the_futures(self) -> None:
        """`wait` and `as_completed` of the standard library."""
        add = plait.python_app(tasks.add)
        with self.load():
            futures = [add(number, 1) for number in range(50)]
            done, not_done = concurrent.futures.wait(futures, WAIT_S)
            assert not not_done
            assert done == set(futures)
            assert sorted(
                f.result() for f in plait.as_completed([add(number, 1) for number in range(50)], WAIT_S)
            ) == list(range(1, 51))

    def test_an_error_arrives_with_class_cause_and_traceback(self) -> None:
        """It can be caught by its class, and its text leads to the line that raised it."""
        with self.load():
            error = plait.python_app(tasks.fail)("no good").exception(WAIT_S)
            echo = plait.python_app(tasks.echo)(1).result(WAIT_S)

        assert type(error) is ValueError
        assert error.args == ("no good",)
        assert type(error.__cause__) is KeyError
        text = "".join(traceback.format_exception(error))
        assert "raise ValueError(text) from error" in text
        assert 'raise KeyError("the first")' in text
        assert "tasks.py" in text
        assert echo == 1

    @pytest.mark.parametrize("size", [50_000, 1_000_000])
    def test_a_big_error(self, size: int) -> None:
        """As one with the output of a program in it."""
        with self.load():
            error = plait.python_app(tasks.fail)("x" * size).exception(WAIT_S)

        assert type(error) is ValueError
        assert error.args == ("x" * size,)
        assert type(error.__cause__) is KeyError

    def test_errors_that_cannot_travel(self) -> None:
        """Their text does, or at least their class; nobody waits in vain, with the journal on as well."""
        for logging in (False, True):
            with self.load(config={"initialize_logging": logging}):
                unprintable = plait.python_app(tasks.raise_unprintable)().exception(WAIT_S)
                unpicklable = plait.python_app(tasks.raise_unpicklable)().exception(WAIT_S)
                exited = plait.python_app(tasks.crash)("sys.exit").exception(WAIT_S)
                retried = plait.python_app(tasks.raise_unprintable, retries=1)().exception(WAIT_S)
                assert plait.python_app(tasks.echo)(1).result(WAIT_S) == 1

            assert isinstance(unprintable, (tasks.Unprintable, RemoteError))
            assert isinstance(retried, (tasks.Unprintable, RemoteError))
            assert isinstance(unpicklable, (tasks.Unpicklable, RemoteError))
            assert "holds a lock" in str(unpicklable)
            assert isinstance(exited, TaskExited)

    # ------------------------------------------------------------------ who submits
    def test_many_threads_submit(self) -> None:
        """Each gets its own results."""
        add = plait.python_app(tasks.add)
        results: dict[int, list[int]] = {}

        def submit(base: int) -> None:
            futures = [add(base, number) for number in range(100)]
            results[base] = [future.result(WAIT_S) for future in futures]

        with self.load():
            threads = [threading.Thread(target=submit, args=(1000 * number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(WAIT_S)

        assert results == {1000 * n: [1000 * n + number for number in range(100)] for n in range(8)}

    def test_callbacks_submit(self) -> None:
        """A callback may call apps, and so may the callbacks of those."""
        add = plait.python_app(tasks.add)
        ends: list[int] = []
        enough = threading.Event()

        def go_on(future: Any) -> None:
            value = future.result()
            if value < 50:
                add(value, 1).add_done_callback(go_on)
            else:
                ends.append(value)
                if len(ends) == 4:
                    enough.set()

        with self.load():
            for start in range(4):
                add(start, 1).add_done_callback(go_on)
            assert enough.wait(WAIT_S)

        assert ends == [50] * 4

    # ------------------------------------------------------------------ sizes
    @pytest.mark.parametrize("size", [0, 1_000, 96 * 1024 - 1, 96 * 1024, 100_000, 1_000_000, 50_000_000])
    def test_sizes(self, size: int) -> None:
        """Bytes of any length there and back, and arrays that can be written to on both sides."""
        numpy = pytest.importorskip("numpy")
        with self.load():
            data = os.urandom(min(size, 4096)) * (size // 4096 + 1)
            data = data[:size]
            echo = plait.python_app(tasks.echo)
            assert echo(data).result(WAIT_S) == data
            assert echo(bytearray(data)).result(WAIT_S) == data
            assert echo([data[:10], data]).result(WAIT_S)[1] == data
            array = numpy.zeros(size // 8)
            changed = plait.python_app(tasks.change_array)(array.copy()).result(WAIT_S)
            assert changed.sum() == size // 8
            changed += 1
            assert changed.sum() == 2 * (size // 8)
            assert array.sum() == 0
            del changed

    def test_many_large_ones(self) -> None:
        """More large arguments and results than a process may have open files."""
        import resource

        numpy = pytest.importorskip("numpy")
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        change = plait.python_app(tasks.change_array)
        with self.load():
            plait.python_app(tasks.echo)(1).result(WAIT_S)
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(400, limits[0]), limits[1]))
            try:
                futures = [change(numpy.full(20_000, number)) for number in range(600)]
                sums = [int(future.result(WAIT_S)[0]) for future in futures]
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            del futures

        assert sums == list(range(1, 601))

    # ------------------------------------------------------------------ kinds of functions
    def test_kinds_of_functions(self) -> None:
        """Whatever can be called."""
        offset = 100

        def closure(value: int) -> int:
            return value + offset

        greeter = tasks.Greeter("hello")
        calls: list[tuple[Any, tuple[Any, ...], Any]] = [
            (lambda value: value + 1, (1,), 2),
            (closure, (1,), 101),
            (tasks.add_ten, (1,), 11),
            (functools.partial(closure, 5), (), 105),
            (greeter.greet, ("you",), "hello, you"),
            (tasks.Greeter.make, ("hi", "you"), "hi, you"),
            (tasks.Greeter.shout, ("you",), "YOU"),
            (len, ([1, 2, 3],), 3),
            (str.upper, ("you",), "YOU"),
            (tasks.Greeter("hey").greet, ("you",), "hey, you"),
        ]
        with self.load():
            futures = [plait.python_app(function)(*args) for function, args, _ in calls]
            assert [future.result(WAIT_S) for future in futures] == [expected for _, _, expected in calls]

    # ------------------------------------------------------------------ resources
    def test_a_big_task_leaves_room(self, tmp_path: Path) -> None:
        """Two cores of four are taken: two small ones run beside it."""
        meet = plait.python_app(tasks.meet)
        path = str(tmp_path / "notes")
        with self.load(workers=4):
            futures = [meet.options(cores=2)(path, "big", 2), meet(path, "small 1", 2), meet(path, "small 2", 2)]
            assert [future.result(WAIT_S) for future in futures] == [3, 3, 3]

    def test_there_is_never_more_than_fits(self, tmp_path: Path) -> None:
        """Of two 2-core tasks on three cores one waits for the other."""
        hold = plait.python_app(tasks.hold, cores=2)
        path, go = str(tmp_path / "notes"), str(tmp_path / "go")
        with self.load(workers=3):
            futures = [hold(path, "1", go), hold(path, "2", go)]
            small = plait.python_app(tasks.echo, priority=1)
            wait_for(lambda: tasks.notes(path), "the first runs")
            assert [small(number).result(WAIT_S) for number in range(50)] == list(range(50))
            assert tasks.notes(path) == ["1"]
            (tmp_path / "go").touch()
            assert [future.result(WAIT_S) for future in futures] == ["1", "2"]

    def test_what_can_never_be_given_is_refused_at_the_call(self) -> None:
        """With both numbers."""
        echo = plait.python_app(tasks.echo)
        with self.load(workers=2):
            with pytest.raises(InvalidResourceSpecification, match=r"3 cores asked.* has 2"):
                echo.options(cores=3)(1)
            with pytest.raises(InvalidResourceSpecification, match="1 GPU"):
                echo.options(gpus=1)(1)
            assert echo(1).result(WAIT_S) == 1

    def test_lower_priority_numbers_run_first(self, tmp_path: Path) -> None:
        """And tasks without one after all that have one."""
        hold, note = plait.python_app(tasks.hold), plait.python_app(tasks.note)
        path, go = str(tmp_path / "notes"), str(tmp_path / "go")
        with self.load(workers=1):
            first = hold.options(cores=1, priority=0)(str(tmp_path / "holds"), "it", go)
            wait_for(lambda: tasks.notes(str(tmp_path / "holds")), "the first runs")
            futures = [
                note(path, "none"),
                *(note.options(priority=number)(path, str(number)) for number in (3, 1, 2, -1)),
            ]
            (tmp_path / "go").touch()
            concurrent.futures.wait([first, *futures], WAIT_S)

        assert tasks.notes(path) == ["-1", "1", "2", "3", "none"]

    def test_a_big_task_is_not_starved(self, tmp_path: Path) -> None:
        """While small ones come and come."""
        echo, note = plait.python_app(tasks.echo), plait.python_app(tasks.note)
        path = str(tmp_path / "notes")
        stop = threading.Event()
        with self.load(workers=2):
            waiting = [echo(number) for number in range(20)]

            def again(future: Any) -> None:
                if not stop.is_set() and not future.cancelled():
                    echo(1).add_done_callback(again)

            for future in waiting:
                future.add_done_callback(again)
            big = note.options(cores=2)(path, "big")
            assert big.result(WAIT_S) == "big"
            assert not stop.is_set()
            stop.set()
            plait.wait_for_current_tasks()

    # ------------------------------------------------------------------ ending
    def test_a_waiting_task_can_be_cancelled(self, tmp_path: Path) -> None:
        """It never runs, its dependants are cancelled with it, and others go on."""
        hold, note = plait.python_app(tasks.hold), plait.python_app(tasks.note)
        path, go = str(tmp_path / "notes"), str(tmp_path / "go")
        with self.load(workers=1):
            first = hold(str(tmp_path / "holds"), "it", go)
            wait_for(lambda: tasks.notes(str(tmp_path / "holds")), "the first runs")
            futures = [note(path, str(number)) for number in range(10)]
            dependant = plait.python_app(tasks.echo)(futures[3])
            assert all(futures[number].cancel() for number in (3, 1, 5))
            assert futures[3].cancel()  # once more changes nothing
            assert all(futures[number].cancelled() for number in (1, 3, 5))
            assert dependant.cancelled()
            with pytest.raises(concurrent.futures.CancelledError, match=r"task 4 \(note\)"):
                dependant.result(WAIT_S)
            (tmp_path / "go").touch()
            assert first.result(WAIT_S) == "it"
            rest = [future.result(WAIT_S) for number, future in enumerate(futures) if number not in {1, 3, 5}]

        assert sorted(tasks.notes(path)) == sorted(rest) == ["0", "2", "4", "6", "7", "8", "9"]
        assert not first.cancel()

    def test_a_time_limit(self, tmp_path: Path) -> None:
        """The future ends in time, and names the limit."""
        hold = plait.python_app(tasks.hold, walltime=0.3)
        with self.load(workers=2):
            begin_s = time.monotonic()
            error = hold(str(tmp_path / "notes"), "it", str(tmp_path / "go")).exception(WAIT_S)
            took_s = time.monotonic() - begin_s
            assert (
                hold.options(walltime=60)(str(tmp_path / "notes"), "it", str(tmp_path / "notes")).result(WAIT_S) == "it"
            )
            (tmp_path / "go").touch()

        assert isinstance(error, AppTimeout)
        assert "300 ms" in str(error)
        assert 0.29 <= took_s < 2.0

    def test_a_time_limit_beyond_all_clocks(self, tmp_path: Path) -> None:
        """It is no limit, and the others are kept beside it."""
        hold = plait.python_app(tasks.hold, walltime=1e12)
        path, go = str(tmp_path / "notes"), str(tmp_path / "go")
        with self.load(workers=2):
            first = hold(path, "long", go)
            wait_for(lambda: tasks.notes(path) == ["long"], "the long task runs")
            error = hold.options(walltime=0.1)(path, "short", go).exception(WAIT_S)
            (tmp_path / "go").touch()
            assert first.result(WAIT_S) == "long"

        assert isinstance(error, AppTimeout)

    def test_a_command_with_a_time_limit_is_ended_with_all_that_it_started(self, tmp_path: Path) -> None:
        """Hidden in sessions of their own, deaf to SIGTERM."""
        path = tmp_path / "notes"
        script = f"(trap '' TERM; exec setsid sleep 1000) & echo $! >> {path}; echo $$ >> {path}; sleep 1000"
        bash = plait.bash_app(lambda: script, walltime=0.5)
        with self.load(workers=1):
            error = bash().exception(WAIT_S)
            assert isinstance(error, AppTimeout)
            assert plait.python_app(tasks.echo)(1).result(WAIT_S) == 1
            left = [pid for pid in map(int, tasks.notes(str(path))) if procs.is_alive(pid)]

        assert left == []

    def test_shutdown_is_idempotent_and_bounded(self, tmp_path: Path) -> None:
        """With tasks that wait and tasks that run; and what comes after it is refused."""
        with self.load() as kernel:
            hold = plait.python_app(tasks.hold)
            futures = [hold(str(tmp_path / "notes"), str(number), str(tmp_path / "go"), 1.0) for number in range(50)]
            wait_for(lambda: tasks.notes(str(tmp_path / "notes")), "some run")
            begin_s = time.monotonic()
            kernel.cleanup()
            assert time.monotonic() - begin_s < 10.0
            kernel.cleanup()
            assert all(future.done() for future in futures)
            with pytest.raises(plait.errors.NoDataFlowKernelError):
                kernel.submit(tasks.echo, [1])

    def test_shutdown_right_after_start(self) -> None:
        """Nobody needs to have called anything."""
        for _ in range(3):
            with self.load():
                pass

    def test_an_executor_that_was_shut_down_takes_nothing(self) -> None:
        """The task fails with the reason instead of waiting for ever."""
        with self.load() as kernel:
            (executor,) = kernel.config.executors
            plait.python_app(tasks.echo)(1).result(WAIT_S)
            executor.shutdown(5.0)
            executor.shutdown(5.0)
            error = plait.python_app(tasks.echo)(2).exception(WAIT_S)

        assert isinstance(error, plait.errors.ExecutorError)


class ProcessContract(ExecutorContract):
    """What executors promise whose tasks run in processes of their own."""

    def test_what_cannot_be_sent_is_named(self) -> None:
        """Argument, function or result, and the part of it."""
        lock = threading.Lock()
        with self.load():
            argument = plait.python_app(tasks.echo)({"deep": [1, lock]}).exception(WAIT_S)
            function = plait.python_app(lambda: lock)().exception(WAIT_S)
            result = plait.python_app(lambda: threading.Lock())().exception(WAIT_S)  # noqa: PLW0108 - made in the worker
            assert plait.python_app(tasks.echo)(1).result(WAIT_S) == 1

        for error in (argument, function, result):
            assert isinstance(error, SerializationError)
        assert "argument 0['deep'][1]" in str(argument)
        assert "lambda" in str(function)
        assert "lock" in str(result)

    def test_a_function_that_is_not_there(self) -> None:
        """Its module cannot be imported in a worker: the error says so."""
        import sys
        import types

        module = types.ModuleType("not_to_be_found")
        module.__spec__ = object()  # type: ignore[assignment]
        exec("def function():\n    return 1\n", module.__dict__)  # noqa: S102
        sys.modules["not_to_be_found"] = module
        try:
            with self.load():
                error = plait.python_app(module.function)().exception(WAIT_S)
                assert plait.python_app(tasks.echo)(1).result(WAIT_S) == 1
        finally:
            del sys.modules["not_to_be_found"]

        assert isinstance(error, DeserializationError)
        assert "not_to_be_found" in str(error)

    # ------------------------------------------------------------------ settings
    def test_initializer(self) -> None:
        """Each worker runs it once, before its first task."""
        read = plait.python_app(tasks.read_initialized)
        with self.load(workers=2, initializer=tasks.initialize, initargs=("value",)):
            assert {tuple(future.result(WAIT_S)) for future in [read() for _ in range(20)]} == {("value",)}

    def test_an_initializer_that_raises(self) -> None:
        """The executor gives up and says why, instead of trying for ever."""
        with self.load(workers=2, initializer=tasks.fail, initargs=("my reason",)):
            error = plait.python_app(tasks.echo)(1).exception(WAIT_S)
            later = plait.python_app(tasks.echo)(1).exception(WAIT_S)

        assert isinstance(error, plait.errors.ExecutorError)
        assert isinstance(later, plait.errors.ExecutorError)
        assert "could not start" in str(error)
        assert "its initializer raised ValueError: my reason" in str(error)

    def test_a_worker_is_replaced_after_its_number_of_tasks(self, tmp_path: Path) -> None:
        """No task is lost with it, and none runs twice."""
        path = str(tmp_path / "notes")

        def task(number: int) -> int:
            tasks.note(path, str(number))
            return os.getpid()

        with self.load(workers=2, max_tasks_per_worker=7):
            pids = [future.result(WAIT_S) for future in [plait.python_app(task)(number) for number in range(70)]]

        assert max(pids.count(pid) for pid in pids) <= 7
        assert sorted(map(int, tasks.notes(path))) == list(range(70))

    def test_env(self) -> None:
        """Variables are set, and removed where the value is None."""
        os.environ["PLAIT_TEST_REMOVED"] = "there"
        read = plait.python_app(tasks.environment)
        try:
            with self.load(env={"PLAIT_TEST_SET": "yes", "PLAIT_TEST_REMOVED": None}):
                assert read("PLAIT_TEST_SET").result(WAIT_S) == "yes"
                assert read("PLAIT_TEST_REMOVED").result(WAIT_S) is None
                assert read("PATH").result(WAIT_S) == os.environ["PATH"]
        finally:
            del os.environ["PLAIT_TEST_REMOVED"]

    def test_cpu_affinity(self) -> None:
        """Each worker keeps to its cores."""
        if not hasattr(os, "sched_getaffinity"):
            pytest.skip("the system has no affinity")
        core = min(os.sched_getaffinity(0))
        with self.load(workers=1, cpu_affinity=[[core]]):
            assert plait.python_app(tasks.affinity)().result(WAIT_S) == [core]

    # ------------------------------------------------------------------ ending what runs
    @pytest.mark.parametrize("body", [tasks.loop, tasks.sleep_in_c], ids=["python", "c"])
    def test_cancel_what_runs(self, body: Callable[..., Any], tmp_path: Path) -> None:
        """The future is cancelled at once, the process ends, and tasks that wait behind it run."""
        path = str(tmp_path / "notes")
        with self.load(workers=1):
            running = plait.python_app(body)(path)
            wait_for(lambda: tasks.notes(path), "it runs")
            waiting = [plait.python_app(tasks.note)(path, str(number)) for number in range(20)]
            assert running.cancel()
            assert running.cancelled()
            assert [future.result(WAIT_S) for future in waiting] == [str(number) for number in range(20)]

        pid = int(tasks.notes(path)[0].split()[1])
        assert not procs.is_alive(pid)
        assert sorted(tasks.notes(path)[1:], key=int) == [str(number) for number in range(20)]

    def test_cancel_ends_the_whole_tree(self, tmp_path: Path) -> None:
        """However they hide, and deaf to SIGTERM."""
        path = str(tmp_path / "notes")
        with self.load(workers=2):
            running = plait.python_app(tasks.family)(path, deaf=True)
            wait_for(lambda: len(tasks.notes(path)) == 5, "the family is there")
            pids = [int(line.split()[1]) for line in tasks.notes(path)]
            assert all(map(procs.is_alive, pids))
            assert running.cancel()
            assert plait.python_app(tasks.echo)(1).result(WAIT_S) == 1
            wait_for(lambda: not any(map(procs.is_alive, pids)), "all have ended", 5.0)

    @pytest.mark.parametrize("body", [tasks.loop, tasks.sleep_in_c, tasks.family], ids=["python", "c", "family"])
    def test_a_time_limit_ends_what_runs(self, body: Callable[..., Any], tmp_path: Path) -> None:
        """Its processes end, and its worker is back at once."""
        path = str(tmp_path / "notes")
        with self.load(workers=1):
            begin_s = time.monotonic()
            error = plait.python_app(body, walltime=0.5)(path).exception(WAIT_S)
            assert plait.python_app(tasks.echo)(1).result(WAIT_S) == 1
            took_s = time.monotonic() - begin_s
            pids = [int(line.split()[1]) for line in tasks.notes(path)]
            wait_for(lambda: not any(map(procs.is_alive, pids)), "all have ended", 5.0)

        assert isinstance(error, AppTimeout)
        assert pids
        assert took_s < 3.0
