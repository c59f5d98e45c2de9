"""The kernel between apps and executors: attempts, retries, losses, cancelling. The executor of most tests does what the test says."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest

import plait
from plait.dataflow.memo import BasicMemoizer
from plait.dataflow.resolve import DependencyResolver, find_futures, replace_futures
from plait.errors import (
    DataFlowException,
    DependencyError,
    ExecutorError,
    JoinError,
    NoDataFlowKernelError,
    PoisonTask,
    TaskCancelled,
    TaskExited,
    WorkerLost,
)
from plait.executors.base import ERROR, LOST, OK, Executor, ExecutorStatus
from plait.model.task import TaskState
from tests.support import wait_until


class ByHand(Executor):
    """Keeps what it gets until the test says how it ended."""

    in_process = True

    def __init__(self, label="by hand", ends_running_tasks=True):
        self.label = label
        self.ends_running_tasks = ends_running_tasks
        self.taken = []
        self.cancelled = []
        self.context = None

    def start(self, context):
        self.context = context

    def submit(self, task):
        self.taken.append((task, task.attempt))

    def cancel(self, task, attempt):
        self.cancelled.append((task.id, attempt))
        return self.ends_running_tasks

    def check(self, resources):
        pass

    def status(self):
        return ExecutorStatus(1, len(self.taken), 0)

    def shutdown(self, timeout_s):
        pass

    def end(self, kind, value, which=-1):
        task, attempt = self.taken[which]
        self.context.deliver([(task, attempt, kind, value, 0.0, 0.0, 0)])


def run_with(*executors, **config):
    return plait.load(plait.Config(executors, initialize_logging=False, progress=False, **config))


@pytest.fixture
def hand():
    return ByHand()


def deliver(hand, *outcomes):
    """Has several end in one message: (which, how, result or error) of each."""
    ended = [(*hand.taken[which], kind, value, 0.0, 0.0, 0) for which, kind, value in outcomes]
    hand.context.deliver(ended)


app = plait.python_app(lambda *args: args)
lost = WorkerLost(3, "host", "it was ended by SIGKILL")


# ------------------------------------------------------------------ outcomes
def test_an_outcome_ends_the_task(hand):
    with run_with(hand) as kernel:
        future = app(1)
        assert (future.task_status(), future.running(), kernel.task_count) == ("launched", True, 1)
        hand.end(OK, "result")
        assert future.result() == "result"
        assert kernel.task_state_counts[TaskState.exec_done] == 1
        assert kernel.tasks == {}
        assert "succeeded" in future.explain()


def test_late_and_doubled_outcomes_are_dropped(hand):
    with run_with(hand, retries=1):
        future = app()
        hand.end(ERROR, ValueError("first"))
        hand.end(OK, "stale", which=0)
        assert not future.done()
        hand.end(OK, "second")
        hand.end(OK, "again")
        hand.end(ERROR, ValueError("late"), which=0)
        assert future.result() == "second"


def test_records_stay_where_garbage_is_not_collected(hand):
    with run_with(hand, garbage_collect=False) as kernel:
        future = app(1)
        hand.end(OK, 5)
        record = kernel.tasks[future.tid]
        assert (record["status"], record["func_name"], record["app_fu"]) == (TaskState.exec_done, "<lambda>", future)


def test_an_executor_that_cannot_take_a_task_fails_it(hand):
    def refuse(task):
        raise ExecutorError(hand, "it is broken")

    hand.submit = refuse
    with run_with(hand, retries=5):
        assert isinstance(app().exception(1), ExecutorError)
        assert isinstance(app([1]).exception(1), ExecutorError)  # by the other way, for calls that are not plain
        assert [type(f.exception(1)) for f in plait.map(app, [1, 2])] == [ExecutorError] * 2


@pytest.mark.parametrize("args", [(), (0,)])
def test_futures_in_keywords_are_waited_for_and_replaced(args):
    give = plait.python_app(lambda x: x)
    take = plait.python_app(lambda *args, **kwargs: (args, kwargs))
    with run_with(plait.ThreadPoolExecutor()):
        ours, other = give(1), Future()
        futures = [
            take(*args, a=ours),
            take(*args, a=[ours], b=2),
            take(*args, a=other),
            take(*args, a=ours, b=[other]),
        ]
        other.set_result(8)
        expected = [{"a": 1}, {"a": [1], "b": 2}, {"a": 8}, {"a": 1, "b": [8]}]
        assert [future.result(5) for future in futures] == [(args, kwargs) for kwargs in expected]


@pytest.mark.parametrize("args", [(), (0,)])
def test_a_task_whose_keyword_failed_does_not_run(args):
    ran = []
    fail, take = plait.python_app(lambda: 1 / 0), plait.python_app(lambda *args, **kwargs: ran.append(1))
    with run_with(plait.ThreadPoolExecutor()):
        error = take(*args, a=fail()).exception(5)
        assert isinstance(error, DependencyError)
        assert isinstance(error.__cause__, ZeroDivisionError)
        assert not ran


def test_a_join_that_would_wait_for_itself_fails():
    go = threading.Event()
    made: list = []

    def itself():
        go.wait(5)
        return made[0]

    echo, join = plait.python_app(lambda x: x), plait.join_app(itself)
    for way in (
        lambda future: future,
        lambda future: echo([echo(future)]),
        lambda future: plait.join_app(lambda: future)(),
    ):
        with run_with(plait.ThreadPoolExecutor()):
            go.clear()
            first = join()
            made[:] = [way(first)]
            go.set()
            error = first.exception(5)
            if not isinstance(error, DataFlowException) or isinstance(
                error, JoinError
            ):  # the other join closed the circle
                assert isinstance(error, JoinError)
                error = error.__cause__
            assert "itself, so neither would ever end" in str(error)
            assert made[0].exception(5) is not None


def test_callbacks_may_submit(hand):
    with run_with(hand):
        following = []
        app(1).add_done_callback(lambda f: following.append(app(f.result())))
        hand.end(OK, 7)
        hand.end(OK, 8)
        assert following[0].result(1) == 8


def test_many_threads_may_submit():
    with run_with(plait.ThreadPoolExecutor(max_threads=2)) as kernel:
        futures: list = []

        def work():
            futures.extend([app(n) for n in range(50)])

        workers = [threading.Thread(target=work) for _ in range(8)]
        for each in workers:
            each.start()
        for each in workers:
            each.join()
        kernel.wait_for_current_tasks()
        assert kernel.task_count == len(futures) == 400
        assert sorted(f.tid for f in futures) == list(range(400))


class Handle:
    """An argument that uses an app when it is no longer needed."""

    def __init__(self, ended):
        self.ended = ended

    def __del__(self):
        self.ended.append(app("from a finalizer"))


@pytest.mark.parametrize("kind", [OK, ERROR, "cancel"])
def test_arguments_whose_finalizers_call_apps_do_not_meet_the_lock(hand, kind):
    ended = []
    with run_with(hand) as kernel:
        future = app(Handle(ended))

        def end():
            if kind == "cancel":
                future.cancel()
            else:
                hand.end(kind, ValueError())

        thread = threading.Thread(target=end, daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
        assert future.done()
        assert [later.tid for later in ended] == [1]
        assert kernel.task_count == 2


class Interrupted(ByHand):
    """A Ctrl-C comes while it does the first of something."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def submit(self, task):
        super().submit(task)
        self.interrupt("submit")

    def cancel(self, task, attempt):
        self.interrupt("cancel")
        return super().cancel(task, attempt)

    def interrupt(self, where):
        if self.at == where:
            self.at = ""
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "call",
    [
        lambda: app(1),
        lambda: app([1]),
        lambda: plait.map(app, [1, 2, 3]),
        lambda: plait.python_app(lambda x: x, walltime=5)(1),
    ],
    ids=["simple", "other", "many", "special"],
)
def test_the_task_of_a_call_that_is_interrupted_is_not_waited_for(call):
    hand = Interrupted("submit")
    with run_with(hand, max_pending=3) as kernel:
        with pytest.raises(KeyboardInterrupt):
            call()
        assert hand.taken
        kernel.wait_for_current_tasks()
        assert kernel.task_state_counts[TaskState.cancelled] == kernel.task_count
        futures = [app(n) for n in range(3)]  # there is room for as many as before
        for number, future in enumerate(futures):
            hand.end(OK, number, number - 3)
            assert future.result(1) == number


def test_a_call_that_is_interrupted_after_what_it_needs_ended_leaves_nothing():
    hand = Interrupted("")
    with run_with(hand) as kernel:
        first = app()
        hand.end(OK, 1)
        assert first.result(1) == 1
        hand.at = "submit"
        with pytest.raises(KeyboardInterrupt):
            app(first)
        kernel.wait_for_current_tasks()
        assert kernel.tasks == {}


def test_cancelling_that_is_interrupted_ends_all_of_it():
    hand = Interrupted("cancel")
    with run_with(hand):
        first = app()
        second = app(first)
        called = []
        second.add_done_callback(called.append)
        with pytest.raises(KeyboardInterrupt):
            first.cancel()
        assert first.cancelled()
        assert second.cancelled()
        assert called == [second]


class Gathers:
    """A dependency resolver that does something while a call is submitted."""

    def __init__(self, do):
        self.resolver = DependencyResolver(self.gather, replace_futures)
        self.do = do

    def gather(self, value):
        found = find_futures(value)
        if found:
            self.do()
        return found


def test_a_lift_may_be_cancelled_while_another_thread_submits_it(hand):
    submitting, go = threading.Event(), threading.Event()
    gathers = Gathers(lambda: (submitting.set(), go.wait(10)))
    with run_with(hand, dependency_resolver=gathers.resolver) as kernel:
        part = app({"a": 1})["a"]
        thread = threading.Thread(target=part.done)
        thread.start()
        assert submitting.wait(10)
        assert part.cancel()
        go.set()
        thread.join(10)
        with pytest.raises(TaskCancelled):
            part.result(1)
        assert kernel.task_state_counts[TaskState.cancelled] == 1
        assert kernel.task_state_counts[TaskState.pending] == 0


def test_a_lift_whose_submission_was_interrupted_is_submitted_when_it_is_asked_for_again(hand):
    interrupts = [KeyboardInterrupt()]

    def interrupt():
        if interrupts:
            raise interrupts.pop()

    with run_with(hand, dependency_resolver=Gathers(interrupt).resolver):
        whole = app()
        part = whole["a"]
        with pytest.raises(KeyboardInterrupt):
            part.done()
        hand.end(OK, {"a": 5})
        assert part.result(10) == 5


class Knows(BasicMemoizer):
    """Gives the future that it was told, whether that has ended or not."""

    every_task = True
    future = None

    def check_memo(self, task):
        return self.future


def test_a_task_waits_for_a_remembered_one_that_has_not_ended(hand):
    memoizer = Knows()
    with run_with(hand, memoizer=memoizer):
        first = app(1)
        for end, kind, value in ((1, OK, 5), (2, ERROR, KeyError("k"))):
            memoizer.future = first
            second = app(1)
            assert (second.task_status(), len(hand.taken)) == ("pending", end)
            hand.end(kind, value)
            assert (second.exception(1) or second.result(1)) is value
            memoizer.future = None
            first = app(1)
        memoizer.future = first
        second, third = app(1), app(1)
        assert third.cancel()
        assert first.cancel()
        assert isinstance(second.exception(1), TaskCancelled)


def test_a_task_that_is_remembered_itself_does_not_wait_for_itself(hand):
    class Notes(BasicMemoizer):
        every_task = True

        def check_memo(self, task):
            return task["app_fu"]

    with run_with(hand, memoizer=Notes()):
        future = app(1)
        hand.end(OK, 5)
        assert future.result(1) == 5


def test_a_memoizer_that_gives_no_future_is_named(hand):
    memoizer = Knows()
    memoizer.future = 5
    sentence = r"Knows.check_memo\(\) returned 5 for task 0 .*expected a future, or None"
    with run_with(hand, memoizer=memoizer), pytest.raises(TypeError, match=sentence):
        app(1).result(1)


def test_one_function_may_be_apps_of_several_kinds_that_share_nothing():
    def say():
        return "exit 0"

    with run_with(plait.ThreadPoolExecutor()):
        assert plait.python_app(say, cache=True)().result(5) == "exit 0"
        assert plait.bash_app(say, cache=True)().result(5) == 0


class Remembers(BasicMemoizer):
    """Takes its time over results."""

    def __init__(self):
        super().__init__()
        self.asked, self.go = threading.Event(), threading.Event()

    def update_memo_result(self, task, r):
        self.asked.set()
        self.go.wait(10)


def test_waiting_for_all_waits_for_futures_that_are_just_being_set(hand):
    memoizer = Remembers()
    with run_with(hand, memoizer=memoizer) as kernel:
        futures = [plait.python_app(lambda x: x, cache=True)(1), app(1)]
        delivering = threading.Thread(target=deliver, args=(hand, (0, OK, 1), (1, OK, 2)))
        delivering.start()
        assert memoizer.asked.wait(10)
        waiting = threading.Thread(target=kernel.wait_for_current_tasks)
        waiting.start()
        wait_until(lambda: futures[0]._cond is not None or not waiting.is_alive())
        assert waiting.is_alive()
        memoizer.go.set()
        waiting.join(10)
        assert all(future.done() for future in futures)
        delivering.join(10)


def test_an_executor_that_cannot_say_how_much_it_has_to_do_fails_the_task():
    class Mute(ByHand):
        def status(self):
            raise RuntimeError("mute")

    with run_with(Mute("a"), Mute("b")):
        assert isinstance(app(1).exception(1), RuntimeError)


def test_submit_takes_functions_that_are_no_apps():
    with run_with(plait.ThreadPoolExecutor("t")) as kernel:
        assert kernel.submit(max, [3, 5]).result() == 5
        assert kernel.submit(sorted, [[2, 1]], executors=["t"], app_kwargs={"reverse": True}).result() == [2, 1]
        assert kernel.submit(lambda: app(4), [], join=True).result() == (4,)


class Greedy:
    """Objects of it are equal, have no hash, and do different things."""

    def __init__(self, found):
        self.found = found

    def __eq__(self, other):
        return True

    __hash__ = None

    def __call__(self):
        return self.found


def test_submit_tells_equal_objects_apart_and_keeps_no_function_for_ever(monkeypatch):
    monkeypatch.setattr("plait.kernel.kernel._SPECS_KEPT", 2)
    with run_with(plait.ThreadPoolExecutor()) as kernel:
        assert [kernel.submit(Greedy(found), []).result() for found in range(5)] == list(range(5))
        assert len(kernel._specs) <= 2


# ------------------------------------------------------------------ retries
def test_failures_spend_the_retries_of_the_run(hand):
    with run_with(hand, retries=2):
        future = app()
        for n in range(3):
            assert not future.done()
            assert hand.taken[-1][1] == n + 1
            hand.end(ERROR, ValueError(n))
        assert future.exception().args == (2,)
        assert "in attempt 3" in future.explain()


def test_the_number_of_an_app_replaces_that_of_the_run(hand):
    with run_with(hand, retries=2):
        future = app.options(retries=0)()
        hand.end(ERROR, ValueError())
        assert isinstance(future.exception(1), ValueError)


def test_only_errors_that_are_worth_it_are_tried_again(hand):
    with run_with(hand):
        future = app.options(retries=plait.Retry(5, on=(OSError,)))()
        hand.end(ERROR, ConnectionError())
        assert not future.done()
        hand.end(ERROR, ValueError())
        assert isinstance(future.exception(1), ValueError)


def test_a_pause_between_attempts_grows_and_is_explained(hand):
    with run_with(hand):
        future = app.options(retries=plait.Retry(2, backoff_s=0.02))()
        hand.end(ERROR, ValueError("busy"))
        assert "before attempt 2" in future.explain() or len(hand.taken) == 2
        wait_until(lambda: len(hand.taken) == 2)
        hand.end(ERROR, ValueError("busy"))
        wait_until(lambda: len(hand.taken) == 3)
        hand.end(OK, "at last")
        assert future.result(1) == "at last"


def test_a_task_in_its_pause_can_be_cancelled(hand):
    with run_with(hand):
        future = app.options(retries=plait.Retry(1, backoff_s=1000))()
        hand.end(ERROR, ValueError("busy"))
        assert "waits" in future.explain()
        assert future.cancel()
        assert future.cancelled()


def test_the_next_attempt_asks_for_more(hand):
    with run_with(hand):
        future = app.options(memory=1000, retries=plait.Retry(2, escalate={"memory": 2.0}))()
        hand.end(ERROR, MemoryError())
        hand.end(ERROR, MemoryError())
        assert hand.taken[-1][0].details.resources.memory_bytes == 4000
        hand.end(OK, 1)
        assert future.result(1) == 1


def test_a_task_that_would_need_more_than_there_is_fails_with_its_own_error():
    tries = []

    def fail():
        tries.append(1)
        raise MemoryError("mine")

    with run_with(plait.ThreadPoolExecutor(max_threads=2)):
        future = plait.python_app(fail, cores=1, retries=plait.Retry(5, escalate={"cores": 2}))()
        assert isinstance(future.exception(5), MemoryError)
        assert len(tries) == 2


def test_a_retry_handler_decides_what_a_failure_costs(hand):
    seen = []

    def cost(error, record):
        seen.append((type(error), record["id"], record["fail_count"], record["try_id"]))
        return 0.5 if isinstance(error, OSError) else 100

    with run_with(hand, retries=1, retry_handler=cost):
        future = app()
        hand.end(ERROR, OSError())
        hand.end(ERROR, OSError())
        assert not future.done()
        hand.end(ERROR, ValueError())
        assert isinstance(future.exception(1), ValueError)
    assert seen == [(OSError, 0, 1, 0), (OSError, 0, 2, 1), (ValueError, 0, 3, 2)], "this failure counts"


def test_a_retry_handler_that_raises_is_reported_with_the_error_it_was_asked_about(hand):
    def broken(error, record):
        raise RuntimeError("in the handler")

    with run_with(hand, retries=5, retry_handler=broken):
        future = app()
        hand.end(ERROR, ValueError("of the task"))
        error = future.exception(1)
        assert isinstance(error, RuntimeError)
        assert isinstance(error.__context__, ValueError)


@pytest.mark.parametrize("cost", ["1", None, float("nan"), [1]])
def test_a_retry_handler_that_returns_no_number_is_named(hand, cost):
    with run_with(hand, retries=5, retry_handler=lambda error, record: cost):
        future = app()
        hand.end(ERROR, ValueError("of the task"))
        error = future.exception(1)
        assert isinstance(error, TypeError)
        assert "retry_handler returned" in str(error)
        assert repr(cost) in str(error)
        assert isinstance(error.__context__, ValueError)


def test_a_task_that_cannot_run_is_not_tried_again(hand):
    with run_with(hand, retries=5):
        bad = app()
        after = app(bad)
        for _ in range(6):
            hand.end(ERROR, ValueError())
        assert isinstance(after.exception(1), DependencyError)
        assert len(hand.taken) == 6


def test_a_retry_handler_that_leaves_ends_the_task_and_nothing_else(hand):
    def leave(error, record):
        raise SystemExit(3)

    with run_with(hand, retries=5, retry_handler=leave):
        bad, good = app(), app()
        deliver(hand, (0, ERROR, ValueError("of the task")), (1, OK, 5))
        assert good.result(1) == 5
        error = bad.exception(1)
        assert isinstance(error, DataFlowException)
        assert "retry_handler raised SystemExit: 3 for task 0" in str(error)
        assert isinstance(error.__context__, ValueError)


def test_a_retry_handler_may_wait_for_what_ended_with_the_task_that_it_is_asked_about(hand):
    with run_with(hand, retries=1, retry_handler=lambda error, record: good.result(1)):
        good, bad = app(), app()
        called = []
        good.add_done_callback(lambda _: called.append(bad.exception(0)))
        deliver(hand, (0, OK, 5), (1, ERROR, ValueError()))
        assert isinstance(bad.exception(1), ValueError)
        assert called == [bad.exception()], "callbacks come when all of it is set"


def test_a_callback_of_a_file_may_wait_for_what_ended_in_the_same_message(hand, tmp_path):
    (tmp_path / "made").write_text("")
    with run_with(hand):
        makes, other = plait.python_app(lambda outputs=(): 1)(outputs=[plait.File(tmp_path / "made")]), app()
        seen = []
        makes.outputs[0].add_done_callback(lambda file: seen.append((file.result(0), makes.result(0), other.result(0))))
        deliver(hand, (0, OK, 1), (1, OK, 2))
        assert seen == [(makes.outputs[0].file_obj, 1, 2)]


# ------------------------------------------------------------------ losses
def test_losses_have_a_budget_of_their_own_and_end_as_poison(hand):
    with run_with(hand, retries=0):
        future = app()
        for _ in range(3):
            assert not future.done()
            hand.end(LOST, lost)
        error = future.exception(1)
        assert isinstance(error, PoisonTask)
        assert len(error.places) == 3
        assert "attempt 1 on worker 3 of host: it was ended by SIGKILL" in str(error)


def test_losses_and_errors_do_not_spend_each_other(hand):
    with run_with(hand, retries=1, max_losses=1):
        future = app()
        hand.end(LOST, lost)
        hand.end(ERROR, ValueError())
        hand.end(OK, 1)
        assert future.result(1) == 1


@pytest.mark.parametrize("where", ["run", "app"])
def test_without_a_budget_the_first_loss_is_the_error(hand, where):
    with run_with(hand, **({"max_losses": 0} if where == "run" else {})):
        future = (app if where == "run" else app.options(max_losses=0))()
        hand.end(LOST, lost)
        error = future.exception(1)
        assert type(error) is WorkerLost
        assert error.reason == "it was ended by SIGKILL"


@pytest.mark.slow
def test_a_real_worker_that_dies_makes_a_poison_task():
    @plait.python_app
    def dies():
        import os

        os._exit(9)

    with run_with(plait.ProcessPoolExecutor(max_workers=1), max_losses=1):
        error = dies().exception(20)
        assert isinstance(error, PoisonTask)
        assert len(error.places) == 2
        assert "status 9" in str(error)
        assert app(1).result(20) == (1,)


def test_leaving_by_exit_is_an_error_of_the_task():
    @plait.python_app
    def leaves():
        raise SystemExit(3)

    with run_with(plait.ThreadPoolExecutor()):
        error = leaves().exception(5)
        assert isinstance(error, TaskExited)
        assert (error.kind, error.text) == ("SystemExit", "3")


# ------------------------------------------------------------------ cancelling
def test_cancelling_ends_the_attempt_and_what_needs_it(hand):
    with run_with(hand):
        first = app()
        second = app([first])
        third = app(second)
        assert first.cancel()
        assert hand.cancelled == [(0, 1)]
        assert all(f.cancelled() and f.done() for f in (first, second, third))
        with pytest.raises(
            TaskCancelled, match=r"task 2 .* was cancelled because task 0 .*, which it needs by way of task 1"
        ):
            third.result()
        assert first.cancel()  # again: it is cancelled
        hand.end(OK, "too late")
        assert first.cancelled()


def test_what_has_ended_cannot_be_cancelled(hand):
    with run_with(hand):
        future = app()
        hand.end(OK, 1)
        assert not future.cancel()
        assert future.result() == 1


def test_a_thread_that_runs_cannot_be_cancelled():
    go, runs = threading.Event(), threading.Event()

    def body():
        runs.set()
        return go.wait(10)

    with run_with(plait.ThreadPoolExecutor(max_threads=1)):
        running = plait.python_app(body)()
        queued = plait.python_app(body)()
        assert runs.wait(10)
        assert not running.cancel()
        assert queued.cancel()
        assert "runs in a thread" in running.explain()
        go.set()
        assert running.result(10) is True


@pytest.mark.slow
def test_a_running_process_is_ended_by_cancel():
    import os

    @plait.python_app
    def stays(file):
        import time

        with open(file, "w") as f:
            f.write(str(os.getpid()))
        time.sleep(1000)

    with run_with(plait.ProcessPoolExecutor(max_workers=1)):
        future = stays("pid")
        wait_until(lambda: os.path.exists("pid") and os.path.getsize("pid"))
        assert "runs on worker" in future.explain()
        assert future.cancel()
        assert app(1).result(20) == (1,)
        with open("pid") as f:
            pid = int(f.read())
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"))


# ------------------------------------------------------------------ several executors, several kernels
def test_a_task_goes_to_the_executors_that_its_app_names():
    one, two = ByHand("one"), ByHand("two")
    with run_with(one, two):
        app.options(executors=["two"])()
        app.options(executors=["one"])()
        for _ in range(4):
            app()  # to the one with less to do
        assert len(one.taken) == len(two.taken) == 3


def test_two_kernels_do_not_mix_and_futures_pass_between_them():
    config = [plait.Config([plait.ThreadPoolExecutor()], initialize_logging=False, progress=False) for _ in range(2)]
    with plait.DataFlowKernel(config[0]) as one, plait.DataFlowKernel(config[1]) as two:
        first = plait.python_app(lambda: 20, data_flow_kernel=one)()
        second = plait.python_app(lambda x: x + 1, data_flow_kernel=two)(first)
        assert second.result(5) == 21
        assert (one.task_count, two.task_count) == (1, 1)
        broken = plait.python_app(lambda: 1 / 0, data_flow_kernel=one)()
        error = plait.python_app(lambda x: x, data_flow_kernel=two)([broken]).exception(5)
        assert isinstance(error.__cause__, ZeroDivisionError)


def test_the_dependency_resolver_of_the_configuration_is_asked():
    executor = plait.ThreadPoolExecutor()
    with run_with(executor, dependency_resolver=plait.SHALLOW_DEPENDENCY_RESOLVER):
        inner = app(1)
        assert app(inner).result(5) == ((1,),)
        (same,) = app([inner]).result(5)[0]
        assert same is inner
        assert plait.python_app(lambda inputs: inputs)(inputs=[inner]).result(5) == [(1,)]


def test_a_resolver_of_ones_own_is_asked_about_every_argument():
    def gather(value):
        return [value] if isinstance(value, Future) else [noted[value]] if value == "noted" else []

    def unwrap(value):
        return ("unwrapped", value.result()) if isinstance(value, Future) else "found" if value == "noted" else value

    noted = {"noted": Future()}
    with run_with(plait.ThreadPoolExecutor(), dependency_resolver=plait.DependencyResolver(gather, unwrap)):
        same = plait.python_app(lambda x: x)
        waits = same("noted")
        (of_map,) = plait.map(same, ["noted"])
        assert (waits.done(), of_map.done()) == (False, False)
        noted["noted"].set_result(None)
        assert (waits.result(5), of_map.result(5)) == ("found", "found")
        assert same(same(1)).result(5) == ("unwrapped", 1)


class Box:
    """Holds a future of which a resolver tells only while it has not ended."""

    def __init__(self, future):
        self.future = future


def test_a_resolver_of_ones_own_unwraps_arguments_in_which_it_finds_no_future():
    def gather(value):
        return [value.future] if isinstance(value, Box) and not value.future.done() else []

    def unwrap(value):
        return value.future.result() if isinstance(value, Box) else value

    ended = Future()
    ended.set_result("value")
    with run_with(plait.ThreadPoolExecutor(), dependency_resolver=plait.DependencyResolver(gather, unwrap)):
        same = plait.python_app(lambda x, inputs=(): (x, inputs))
        assert same(Box(ended), inputs=[Box(ended), 1]).result(5) == ("value", ["value", 1])


def test_a_future_of_a_file_that_the_user_made_is_waited_for(hand):
    with run_with(hand):
        first = app(1)
        second = app(plait.DataFuture(first, plait.File("f"), first.tid))
        hand.end(OK, 1)
        assert (second.task_status(), hand.taken[-1][0].args[0].url) == ("launched", "f")


@pytest.mark.parametrize("resolver", [plait.DEEP_DEPENDENCY_RESOLVER, plait.SHALLOW_DEPENDENCY_RESOLVER])
def test_a_function_that_does_not_take_its_inputs_waits_for_them_all_the_same(hand, resolver):
    after = plait.python_app(lambda: "after")
    with run_with(hand, dependency_resolver=resolver):
        first, second = app(1), app(2)
        waits = [after(inputs=[first]), after(inputs=(future for future in [second]))]
        assert [future.task_status() for future in waits] == ["pending", "pending"]
        hand.end(OK, 1, which=0)
        assert (waits[0].task_status(), hand.taken[-1][0].kwargs) == ("launched", {})
        hand.end(ERROR, ValueError("no"), which=1)
        assert isinstance(waits[1].exception(1), DependencyError)


def test_a_call_after_the_end_is_refused():
    with run_with(plait.ThreadPoolExecutor()) as kernel:
        own = plait.python_app(len, data_flow_kernel=kernel)
    for call in (lambda: own("abc"), lambda: own([1]), lambda: plait.map(own, ["a"])):
        with pytest.raises(NoDataFlowKernelError, match="was cleaned up"):
            call()


def test_a_lift_after_the_end_ends_too():
    with run_with(plait.ThreadPoolExecutor()):
        future = plait.python_app(lambda: {"a": 1})()
        future.result()
    assert isinstance(future["a"].exception(5), NoDataFlowKernelError)
