from __future__ import annotations

import threading

from plait._util.threads import is_ours, mark


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
