from __future__ import annotations

import concurrent.futures
import threading
from queue import SimpleQueue

import pytest

from plait.executors.turn import HandedOver, Turn
from plait.futures import PlaitFuture
from tests.support import wait_until


class Server:
    """Calls what is left in its queue, until it finds None."""

    def __init__(self):
        self.work: SimpleQueue = SimpleQueue()
        self.served_by = []
        self.turn = Turn("server", self.serve, threading.Lock())
        self.turn.start()

    def serve(self):
        with_lock = self.turn.lock
        with_lock.acquire()
        self.served_by.append(threading.current_thread())
        try:
            while (call := self.work.get(timeout=10)) is not None:
                self.turn.call(call)
        except HandedOver:
            assert not self.turn.is_mine
            raise
        with_lock.release()

    def end(self):
        self.work.put(None)
        for thread in self.served_by:
            thread.join(10)


@pytest.fixture
def server():
    server = Server()
    yield server
    server.end()
    assert not server.turn.lock.locked()


def test_one_thread_serves_while_nobody_waits(server):
    ended = PlaitFuture()
    ended.set_result(1)
    done: SimpleQueue = SimpleQueue()
    for _ in range(3):
        server.work.put(lambda: done.put((ended.result(), server.turn.is_mine)))
    assert [done.get(timeout=10) for _ in range(3)] == [(1, True)] * 3
    assert len(server.served_by) == 1
    assert not server.turn.is_mine


@pytest.mark.parametrize(
    "wait",
    [
        lambda future: future.result(10),
        lambda future: future.exception(10) or future.result(),
        lambda future: concurrent.futures.wait([future], 10).done.pop().result(0),
        lambda future: next(concurrent.futures.as_completed([future], 10)).result(0),
    ],
    ids=["result", "exception", "wait", "as_completed"],
)
def test_another_serves_when_a_call_waits(wait, server):
    future = PlaitFuture()
    done: SimpleQueue = SimpleQueue()
    server.work.put(lambda: done.put(wait(future)))
    server.work.put(lambda: future.set_result("from the other thread"))
    assert done.get(timeout=10) == "from the other thread"
    first, second = wait_until(lambda: len(server.served_by) == 2 and server.served_by)
    first.join(10)
    assert second is server.turn.thread


def test_only_the_first_wait_of_a_call_hands_over(server):
    futures = [PlaitFuture() for _ in range(3)]
    done: SimpleQueue = SimpleQueue()
    server.work.put(lambda: done.put([future.result(10) for future in futures]))
    for number, future in enumerate(futures):
        server.work.put(lambda number=number, future=future: future.set_result(number))
    assert done.get(timeout=10) == [0, 1, 2]
    assert len(server.served_by) == 2


def test_what_a_call_raises_is_no_news_to_who_does_not_serve_any_more(server):
    future = PlaitFuture()

    def fails():
        future.result(10)
        raise ValueError

    server.work.put(fails)
    server.work.put(lambda: future.set_result(1))
    first, _ = wait_until(lambda: len(server.served_by) == 2 and server.served_by)
    first.join(10)
    assert not first.is_alive()


def test_without_another_thread_the_one_that_serves_goes_on(server, monkeypatch):
    future, done = PlaitFuture(), SimpleQueue()

    def refuse(self):
        raise RuntimeError("can't start new thread")

    def wait():
        with monkeypatch.context() as none, pytest.raises(RuntimeError, match="can't start new thread"):
            none.setattr(threading.Thread, "start", refuse)
            future.result(10)
        done.put(server.turn.is_mine)

    server.work.put(wait)
    assert done.get(timeout=10)
    server.work.put(lambda: done.put("served"))
    assert done.get(timeout=10) == "served"
    assert len(server.served_by) == 1
