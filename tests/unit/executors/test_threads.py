"""The thread executor's own: lending a place, threads that go on, capture. What it promises is in tests/contract."""

from __future__ import annotations

import concurrent.futures
import threading
import time

import pytest

import plait
from plait import ThreadPoolExecutor
from plait._util import procs
from plait.errors import AppTimeout, ConfigurationError, ExecutorError, InvalidResourceSpecification
from plait.model.task import AppSpec, Task
from plait.testing import tasks
from tests.support import require_linux, wait_until

WAIT_S = 20


def load(threads=2, **config):
    executor = ThreadPoolExecutor(max_threads=threads)
    return plait.load(plait.Config(executors=[executor], initialize_logging=False, progress=False, **config))


def capacity_of(kernel):
    (executor,) = kernel.config.executors
    return executor._capacity


@pytest.mark.parametrize("threads", [0, -1, True, 1.5, "2"])
def test_what_cannot_work_is_named(threads):
    with pytest.raises(ConfigurationError, match="max_threads="):
        ThreadPoolExecutor(max_threads=threads)


def test_a_label_is_text():
    with pytest.raises(ConfigurationError, match="label=3.*expected text"):
        ThreadPoolExecutor(label=3)


def test_what_is_assigned_before_a_run_counts():
    executor = ThreadPoolExecutor(max_threads=1)
    config = plait.Config(executors=[executor], initialize_logging=False, progress=False)
    executor.max_threads = 3
    with plait.load(config):
        meeting = threading.Barrier(3)
        futures = [plait.python_app(meeting.wait)(WAIT_S) for _ in range(3)]
        assert sorted(future.result(WAIT_S) for future in futures) == [0, 1, 2]
    executor.max_threads = "3"
    with pytest.raises(ConfigurationError, match="max_threads='3'"):
        plait.load(config)


def test_threads_are_started_when_needed_and_used_again():
    with load(4) as kernel:
        before = threading.active_count()
        for number in range(50):
            assert plait.python_app(tasks.echo)(number).result(WAIT_S) == number
        assert threading.active_count() <= before + 2
        assert kernel.config.executors[0].status().running == 0


def test_memory_that_there_is_not_is_refused_at_the_call():
    with load(2) as kernel:
        echo = plait.python_app(tasks.echo)
        with pytest.raises(InvalidResourceSpecification, match=r"900\.0 TB of memory asked, executor 'threads' has "):
            echo.options(memory="900TB")(1)
        assert echo.options(memory="1MB")(1).result(WAIT_S) == 1
        assert capacity_of(kernel).used_memory_bytes == 0


def test_all_resources_come_back(tmp_path):
    go = str(tmp_path / "go")
    with load(4) as kernel:
        capacity = capacity_of(kernel)
        futures = [plait.python_app(tasks.fail, cores=cores)() for cores in (0.3, 1, 2.5, 4)]
        futures += [plait.python_app(tasks.hold, walltime=0.05, cores=2)(str(tmp_path / "n"), "x", go)]
        futures += [plait.python_app(lambda: plait.python_app(tasks.echo)(1).result())() for _ in range(10)]
        for future in futures:
            future.exception(WAIT_S)
        (tmp_path / "go").touch()
        wait_until(lambda: abs(capacity.used_cores) < 1e-6)


@pytest.mark.parametrize(
    "wait",
    [
        lambda futures: [future.result(WAIT_S) for future in futures],
        lambda futures: sorted(future.result() for future in concurrent.futures.wait(futures, WAIT_S).done),
        lambda futures: sorted(future.result() for future in concurrent.futures.as_completed(futures, WAIT_S)),
    ],
    ids=["result", "wait", "as_completed"],
)
def test_a_task_that_waits_lends_its_place(wait):
    echo = plait.python_app(tasks.echo)
    with load(1) as kernel:
        capacity = capacity_of(kernel)

        def outer():
            found = wait([echo(number) for number in range(3)])
            return found, capacity.used_cores >= 1

        assert plait.python_app(outer)().result(WAIT_S) == ([0, 1, 2], True)
        wait_until(lambda: capacity.used_cores == 0)


def test_a_task_does_not_wait_for_itself():
    def waits():
        plait.wait_for_current_tasks()

    with load(1):
        error = plait.python_app(waits)().exception(WAIT_S)
        assert isinstance(error, RuntimeError)
        assert "wait_for_current_tasks() in task 0 (waits) would wait for this task too" in str(error)
        plait.wait_for_current_tasks()


def test_the_place_of_a_big_task_is_enough_for_several():
    with load(3):
        go, meeting = threading.Event(), threading.Barrier(3)
        big = plait.python_app(lambda parsl_resource_specification=None: go.wait(WAIT_S))
        first = big(parsl_resource_specification={"cores": 3})
        futures = [plait.python_app(meeting.wait)(WAIT_S) for _ in range(3)]
        go.set()
        assert first.result(WAIT_S)
        assert sorted(future.result(WAIT_S) for future in futures) == [0, 1, 2]


def test_what_waits_behind_a_task_that_is_cancelled_begins():
    with load(2):
        go = threading.Event()
        holds = plait.python_app(go.wait)(WAIT_S)
        big = plait.python_app(lambda parsl_resource_specification=None: 1)
        in_the_way = big(parsl_resource_specification={"cores": 2})
        behind = plait.python_app(tasks.echo)(5)
        assert not behind.done()
        assert in_the_way.cancel()
        assert behind.result(WAIT_S) == 5
        go.set()
        assert holds.result(WAIT_S)


def test_a_callback_may_wait_for_what_a_walltime_ends():
    with load(2):
        go, seen = threading.Event(), []
        slow = lambda: go.wait(WAIT_S)
        first, second = plait.python_app(slow, walltime=0.05)(), plait.python_app(slow, walltime=0.2)()
        first.add_done_callback(lambda _: seen.append(second.exception(WAIT_S)))
        assert isinstance(second.exception(WAIT_S), AppTimeout)
        assert wait_until(lambda: seen) == [second.exception()]
        go.set()


class Handle:
    """An argument that uses an app when it is no longer needed."""

    def __init__(self, ended):
        self.ended = ended

    def __del__(self):
        self.ended.append(plait.python_app(tasks.echo)(5))


def test_arguments_of_a_task_that_is_late_may_call_apps_in_their_finalizers():
    with load(2):
        go, ended = threading.Event(), []
        late = plait.python_app(lambda handle, go: go.wait(WAIT_S), walltime=0.05)(Handle(ended), go)
        assert isinstance(late.exception(WAIT_S), AppTimeout)
        go.set()
        assert wait_until(lambda: ended)[0].result(WAIT_S) == 5


def test_a_thread_that_the_system_does_not_give_costs_one_task(monkeypatch, caplog):
    with load(2):
        start = threading.Thread.start

        def refuse(self):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        refused = plait.python_app(tasks.echo)(1)
        assert "can't start new thread" in str(refused.exception(WAIT_S))
        monkeypatch.setattr(threading.Thread, "start", start)
        assert plait.python_app(tasks.echo)(2).result(WAIT_S) == 2
    assert "a step of the cleanup failed" not in caplog.text


def test_a_walltime_gives_the_place_to_others(tmp_path):
    go = tmp_path / "go"
    with load(1) as kernel:
        error = plait.python_app(tasks.hold, walltime=0.1)(str(tmp_path / "n"), "x", str(go)).exception(WAIT_S)
        assert isinstance(error, AppTimeout)
        assert "goes on in the background" in str(error)
        assert plait.python_app(tasks.echo)(1).result(WAIT_S) == 1  # while it goes on
        go.touch()
        wait_until(lambda: capacity_of(kernel).used_cores == 0)


def test_a_late_result_changes_nothing(tmp_path):
    go = tmp_path / "go"
    with load(1):
        future = plait.python_app(tasks.hold, walltime=0.05)(str(tmp_path / "n"), "x", str(go))
        error = future.exception(WAIT_S)
        go.touch()
        assert plait.python_app(tasks.echo)(1).result(WAIT_S) == 1
        assert future.exception(WAIT_S) is error


def test_an_attempt_that_was_dropped_does_not_drop_the_next(tmp_path):
    """A task that is tried again is another attempt of the same task."""
    path = str(tmp_path / "notes")

    def fails_twice():
        tasks.note(path, "try")
        if len(tasks.notes(path)) < 3:
            raise ValueError("not yet")
        return "done"

    with load(1, retries=2):
        assert plait.python_app(fails_twice)().result(WAIT_S) == "done"


def test_before_its_start_and_after_its_end():
    executor = ThreadPoolExecutor()
    task = Task(AppSpec(len, "app"), ([],), {}, None, 0.0)
    with pytest.raises(ExecutorError, match="was not started"):
        executor.submit(task)
    executor.shutdown(1.0)
    executor.shutdown(1.0)


def test_a_shutdown_that_was_interrupted_ends_commands_when_it_is_called_again(tmp_path, monkeypatch):
    require_linux("/proc")
    with load(1) as kernel:
        (executor,) = kernel.config.executors
        path = tmp_path / "pids"
        plait.bash_app(_command)(str(path))
        wait_until(lambda: len(_pids(path)) == 3)
        with monkeypatch.context() as patch:
            patch.setattr(executor._timers, "stop", _interrupt)
            with pytest.raises(KeyboardInterrupt):
                executor.shutdown(10.0)
        executor.shutdown(0.1)
        assert not any(map(procs.is_alive, _pids(path)))


def _interrupt():
    raise KeyboardInterrupt


def test_shutdown_waits_for_what_runs_and_no_longer(tmp_path):
    with load(2) as kernel:
        plait.python_app(tasks.hold)(str(tmp_path / "n"), "x", str(tmp_path / "go"), 30.0)
        wait_until(lambda: tasks.notes(str(tmp_path / "n")))
        begin_s = time.monotonic()
        kernel.cleanup(0.3)
        assert 0.2 < time.monotonic() - begin_s < 10.0
        (tmp_path / "go").touch()


def _command(path, trap=""):
    return f"{trap} sleep 1000 & echo $$ $! >> {path}; setsid sleep 1000 & echo $! >> {path}; wait"


def _pids(path):
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def test_a_command_that_runs_is_cancelled_with_all_that_it_started(tmp_path, monkeypatch):
    require_linux("/proc")
    monkeypatch.setattr("plait.executors.threads.GRACE_S", 0.2)
    with load(2) as kernel:
        (executor,) = kernel.config.executors
        for name, trap in ("polite", ""), ("deaf", "trap '' TERM;"):
            path = tmp_path / name
            future = plait.bash_app(_command)(str(path), trap)
            after = plait.python_app(tasks.echo)(future)
            wait_until(lambda path=path: len(_pids(path)) == 3)
            assert future.cancel()
            assert future.cancelled()
            wait_until(lambda after=after: after.cancelled())
            wait_until(lambda path=path: not any(map(procs.is_alive, _pids(path))))
        wait_until(lambda: executor.status().running == 0)
        assert (executor._commands, executor._cancelled) == ({}, set())
        assert plait.python_app(tasks.echo)(1).result(WAIT_S) == 1


def test_a_command_that_ends_before_the_engine_knows_that_it_is_cancelled_is_cancelled(tmp_path, monkeypatch):
    with load(1) as kernel:
        (executor,) = kernel.config.executors
        end = executor._end_command

        def end_and_wait(command):
            end(command)
            wait_until(lambda: executor.status().running == 0)
            assert plait.python_app(tasks.echo)(1).result(WAIT_S) == 1  # its thread has done what follows

        monkeypatch.setattr(executor, "_end_command", end_and_wait)
        future = plait.bash_app(_command)(str(tmp_path / "pids"))
        wait_until(lambda: len(_pids(tmp_path / "pids")) == 3)
        assert future.cancel()
        assert future.cancelled()


def test_a_command_that_is_cancelled_before_it_begins_does_not_stay(tmp_path):
    making, go = threading.Event(), threading.Event()

    def make():
        making.set()
        go.wait(WAIT_S)
        return "sleep 1000"

    with load(1) as kernel:
        (executor,) = kernel.config.executors
        future = plait.bash_app(make)()
        assert making.wait(WAIT_S)
        assert future.cancel()
        go.set()
        wait_until(lambda: executor.status().running == 0)


def test_leaving_a_block_ends_commands(tmp_path):
    require_linux("/proc")
    path = tmp_path / "pids"
    with load(1):
        future = plait.bash_app(_command)(str(path))
        wait_until(lambda: len(_pids(path)) == 3)
    assert future.cancelled()
    assert not any(map(procs.is_alive, _pids(path)))


def test_cancelled_tasks_leave_nothing_to_remember(tmp_path):
    with load(1) as kernel:
        (executor,) = kernel.config.executors
        plait.python_app(tasks.hold)(str(tmp_path / "n"), "x", str(tmp_path / "go"))
        futures = [plait.python_app(tasks.echo)(number) for number in range(100)]
        special = [plait.python_app(tasks.echo, priority=1)(number) for number in range(100)]
        assert all(future.cancel() for future in [*futures, *special])
        (tmp_path / "go").touch()
        assert plait.python_app(tasks.echo)(1).result(WAIT_S) == 1
        assert executor._dropped == set()
        assert executor.status().queued == 0
