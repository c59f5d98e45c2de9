"""The leak check must find what it is there for: each kind of leak, made on purpose."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from tests.leaks import collect_and_reap, leaks, snapshot
from tests.support import require_linux, wait_until


def only(lines: list[str], word: str) -> list[str]:
    return [line for line in lines if word in line]


def test_clean_is_clean(tmp_path):
    assert leaks(snapshot(), tmp_path) == []


def test_process_and_its_orphaned_detached_grandchild(tmp_path):
    require_linux("child subreaper")
    before = snapshot()
    # The child starts a sleeper in a session of its own, tells its number and ends: the sleeper has lost its parent.
    script = (
        "from subprocess import Popen, DEVNULL;"
        "print(Popen(['sleep', '1000'], start_new_session=True, stdout=DEVNULL, stderr=DEVNULL).pid)"
    )
    sleeper = int(
        subprocess.run([sys.executable, "-S", "-c", script], check=True, capture_output=True, timeout=20).stdout
    )
    found = only(leaks(before, tmp_path), "process")
    os.kill(sleeper, signal.SIGKILL)
    wait_until(lambda: not only(leaks(before, tmp_path), "process"))
    collect_and_reap()
    assert found == [f"process {sleeper}: sleep 1000"]


def test_thread(tmp_path):
    before, end = snapshot(), threading.Event()
    thread = threading.Thread(target=end.wait, name="left", daemon=True)
    thread.start()
    found = only(leaks(before, tmp_path), "thread")
    end.set()
    thread.join()
    assert found == ["thread 'left' (daemon)"]


def test_descriptor_even_under_a_number_used_before(tmp_path):
    old = os.open(os.devnull, os.O_RDONLY)
    before = snapshot()
    os.close(old)
    new = os.open(sys.executable, os.O_RDONLY)
    found = only(leaks(before, tmp_path), "descriptor")
    os.close(new)
    assert new == old
    assert found == [f"descriptor {new} -> {os.path.realpath(sys.executable)}"]


def test_temporary_folder_and_files_of_the_run(tmp_path):
    before = snapshot()
    folder = tempfile.mkdtemp()
    (tmp_path / "journal.tmp").touch()
    (tmp_path / "journal").touch()  # a file that stays is what a run is for
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "s"))
    listening.close()
    found = leaks(before, tmp_path)
    os.rmdir(folder)
    (tmp_path / "journal.tmp").unlink()
    (tmp_path / "s").unlink()
    assert sorted(found) == sorted(
        [
            f"in the temporary folder: {Path(folder).name}",
            f"in the run's folder: {tmp_path / 'journal.tmp'}",
            f"in the run's folder: {tmp_path / 's'}",
        ]
    )


def test_signal_handler_and_environment(tmp_path):
    before = snapshot()
    was = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.environ["PLAIT_LEFT"] = "1"
    found = leaks(before, tmp_path)
    signal.signal(signal.SIGTERM, was)
    del os.environ["PLAIT_LEFT"]
    assert len(found) == 2
    assert "SIGTERM" in found[0]
    assert found[1] == "environment variable PLAIT_LEFT"


def test_wait_until_says_what_it_waited_for():
    def never():
        return 0

    with pytest.raises(pytest.fail.Exception, match=r"never was still 0 after 0\.01 s\nthe state"):
        wait_until(never, 0.01, dump=lambda: "the state")
