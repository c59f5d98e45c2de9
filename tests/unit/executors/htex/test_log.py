from __future__ import annotations

import os

from plait.executors.htex.log import Log
from tests.support import wait_until


def test_lines_are_appended_with_time_and_level(tmp_path):
    path = tmp_path / "log"
    path.write_text("before\n")
    log = Log(str(path))
    log.info("manager %s with %d workers", "m0", 3)
    log.warning("100 %% is not %s", "much")
    log.debug("not said")
    log.close()
    first, second, third = path.read_text().splitlines()
    assert first == "before"
    assert second.endswith(" INFO manager m0 with 3 workers")
    assert third.endswith(" WARNING 100 % is not much")


def test_debug_says_more(tmp_path):
    log = Log(str(tmp_path / "log"), debug=True)
    log.debug("said")
    log.close()
    assert (tmp_path / "log").read_text().endswith(" DEBUG said\n")


def test_without_a_path_nothing_is_written(tmp_path):
    log = Log("")
    log.info("said")
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_cannot_be_written_harms_nobody(tmp_path):
    log = Log(str(tmp_path / "missing" / "log"))
    log.info("said")
    log.close()


def test_what_comes_while_the_disk_hangs_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("plait.executors.htex.log._LINES", 5)
    fifo = tmp_path / "log"
    os.mkfifo(fifo)  # opening it waits for a reader
    log = Log(str(fifo))
    for number in range(100):
        log.info("%d", number)
    assert log._queue.qsize() == 6
    log.close(0.0)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    wait_until(lambda: not log._thread.is_alive())
    os.close(reader)
    fifo.unlink()
