from __future__ import annotations

import threading

from plait._util.threads import is_ours, mark, running, runs


def test_a_mark_is_of_one_thread_and_can_be_taken_back():
    assert not is_ours()
    before = mark()
    try:
        assert is_ours()
        seen = []
        thread = threading.Thread(target=lambda: seen.append(is_ours()))
        thread.start()
        thread.join()
        assert seen == [False]
    finally:
        mark(before)
    assert not is_ours()


def test_what_runs_is_known_in_its_thread():
    runs("a task")
    try:
        assert running() == "a task"
        seen = []
        thread = threading.Thread(target=lambda: seen.append(running()))
        thread.start()
        thread.join()
        assert seen == [None]
    finally:
        runs(None)
    assert running() is None
