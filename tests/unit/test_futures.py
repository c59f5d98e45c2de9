"""To whoever looks at it, a plait future is a standard one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import copy
import logging
import pickle
import signal
import sys
import threading
import time
import traceback

import cloudpickle
import pytest

from plait import futures
from plait.errors import TaskCancelled
from plait.futures import (
    CANCELLED,
    PENDING,
    AppFuture,
    DataFuture,
    EndedBySignal,
    LiftedFuture,
    PlaitFuture,
    blocking,
    is_final,
)
from plait.model.files import File
from plait.model.task import EXEC_DONE, LAUNCHED, AppSpec, Task
from tests.support import held_by_another_thread, in_forked_child, wait_until


class Owner:
    """A kernel as futures see it."""

    def __init__(self):
        self.cancelled, self.started = [], []
        self.answer = True
        self.refuses = False

    def cancel_task(self, task):
        self.cancelled.append(task)
        return self.answer

    def explain_task(self, task):
        return f"{task} waits"

    def check_waiting(self, task):
        if self.refuses:
            raise RuntimeError(f"{task} is another's")

    def task_record(self, task):
        return {"id": task.id}

    def new_lifted(self, parent, operation, key):
        task = Task(AppSpec(lambda: None, "lift", "lift"), (), {}, self, 0.0)
        task.more().lift = (operation, key, parent)
        return task

    def start_lifted(self, task):
        self.started.append(task)
        task.id = 100 + len(self.started)
        operation, key, parent = task.details.lift
        value = parent.result()
        task.future.set_result(value[key] if operation == "item" else getattr(value, key))


def app_future(owner=None) -> AppFuture:
    task = Task(AppSpec(lambda: None, "f"), (), {}, owner or Owner(), 0.0)
    task.id = 7
    task.future = AppFuture(task)
    return task.future


def cancel(future) -> None:
    """What a kernel does."""
    future._publish(CANCELLED, None, None)
    future._run_callbacks()


KINDS = [PlaitFuture, app_future, lambda: DataFuture(app_future(), File("f"))]


@pytest.fixture(params=KINDS, ids=["plain", "app", "data"])
def future(request):
    return request.param()


@pytest.fixture
def fast_switching():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def run_together(*functions):
    """Runs functions in threads that begin at the same time, and returns their results."""
    barrier = threading.Barrier(len(functions))
    results = [None] * len(functions)

    def run(n, function):
        barrier.wait()
        results[n] = function()

    threads = [threading.Thread(target=run, args=item) for item in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


# ------------------------------------------------------------------ the contract
def test_a_future_that_has_not_ended(future):
    assert isinstance(future, concurrent.futures.Future)
    assert not future.done()
    assert not future.cancelled()
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(timeout=0)
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(timeout=0.001)
    with pytest.raises(concurrent.futures.TimeoutError):
        future.exception(timeout=-1)


def test_a_result(future):
    future.set_result(5)
    assert future.done()
    assert not future.cancelled()
    assert not future.running()
    assert future.result() == future.result(timeout=0) == 5
    assert future.exception() is None


def test_an_error(future):
    error = KeyError("k")
    future.set_exception(error)
    assert future.done()
    assert future.exception(timeout=0) is error
    with pytest.raises(KeyError) as caught:
        future.result()
    assert caught.value is error


def test_an_outcome_cannot_be_changed(future):
    future.set_result(1)
    with pytest.raises(concurrent.futures.InvalidStateError, match="has ended"):
        future.set_result(2)
    with pytest.raises(concurrent.futures.InvalidStateError, match="has ended"):
        future.set_exception(ValueError())
    assert future.result() == 1


def test_a_cancelled_future(future):
    cancel(future)
    assert future.done()
    assert future.cancelled()
    for read in (future.result, future.exception):
        with pytest.raises(concurrent.futures.CancelledError):
            read()


def test_raising_leaves_no_cycle_behind():
    future = PlaitFuture()
    future.set_exception(KeyError())
    with pytest.raises(KeyError) as caught:
        future.result()
    frame = caught.tb.tb_next.tb_frame
    assert frame.f_code.co_name == "result"
    assert frame.f_locals.get("self") is None
    assert "error" not in frame.f_locals


def test_most_futures_never_make_a_lock(future):
    future.add_done_callback(lambda f: None)
    future.set_result(1)
    future.result()
    future.done()
    assert future._cond is None or futures._EAGER


@pytest.mark.parametrize(
    "end", [lambda f: f.set_result(1), lambda f: f.set_exception(KeyError()), cancel], ids=["result", "error", "cancel"]
)
class TestWaiting:
    def test_wait_sees_the_end(self, future, end):
        other = PlaitFuture()
        waiting = threading.Thread(
            target=lambda: seen.append(concurrent.futures.wait([future, other], 30, "FIRST_COMPLETED"))
        )
        seen = []
        waiting.start()
        wait_until(lambda: future._waiting)
        end(future)
        waiting.join()
        assert seen[0].done == {future}
        assert seen[0].not_done == {other}

    def test_wait_sees_what_has_ended(self, future, end):
        end(future)
        assert concurrent.futures.wait([future], 0).done == {future}

    def test_as_completed(self, future, end):
        first = PlaitFuture()
        first.set_result(0)
        found = concurrent.futures.as_completed([first, future], timeout=30)
        assert next(found) is first
        end(future)
        assert next(found) is future
        assert list(found) == []

    def test_a_blocked_reader_wakes(self, future, end):
        reader = threading.Thread(target=lambda: seen.append(wait_for(future)))
        seen = []
        reader.start()
        wait_until(lambda: future._cond is not None and future._cond._waiters)
        end(future)
        reader.join()
        assert seen == [True]

    def test_callbacks_are_called_once_and_at_once_when_it_has_ended(self, future, end):
        called = []
        future.add_done_callback(lambda f: called.append((1, f)))
        future.add_done_callback(lambda f: called.append((2, f)))
        end(future)
        assert called == [(1, future), (2, future)]
        future.add_done_callback(lambda f: called.append((3, f)))
        assert called[2:] == [(3, future)]

    def test_asyncio_sees_the_end(self, future, end):
        async def main():
            wrapped = asyncio.wrap_future(future)
            end(future)
            await asyncio.wait([wrapped])
            return wrapped

        wrapped = asyncio.run(main())
        assert wrapped.cancelled() == future.cancelled()
        if not wrapped.cancelled():
            assert wrapped.exception() is future.exception()


def wait_for(future) -> bool:
    with contextlib.suppress(concurrent.futures.CancelledError):
        future.exception(timeout=30)
    return future.done()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, ValueError])
def test_a_callback_that_raises_stops_nobody(future, caplog, kind):
    called = []

    def bad(f):
        raise kind("in a callback")

    def deliver():
        future.set_result(1)
        future.add_done_callback(bad)

    future.add_done_callback(bad)
    future.add_done_callback(called.append)
    with caplog.at_level(logging.ERROR, "concurrent.futures"):
        run_together(deliver)
    assert called == [future]
    assert [record.exc_info[0] for record in caplog.records] == [kind, kind]


@pytest.mark.parametrize("kind", [EndedBySignal, KeyboardInterrupt])
def test_a_signal_that_meets_a_callback_in_the_main_thread_is_not_lost_and_the_others_are_called(future, kind):
    called = []

    def interrupted(f):
        raise kind("as the handler of a signal does")

    for callback in (interrupted, called.append, interrupted, called.append):
        future.add_done_callback(callback)
    with pytest.raises(kind):
        future.set_result(1)
    assert called == [future, future]
    with pytest.raises(kind):
        future.add_done_callback(interrupted)


def test_callbacks_may_add_callbacks():
    future, called = PlaitFuture(), []
    future.add_done_callback(lambda f: f.add_done_callback(called.append))
    future.set_result(1)
    assert called == [future]


# ------------------------------------------------------------------ races
def test_each_callback_is_called_exactly_once_in_a_race(fast_switching):
    for _ in range(150):
        future, called = PlaitFuture(), []

        def add(n, future=future, called=called):
            future.add_done_callback(lambda f: called.append(n))

        run_together(lambda: add(1), lambda: add(2), lambda future=future: future.set_result(0))
        assert sorted(called) == [1, 2]


def test_two_first_callbacks_at_the_same_time_are_both_kept(monkeypatch):
    future, called = PlaitFuture(), []

    class Meeting:
        """A lock at which another thread has just been quicker."""

        def __enter__(self):
            monkeypatch.setattr(futures, "_making", threading.Lock())
            future.add_done_callback(lambda f: called.append("other"))

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(futures, "_making", Meeting())
    future.add_done_callback(lambda f: called.append("one"))
    future.set_result(1)
    assert sorted(called) == ["one", "other"]


def test_a_condition_that_appears_while_it_ends_is_used(monkeypatch):
    future = PlaitFuture()
    states = []

    class Condition(threading.Condition):
        def __enter__(self):
            states.append(future._state)
            return super().__enter__()

    class Meeting:
        def __enter__(self):
            future._cond = Condition()

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(futures, "_making", Meeting())
    future.set_result(1)
    assert states == [PENDING], "published before the condition was held: as_completed would count it twice"
    assert future.done()


def test_whoever_holds_the_condition_sees_no_change():
    future = PlaitFuture()
    with future._condition:
        setter = threading.Thread(target=future.set_result, args=(1,))
        setter.start()
        setter.join(timeout=0.02)
        assert setter.is_alive()
        assert not future.done()
    setter.join()
    assert future.result() == 1


@pytest.mark.parametrize("kind", [PlaitFuture, app_future], ids=["plain", "app"])
def test_no_waiter_misses_a_setter(fast_switching, kind):
    for n in range(150):
        made = [kind() for _ in range(3)]

        def end(made=made, n=n):
            made[0].set_result(n)
            made[1].set_exception(KeyError(n))
            cancel(made[2])

        results = run_together(
            end,
            lambda made=made: made[0].result(30),
            lambda made=made: len(concurrent.futures.wait(made, 30).done),
            lambda made=made: len(list(concurrent.futures.as_completed(made, 30))),
            lambda made=made: wait_for(made[2]),
        )
        assert results == [None, n, 3, 3, True]


def test_a_signal_whose_wake_up_is_lost_ends_the_waiting_all_the_same(future):
    """One that comes to another thread does not wake the main one, and Python runs its handler there."""

    def handle(number, frame):
        raise LookupError(number)

    def signal_elsewhere():
        wait_until(lambda: future._condition._waiters)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handle)
    thread = threading.Thread(target=signal_elsewhere)
    try:
        thread.start()
        begin_s = time.monotonic()
        with pytest.raises(LookupError):
            future.result(30.0)
        assert time.monotonic() - begin_s < 15.0
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def test_a_forked_child_does_not_wait_for_a_lock_that_a_thread_of_the_parent_holds(future):
    with held_by_another_thread(futures._making):
        assert in_forked_child(lambda: future.add_done_callback(print)) == 0


def test_where_the_end_is_not_heard_of_nobody_waits_for_it():
    owner = Owner()
    future = app_future(owner)
    owner.refuses = True
    data = DataFuture(future, File("f"))
    for wait in (
        future.result,
        lambda: future.exception(30.0),
        data.result,
        lambda: concurrent.futures.wait([future]),
        lambda: list(concurrent.futures.as_completed([data])),
        lambda: asyncio.run(asyncio.wait_for(future, None)),
    ):
        with pytest.raises(RuntimeError, match="task 7 .* is another's"):
            wait()
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(0)
    future.set_result(1)
    assert future.result() == 1
    assert concurrent.futures.wait([future]).done == {future}
    assert list(concurrent.futures.as_completed([future])) == [future]


def test_conditions_are_made_once(fast_switching):
    for _ in range(200):
        future = PlaitFuture()
        one, two = run_together(lambda future=future: future._condition, lambda future=future: future._condition)
        assert one is two


# ------------------------------------------------------------------ threads that lend themselves out
def test_blocking_calls_the_hooks_around_the_wait():
    future, calls = PlaitFuture(), []
    blocking.before = lambda: (calls.append("before"), future.set_result(1))
    blocking.after = lambda: calls.append("after")
    try:
        assert future.result() == 1
        assert calls == ["before", "after"]
        future.result()
        assert calls == ["before", "after"], "nothing was waited for"
        with pytest.raises(concurrent.futures.TimeoutError):
            PlaitFuture().result(timeout=0)
        assert calls == ["before", "after"]
        blocking.before = lambda: calls.append("before")
        with pytest.raises(concurrent.futures.TimeoutError):
            PlaitFuture().result(timeout=0.001)
        assert calls == ["before", "after"] * 2
    finally:
        del blocking.before, blocking.after


def test_hooks_belong_to_one_thread():
    blocking.before = blocking.after = pytest.fail
    try:
        future = PlaitFuture()
        reader = threading.Thread(target=lambda: seen.append(wait_for(future)))
        seen = []
        reader.start()
        wait_until(lambda: future._cond is not None and future._cond._waiters)
        future.set_result(1)
        reader.join()
        assert seen == [True]
    finally:
        del blocking.before, blocking.after


# ------------------------------------------------------------------ the future of an app
def test_what_it_knows_of_its_task():
    future = app_future()
    assert future.tid == 7
    assert future.task_status() == "pending"
    assert future.task_record == future.task_def == {"id": 7}
    assert (future.stdout, future.stderr, future.outputs) == (None, None, [])
    assert not future.running()
    future._task.state = LAUNCHED
    assert future.running()
    details = future._task.more()
    details.stdout, details.stderr, details.outputs = ("o", "w"), ("e", "a"), [1]
    assert (future.stdout, future.stderr, future.outputs) == (("o", "w"), ("e", "a"), [1])
    assert future.explain() == "task 7 (f) waits"
    assert not is_final(future._task)
    future._task.state = EXEC_DONE
    assert is_final(future._task)


def test_repr_says_how_it_stands():
    future = app_future()
    assert repr(future) == "<AppFuture of task 7 (f): pending>"
    future.set_result([])
    assert repr(future).endswith(" returned list>")
    future = app_future()
    future.set_exception(KeyError())
    assert repr(future).endswith(" raised KeyError>")


@pytest.mark.parametrize("answer", [True, False])
def test_cancel_is_the_owners_to_decide(answer):
    owner = Owner()
    owner.answer = answer
    future = app_future(owner)
    assert future.cancel() is answer
    assert owner.cancelled == [future._task]
    assert DataFuture(future, File("f")).cancel() is answer


def test_a_cancelled_task_says_why():
    future = app_future()
    cancel(future)
    with pytest.raises(TaskCancelled, match=r"task 7 \(f\) was cancelled"):
        future.result()
    future._task.more().cancel_reason = "because I say so"
    file = DataFuture(future, File("f"))
    cancel(file)
    for cancelled in (future, file):
        with pytest.raises(TaskCancelled, match="because I say so"):
            cancelled.result()


def test_await():
    future = app_future()

    async def main():
        asyncio.get_running_loop().call_soon(future.set_result, 5)
        return await future

    assert asyncio.run(main()) == 5


def test_cancelling_what_awaits_it_cancels_the_task():
    owner = Owner()
    future = app_future(owner)

    async def main():
        waiting = asyncio.ensure_future(asyncio.wait_for(future, 0.001))
        with pytest.raises(asyncio.TimeoutError):
            await waiting

    asyncio.run(main())
    assert owner.cancelled == [future._task]


def test_it_cannot_be_iterated():
    with pytest.raises(TypeError, match="iterate its result"):
        list(app_future())


# ------------------------------------------------------------------ lifting
def test_lifting_submits_nothing_until_used():
    owner = Owner()
    future = app_future(owner)
    item, attribute = future["k"], future.real
    assert isinstance(item, LiftedFuture)
    assert isinstance(attribute, LiftedFuture)
    assert hasattr(future, "anything")
    assert owner.started == []
    future.set_result({"k": 5})
    assert item.result() == 5
    assert item.result() == 5
    assert len(owner.started) == 1


@pytest.mark.parametrize(
    "use",
    [
        lambda f: f.result(1),
        lambda f: f.exception(1),
        lambda f: f.done(),
        lambda f: f.running(),
        lambda f: f.cancel(),
        lambda f: f.explain(),
        lambda f: f.tid,
        lambda f: f.task_status(),
        lambda f: f.add_done_callback(print),
        lambda f: concurrent.futures.wait([f], 1),
        lambda f: list(concurrent.futures.as_completed([f], 1)),
        lambda f: f.start(),
    ],
)
def test_each_use_submits_it_once(use, capsys):
    owner = Owner()
    future = app_future(owner)
    future.set_result([3])
    lifted = future[0]
    assert owner.started == []
    use(lifted)
    assert len(owner.started) == 1
    assert lifted.result() == 3
    assert lifted.tid == 101


def test_a_lifted_future_is_submitted_once_in_a_race(fast_switching):
    for _ in range(50):
        owner = Owner()
        future = app_future(owner)
        future.set_result([3])
        lifted = future[0]
        assert run_together(lifted.result, lifted.result, lifted.done)[:2] == [3, 3]
        assert len(owner.started) == 1


def test_private_names_are_not_lifted():
    future = app_future()
    with pytest.raises(AttributeError, match="'AppFuture' object has no attribute '_repr_html_'"):
        future._repr_html_
    assert not hasattr(future, "__plait_function__")


def test_a_known_result_decides_on_names():
    future = app_future()
    future.set_result(5)
    assert future.real.result() == 5
    assert not hasattr(future, "nothing")
    with pytest.raises(AttributeError, match="the result of task 7 \\(f\\), of type 'int', has no attribute 'nothing'"):
        future.nothing


class Touchy:
    @property
    def temper(self):
        raise ValueError("not now")


def test_what_an_attribute_raises_belongs_to_its_future():
    future = app_future()
    future.set_result(Touchy())
    assert isinstance(future.temper, LiftedFuture)


# ------------------------------------------------------------------ files
def test_the_future_of_a_file():
    parent = app_future()
    future = DataFuture(parent, File("a/b"), 7)
    assert future.parent is parent
    assert future.tid == 7
    assert future.filepath == future.filename == "a/b"
    assert future.file_obj.url == "a/b"
    assert "not yet" in repr(future)
    parent._task.state = LAUNCHED
    assert future.running()
    future.set_result(future.file_obj)
    assert future.result() is future.file_obj
    assert "not yet" not in repr(future)


def test_the_future_of_a_file_that_a_user_makes_ends_with_its_task():
    made, failed, cancelled, foreign = app_future(), app_future(), app_future(), concurrent.futures.Future()
    files = [DataFuture(fut=each, file_obj=File("f"), tid=3) for each in (made, failed, cancelled, foreign)]
    assert not any(future.done() for future in files)
    made.set_result(5)
    failed.set_exception(KeyError("k"))
    cancel(cancelled)
    foreign.set_result(6)
    assert all(future.done() for future in files)
    assert files[0].result() is files[0].file_obj
    assert isinstance(files[1].exception(), KeyError)
    assert files[2].cancelled()
    assert files[3].result() is files[3].file_obj
    assert (files[3].tid, repr(files[3])) == (3, "<DataFuture f of task 3: done>")


def test_the_traceback_of_an_error_is_that_of_who_asks():
    future = PlaitFuture()
    future.set_exception(KeyError("k"))
    with pytest.raises(KeyError) as caught:
        future.result()
    assert "in result" in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "future",
    [app_future(), LiftedFuture(app_future(), "item", 0), DataFuture(app_future(), File("a/b"), 7), PlaitFuture()],
)
def test_a_future_stays_in_its_process(future):
    for dumps in (pickle.dumps, cloudpickle.dumps):
        with pytest.raises(
            TypeError,
            match=r"cannot be sent to another process; its result can: give the future to an app.*DEEP_DEPENDENCY_RESOLVER",
        ):
            dumps([future])
    assert copy.copy(future) is future
    assert copy.deepcopy([future]) == [future]
