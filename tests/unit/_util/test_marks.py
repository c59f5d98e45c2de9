"""Marked processes are found whatever they are at."""

from __future__ import annotations

import subprocess

from plait._util import marks, procs
from tests.support import require_linux, wait_until


def test_a_mark_is_seen_while_a_process_becomes_another_program():
    require_linux("/proc/<pid>/environ")
    code = 'exec "$0" -c "$1" "$0" "$1"'
    with subprocess.Popen(["/bin/bash", "-c", code, "/bin/bash", code], env={"MARK": "me"}) as process:
        try:
            assert sum(not marks.carries(process.pid, {b"MARK=me"}) for _ in range(4000)) == 0
        finally:
            process.kill()


def test_some_have_no_environment():
    require_linux("/proc/<pid>/environ")
    with subprocess.Popen(["sleep", "1000"], env={}) as bare:
        try:
            assert marks.environ(bare.pid) == b""
        finally:
            bare.kill()
        wait_until(lambda: not procs.is_alive(bare.pid))
        assert marks.environ(bare.pid) == b"", "a zombie"
    assert marks.environ(bare.pid) == b"", "nobody"


def test_the_marked_are_found_with_those_that_come_meanwhile(monkeypatch):
    require_linux("/proc/<pid>/environ")
    lists = iter([[1, 5, 7, 9], [1, 7, 9, 11, 12], [1, 9, 11, 12, 13], [1, 13]])
    monkeypatch.setattr(procs, "numbers", lambda: next(lists))
    monkeypatch.setattr(marks, "environ", lambda pid: b"A=1\0B=22\0" if pid > 5 and pid % 2 else b"A=1\0B=222\0C=B\0")
    assert list(marks.bearers({b"B=22", b"B=1"}, above=5)) == [7, 9, 11, 13]
