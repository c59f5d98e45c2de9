"""Processes are found by their mark, and those without it are left in peace."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from plait._util.marks import bearers
from plait.executors.pool.egg import MARK, new_mark
from plait.executors.pool.remains import end_marked
from tests.support import require_linux, wait_until


@pytest.fixture(autouse=True)
def _linux():
    require_linux("/proc/<pid>/environ")


def sleeper(mark: str, **options) -> subprocess.Popen:
    return subprocess.Popen(["sleep", "1000"], env={**os.environ, MARK: mark}, **options)


def test_marks_differ():
    assert new_mark() != new_mark()


def test_only_what_is_marked_is_ended():
    mark = new_mark()
    mine = [sleeper(mark), sleeper(mark, start_new_session=True)]
    other = sleeper(f"{mark}0")
    assert end_marked(mark) == []
    assert [process.wait(5) for process in mine] == [-signal.SIGKILL] * 2
    assert other.poll() is None
    other.kill()
    other.wait()


def test_what_goes_on_starting_others_is_ended():
    mark = new_mark()
    script = "n=0; while [ $n -lt 200 ]; do setsid sleep 1000 & n=$((n+1)); done; wait"
    process = subprocess.Popen(["/bin/bash", "-c", script], env={**os.environ, MARK: mark})
    assert end_marked(mark) == []
    process.wait(5)


def test_what_starts_a_copy_of_itself_and_ends_for_ever_is_ended(tmp_path):
    mark = new_mark()
    code = 'date >"$2"; setsid "$0" -c "$1" "$0" "$1" "$2" & '
    process = subprocess.Popen(
        ["/bin/bash", "-c", code, "/bin/bash", code, str(tmp_path / "on")],
        env={**os.environ, MARK: mark},
        stdin=subprocess.DEVNULL,
    )
    process.wait()
    assert end_marked(mark) == []
    (tmp_path / "on").unlink()
    assert list(bearers({f"{MARK}={mark}".encode()})) == []


def test_nothing_to_end():
    assert end_marked(new_mark()) == []


def test_with_a_grace_they_may_end_by_themselves(tmp_path):
    mark = new_mark()
    script = f"trap 'echo tidy > {tmp_path}/note; exit 3' TERM; echo > {tmp_path}/up; while :; do sleep 0.01; done"
    polite = subprocess.Popen(["/bin/bash", "-c", script], env={**os.environ, MARK: mark})
    deaf = subprocess.Popen(
        ["/bin/bash", "-c", f"trap '' TERM; echo > {tmp_path}/deaf; sleep 1000"], env={**os.environ, MARK: mark}
    )
    wait_until(lambda: (tmp_path / "up").exists() and (tmp_path / "deaf").exists())
    assert end_marked(mark, grace_s=0.5) == []
    assert polite.wait(5) == 3
    assert (tmp_path / "note").read_text() == "tidy\n"
    assert deaf.wait(5) == -signal.SIGKILL
