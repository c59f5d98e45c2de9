"""A zygote's process before it is told anything."""

import os

from plait._util import procs
from plait.executors.pool.egg import MARK, lay, new_mark
from tests.support import wait_until


def test_marks_differ():
    assert new_mark() != new_mark()


def test_it_leads_a_session_and_carries_its_mark_and_ends_when_nobody_wants_it():
    egg = lay({**os.environ, "PLAIT_X": "x"})
    wait_until(lambda: b"PLAIT_X=x" in _environ(egg.process.pid))
    assert f"{MARK}={egg.mark}".encode() in _environ(egg.process.pid)
    assert procs.look(egg.process.pid).session == egg.process.pid
    egg.control.close()
    egg.process.wait(10)
    os.close(egg.errors)


def test_what_goes_wrong_at_its_start_can_be_read():
    egg = lay({"PATH": os.environ["PATH"], "PYTHONHOME": "/nowhere"})
    assert egg.process.wait(10) != 0
    assert b"encodings" in os.pread(egg.errors, 10_000, 0)
    egg.control.close()
    os.close(egg.errors)


def _environ(pid: int) -> list[bytes]:
    with open(f"/proc/{pid}/environ", "rb") as file:
        return file.read().split(b"\0")
