"""A manager as a process: how it is started, what its workers can see, and what is left when it has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from plait._util import procs
from plait.executors.htex import messages as m
from plait.executors.htex.manager import main
from plait.serialize import FunctionBlob, dumps
from plait.testing import tasks
from tests.fault.lab import all_gone, below, numbers
from tests.leaks import descendants
from tests.support import wait_until
from tests.unit.executors.htex.scripted import Interchange, Manager, ended, serving, settings


def divide(by):
    return 1 / by


@pytest.fixture
def interchange():
    made = Interchange()
    yield made
    made.close()


def start(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "plait.executors.htex.manager", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, **options)


# ------------------------------------------------------------------ how it is started
def test_settings_come_from_a_file(interchange):
    path = Path("settings.json")
    path.write_bytes(
        msgspec.json.encode(
            interchange.settings(env={"PLAIT_X": "x", "HOME": None}, log_dir=os.path.abspath("logs"), block="7")
        )
    )
    process = subprocess.Popen([sys.executable, "-m", "plait.executors.htex.manager", "--debug", str(path)])
    name = interchange.registered().manager
    interchange.run(os.getenv, ("PLAIT_X",), ("HOME",))
    assert sorted(map(str, interchange.results(2).values())) == ["None", "x"]
    interchange.run(print, ("something",))
    interchange.outcomes(1)
    interchange.send(m.Stop("done"))
    assert process.wait(10) == 0
    folder = Path("logs", "block-7", name)
    log = (folder / "manager.log").read_text()
    assert f"registered as {name}" in log
    assert "ended: told to stop: done" in log
    assert "something" in "".join(file.read_text() for file in folder.glob("worker_*.log"))
    assert folder.stat().st_mode & 0o777 == folder.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "No such file"), (b"no json", "manager: "), (b"{}", "missing required field"), (b"[]", "manager: ")],
)
def test_settings_that_cannot_be_read(content, says):
    if content is not None:
        Path("settings.json").write_bytes(content)
    result = start("settings.json")
    assert result.returncode == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_it_wants_one_argument(capsys):
    assert main([]) == main(["a", "b"]) == 2
    assert "standard input" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cores_per_worker": 10_000.0}, "no worker fits on"),
        ({"cpu_affinity": "list:0"}, "cores for 1 workers, this node has 2"),
        ({"addresses": ["127.0.0.1", "127.0.0.2"], "probe_timeout_s": 0.3}, "127.0.0.2: connection refused"),
    ],
)
def test_what_cannot_work_is_said_on_standard_error(changes, says):
    result = start("-", input=msgspec.json.encode(settings(**changes)).decode())
    assert result.returncode != 0
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_workers_that_cannot_start(interchange):
    with serving(interchange, preload=["there_is_no_such_module"]) as manager:
        interchange.run(tasks.echo, (1,))
        assert "its workers cannot start: 3 workers in a row" in interchange.message(m.Leaving).reason
        assert ended(interchange, manager) == 1
        assert "there_is_no_such_module" in manager.text()


def test_the_last_words_of_a_worker_that_cannot_start_are_told(interchange):
    folder = os.path.abspath("logs")
    with serving(interchange, initializer=dumps((FunctionBlob(divide).data, (0,)), []), log_dir=folder) as manager:
        interchange.message(m.Leaving)
        assert ended(interchange, manager) == 1
        assert manager.text().rstrip().endswith("ZeroDivisionError: division by zero")
        assert f"the end of {folder}" in manager.text()


def test_the_task_that_waited_for_workers_that_cannot_start_is_refused(interchange):
    with serving(interchange, initializer=b"no pickle") as manager:
        (number,) = interchange.run(tasks.echo, (1,))
        interchange.message(m.Leaving)
        status, reason = interchange.results(1)[number]
        assert status == m.REFUSED_BY_POOL
        assert "could not start" in reason
        assert ended(interchange, manager) == 1


# ------------------------------------------------------------------ what workers can see
def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def test_nothing_below_the_manager_knows_its_keys(interchange):
    Path("private").mkdir()
    path = Path("private/settings.json")
    path.write_bytes(msgspec.json.encode(interchange.settings()))
    process = subprocess.Popen([sys.executable, "-m", "plait.executors.htex.manager", str(path)])
    interchange.registered()
    interchange.run(tasks.echo, (1,))
    interchange.outcomes(1)
    secrets = [interchange.block[1].encode(), interchange.server[0].encode()]
    manager_files = {os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{process.pid}/fd")}
    assert not any("settings.json" in each for each in manager_files)
    pids = below(process.pid)
    assert len(pids) >= 2
    for pid in pids:
        for name in ("environ", "cmdline"):
            assert not any(secret in read(f"/proc/{pid}/{name}") for secret in secrets)
        files = {fd: os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        assert not any("settings.json" in each or "TCP" in each for each in files.values())
        for each in (f"/proc/{pid}/fd/{fd}" for fd, name in files.items() if name.startswith("/memfd")):
            assert not any(secret in read(each) for secret in secrets)
        assert not any(secret in writable(pid) for secret in secrets)
    interchange.send(m.Stop("done"))
    process.wait(10)


def writable(pid: int) -> bytes:
    """The heap and stack of a process, where we may look at them."""
    found = []
    try:
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
            for line in maps:
                if "[heap]" in line or "[stack]" in line:
                    start, end = (int(each, 16) for each in line.split()[0].split("-"))
                    memory.seek(start)
                    found.append(memory.read(end - start))
    except (PermissionError, OSError):
        return b""
    return b"".join(found)


# ------------------------------------------------------------------ the end
def test_sigterm_is_announced(interchange):
    before = descendants()
    with serving(interchange) as manager:
        interchange.run(tasks.loop, (os.path.abspath("notes"),))
        interchange.until(lambda: tasks.notes("notes"))
        manager.signal(signal.SIGTERM)
        assert "signal 15" in interchange.message(m.Leaving).reason
        assert ended(interchange, manager, 3.0) == 0
        all_gone(before, 2.0)


def test_sigint_is_somebody_elses(interchange):
    with serving(interchange) as manager:
        manager.signal(signal.SIGINT)
        interchange.run(tasks.echo, (1,))
        interchange.outcomes(1)
        assert manager.process.poll() is None


def test_killed_it_leaves_nothing_behind(interchange):
    """F11."""
    before = descendants()
    path = os.path.abspath("notes")
    with serving(interchange) as manager:
        function = interchange.function(tasks.family)
        items = [(number, 1, function, dumps(((path,), {"deaf": True})), None, None) for number in (1, 2)]
        interchange.send(m.Tasks(items))
        interchange.until(lambda: len(numbers(path, "family")) == 2 and len(numbers(path, "child")) == 8)
        assert set(numbers(path, "child")) <= descendants()
        manager.signal(signal.SIGKILL)
        all_gone(before, 2.0)


def test_killed_while_it_starts_it_leaves_nothing_behind(interchange):
    before = descendants()
    manager = Manager(interchange.settings())
    wait_until(lambda: below(manager.pid))
    manager.signal(signal.SIGKILL)
    all_gone(before, 2.0)
    manager.close()


def test_the_zygote_is_replaced(interchange):
    with serving(interchange) as manager:
        (zygote,) = [pid for pid in below(manager.pid) if procs.look(pid).parent == manager.pid]
        os.kill(zygote, signal.SIGKILL)
        wait_until(lambda: not procs.is_alive(zygote))
        interchange.run(tasks.echo, (1,))
        assert list(interchange.results(1).values()) == [1]


@pytest.mark.slow
def test_where_nobody_listens_it_does_not_wait_for_long(interchange):
    interchange.close()
    manager = Manager(interchange.settings(probe_timeout_s=60.0))
    wait_until(lambda: manager.process.poll() is not None)
    assert "connection refused" in manager.text()
    manager.close()
    interchange.open()


def test_an_interchange_that_does_not_welcome_it_is_given_up(interchange):
    interchange.answers = False
    manager = Manager(interchange.settings(heartbeat_threshold_s=0.5))
    interchange.until(lambda: manager.process.poll() is not None)
    assert "nothing was heard of the interchange" in manager.text()
    manager.close()
