from __future__ import annotations

import os
import pickle
import threading
from concurrent.futures import CancelledError, Future
from concurrent.futures import ThreadPoolExecutor as StandardThreads

import pytest

from plait.compat import parsl
from plait.compat.parsl.app.errors import RemoteExceptionWrapper, wrap_error
from plait.compat.parsl.config import Config
from plait.compat.parsl.executors.base import Body, ParslExecutor, PluginExecutor, as_plait
from plait.compat.parsl.executors.threads import ThreadPoolExecutor
from plait.errors import AppTimeout, BashExitFailure, ConfigurationError, DependencyError, ExecutorError, TaskExited
from plait.executors.pool.call import Call


class Immediate(ParslExecutor):
    """Runs each call within `submit`."""

    def __init__(self, label="mine"):
        super().__init__()
        self.label = label
        self.seen = []

    def start(self):
        self.seen.append(("start", self.run_id, self.run_dir))

    def submit(self, func, resource_specification, *args, **kwargs):
        self.seen.append((getattr(func, "__name__", "?"), resource_specification, args, kwargs))
        future = Future()
        try:
            future.set_result(func(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future

    def shutdown(self):
        self.seen.append("shutdown")


class Standard(ParslExecutor):
    """The standard library's threads."""

    label = "standard"

    def start(self):
        self.pool = StandardThreads(1)

    def submit(self, func, resource_specification, *args, **kwargs):
        return self.pool.submit(func, *args, **kwargs)

    def shutdown(self):
        self.pool.shutdown()


def quiet(*executors, **options):
    return Config(executors=executors, initialize_logging=False, **options)


def test_a_plug_in_is_started_used_and_shut_down():
    plugin = Immediate()
    with parsl.load(quiet(plugin)) as kernel:
        assert kernel.executors["mine"] is plugin
        future = parsl.python_app(int)("11", base=2)
        assert future.result() == 3
        assert future.task_record["executor"] == "mine"
        (what, run_id, run_dir) = plugin.seen[0]
        assert (what, run_id, run_dir) == ("start", kernel.run_id, kernel.run_dir)
    assert plugin.seen[1:] == [("int", {}, ("11",), {"base": 2}), "shutdown"]


def test_it_is_never_asked_for_a_folder_unless_it_asks(tmp_path):
    with parsl.load(quiet(Standard())):
        assert parsl.python_app(int)("3").result() == 3
    assert list(tmp_path.iterdir()) == []


def test_a_specification_arrives_as_it_was_given():
    plugin = Immediate()
    with parsl.load(quiet(plugin)):
        parsl.python_app(int)("3", parsl_resource_specification={"partition": "x", "cores": "many"}).result()
    assert plugin.seen[1][1] == {"partition": "x", "cores": "many"}


@pytest.mark.parametrize("plugin", [Immediate, Standard])
def test_errors_dependencies_joins_and_retries(plugin):
    with parsl.load(quiet(plugin(), retries=1)):
        tries = []

        @parsl.python_app
        def flaky(x):
            tries.append(x)
            return 1 / (len(tries) - 1)

        @parsl.join_app
        def join(n):
            return [parsl.python_app(int)(i) for i in range(n)]

        assert flaky(1).result() == 1
        bad = parsl.python_app(int)("x")
        assert isinstance(bad.exception(), ValueError)
        assert isinstance(parsl.python_app(str)(bad).exception(), DependencyError)
        assert join(3).result() == [0, 1, 2]


def test_bash_apps_and_walltimes(tmp_path):
    with parsl.load(quiet(Immediate())):
        assert parsl.bash_app(lambda stdout=None: "echo hi")(stdout="out").result() == 0
        assert (tmp_path / "out").read_text() == "hi\n"
        assert isinstance(parsl.bash_app(lambda: "exit 4")().exception(), BashExitFailure)
        assert isinstance(parsl.bash_app(lambda walltime=0.1: "sleep 60")().exception(), AppTimeout)

        @parsl.python_app
        def spin(walltime=0.05):
            while True:
                pass

        assert isinstance(spin().exception(), AppTimeout)


def test_a_task_that_runs_within_submit_may_call_apps():
    with parsl.load(quiet(Immediate())):
        inner = parsl.python_app(lambda x: x + 1)
        outer = parsl.python_app(lambda x: inner(x).result() + 1)
        assert outer(1).result() == 3


def test_long_chains_are_no_recursion():
    with parsl.load(quiet(Immediate())):
        first = Future()
        add = parsl.python_app(lambda x: x + 1)
        last = first
        for _ in range(2000):
            last = add(last)
        first.set_result(0)
        assert last.result() == 2000


class Busy(Immediate):
    """Refuses the first calls."""

    refusals = 2

    def submit(self, func, resource_specification, *args, **kwargs):
        if self.refusals:
            self.refusals -= 1
            raise OSError("busy")
        return super().submit(func, resource_specification, *args, **kwargs)


def test_what_a_plug_in_does_not_take_is_a_failed_try():
    asked = []

    def cost(error, record):
        asked.append((str(error), record["fail_count"]))
        return 1

    with parsl.load(Config(executors=[Busy()], initialize_logging=False, retries=2, retry_handler=cost)):
        assert parsl.python_app(int)("3").result(5) == 3
    assert asked == [("busy", 1), ("busy", 2)]
    with parsl.load(Config(executors=[Busy()], initialize_logging=False)):
        assert isinstance(parsl.python_app(int)("3").exception(5), OSError)


class Shy(Standard):
    """Its futures cannot be cancelled, and say so."""

    def submit(self, func, resource_specification, *args, **kwargs):
        future = super().submit(func, resource_specification, *args, **kwargs)
        future.cancel = raising
        return future


def test_futures_that_know_no_cancelling_are_not_cancelled():
    go = threading.Event()
    with parsl.load(quiet(Shy())):
        future = parsl.python_app(go.wait)()
        assert future.cancel() is False
        go.set()
        assert future.result() is True


class Odd(Immediate):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def submit(self, func, resource_specification, *args, **kwargs):
        return self.answer()


def raising():
    raise OSError("no more room")


def exiting():
    future = Future()
    future.set_exception(SystemExit(3))
    return future


def dropping():
    future = Future()
    future.cancel()
    return future


def wrapping():
    future = Future()
    future.set_result(wrap_error(int)("x"))
    return future


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (raising, OSError),
        (exiting, TaskExited),
        (dropping, CancelledError),
        (wrapping, ValueError),
        (lambda: 3, ExecutorError),
    ],
)
def test_whatever_a_plug_in_does_ends_its_task_only(answer, error):
    with parsl.load(quiet(Odd(answer), ThreadPoolExecutor())):
        future = parsl.python_app(int, executors=["mine"])("3")
        with pytest.raises(error):
            raise future.exception()
        assert parsl.python_app(int, executors=["threads"])("3").result() == 3


def test_what_waits_in_a_plug_in_can_be_cancelled_and_what_runs_cannot():
    go, begun = threading.Event(), threading.Event()
    with parsl.load(quiet(Standard())):
        running = parsl.python_app(lambda: begun.set() or go.wait())()
        waiting = parsl.python_app(int)("3")
        try:
            assert begun.wait(10)
            assert running.cancel() is False
            assert waiting.cancel() is True
            assert "standard" in running.explain()
        finally:
            go.set()
        assert running.result() is True
        assert waiting.cancelled()


def test_a_plug_in_that_does_not_end_does_not_hold_up_the_program():
    stop = threading.Event()

    class Stuck(Immediate):
        def shutdown(self):
            stop.wait()

    kernel = parsl.load(quiet(Stuck()))
    try:
        kernel.cleanup(0.05)
    finally:
        stop.set()


def test_after_the_end_nothing_is_taken():
    plugin = as_plait(Immediate())
    with pytest.raises(ExecutorError, match="does not run"):
        plugin.submit(None)


def test_who_overrides_submit_sees_the_calls():
    class Counting(ThreadPoolExecutor):
        calls = 0

        def submit(self, func, resource_specification, *args, **kwargs):
            self.calls += 1
            return super().submit(func, resource_specification, *args, **kwargs)

    executor = Counting()
    assert not isinstance(as_plait(ThreadPoolExecutor()), PluginExecutor)
    for run in (1, 2):
        with parsl.load(Config(executors=[executor])) as kernel:
            assert kernel.executors["threads"] is executor
            assert parsl.python_app(abs)(-3).result(10) == 3
        assert executor.calls == run


def test_what_is_no_executor_is_refused():
    with pytest.raises(ConfigurationError, match="with parentheses"):
        as_plait(Immediate)
    with pytest.raises(ConfigurationError, match="expected executors"):
        as_plait(3)
    ours = ThreadPoolExecutor()
    assert as_plait(ours) is ours


def test_a_plug_in_by_itself():
    with Immediate() as plugin:
        assert plugin.run_dir == "."
        assert plugin.monitor_resources() is True
        plugin.run_dir = os.sep
        assert plugin.run_dir == os.sep
    assert plugin.seen == ["shutdown"]


def test_the_body_of_a_call_can_be_sent():
    body = pickle.loads(pickle.dumps(Body(int, Call("python", "int"), None)))
    assert body("3") == 3
    assert isinstance(body("x"), RemoteExceptionWrapper)
