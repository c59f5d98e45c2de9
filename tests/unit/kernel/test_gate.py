from __future__ import annotations

import os
import signal
import threading

import plait
from plait._util.threads import mark
from plait.kernel.gate import Gate
from tests.support import wait_until


def run(**config):
    return plait.load(plait.Config(initialize_logging=False, progress=False, **config))


def test_who_has_room_passes():
    Gate(1, lambda: 0).wait()


def test_who_has_none_waits_until_there_is_or_the_run_ends():
    unfinished = [2]
    gate = Gate(2, lambda: unfinished[0])
    for release in (lambda: (unfinished.__setitem__(0, 1), gate.look()), gate.open):
        unfinished[0] = 2
        thread = threading.Thread(target=gate.wait)
        thread.start()
        wait_until(lambda: gate._waiting == 1)
        release()
        thread.join(5)
        assert not thread.is_alive()


def test_threads_of_plait_pass():
    before = mark()
    try:
        Gate(1, lambda: 5).wait()
    finally:
        mark(before)


def test_never_more_unfinished_than_allowed():
    seen = []
    with run(executors=[plait.ThreadPoolExecutor(max_threads=2)], max_pending=5) as kernel:

        @plait.python_app
        def look(x):
            seen.append(kernel._engine.unfinished())
            return x

        futures = [look(i) for i in range(200)]
        assert sum(future.result() for future in futures) == sum(range(200))
    assert max(seen) <= 5


def test_tasks_and_callbacks_that_call_never_wait():
    done = threading.Event()
    with run(executors=[plait.ThreadPoolExecutor(max_threads=1)], max_pending=1):

        @plait.python_app
        def leaf(x):
            return x

        @plait.join_app
        def tree(depth):
            return [tree(depth - 1), tree(depth - 1)] if depth else leaf(1)

        assert tree(3).result() == [[[1, 1], [1, 1]], [[1, 1], [1, 1]]]
        first = leaf(1)
        first.add_done_callback(lambda _: (leaf(2), leaf(3), done.set()))
        assert first.result() == 1
        assert done.wait(10)


def test_a_map_waits_by_chunks_and_the_end_of_a_run_frees_who_waits():
    kernel = run(executors=[plait.ThreadPoolExecutor(max_threads=1)], max_pending=2)
    gate = threading.Event()

    @plait.python_app
    def held():
        return gate.wait(20)

    caught = []

    def call():
        try:
            for _ in range(5):
                held()
        except plait.errors.NoDataFlowKernelError as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    opener = threading.Timer(0.3, gate.set)  # the cleanup waits for a task that runs in a thread
    try:
        wait_until(lambda: kernel._gate._waiting == 1)
        opener.start()
        kernel.cleanup()
        thread.join(10)
        assert len(caught) == 1
    finally:
        gate.set()
        opener.join()
        plait.clear()


def test_a_forked_child_does_not_wait_for_room():
    """Nothing ends there: the call would wait for ever."""
    release = threading.Event()
    with run(executors=[plait.ThreadPoolExecutor(max_threads=1)], max_pending=1):
        waiting = plait.python_app(release.wait)()
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(5)
            try:
                plait.python_app(abs)(1)
            except plait.errors.NoDataFlowKernelError:
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        release.set()
        assert waiting.result(5)
