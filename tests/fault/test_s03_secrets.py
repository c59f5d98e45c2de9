"""S03, S04, S10: keys are in no argument, environment, log or file that a task is given; the key of a block that ended is worth nothing."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec
import pytest

import plait
from plait.executors.htex import link as link_module
from plait.executors.htex.link import Dealer
from plait.executors.htex.settings import ManagerSettings
from plait.testing import tasks
from tests.fault.pilot import interchanges, managers, pilot_jobs, up
from tests.leaks import descendants
from tests.support import require_linux, wait_until

echo = plait.python_app(tasks.echo)
hold = plait.python_app(tasks.hold)
BLOCKS = Path("runs/000/HighThroughputExecutor/blocks")


@plait.python_app
def look_around():
    """All that a task finds without looking for it: descriptors, environment, arguments, and what its parents' show."""
    import contextlib
    import os

    found = {"environ": str(dict(os.environ)).encode()}
    pids = [os.getpid(), os.getppid()]
    with contextlib.suppress(OSError), open(f"/proc/{os.getppid()}/stat") as file:
        pids.append(int(file.read().rpartition(")")[2].split()[1]))
    for pid in pids:
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/{name}", "rb") as file:
                found[f"{pid} {name}"] = file.read()
    names = {}
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            names[fd] = os.readlink(f"/proc/self/fd/{fd}")
    for fd, name in names.items():
        found[f"fd {fd} {name}"] = b""
        with contextlib.suppress(OSError), open(f"/proc/self/fd/{fd}", "rb", opener=nonblocking) as file:
            found[f"fd {fd} {name}"] = file.read(10_000_000) or b""
    return found


def nonblocking(path, flags):
    return os.open(path, flags | os.O_NONBLOCK)


@pytest.fixture
def secrets(monkeypatch):
    """Every secret key that is made."""
    require_linux("reads /proc")
    made: list[bytes] = []
    make = link_module.new_keys

    def noted() -> tuple[str, str]:
        keys = make()
        made.append(keys[1].encode())
        return keys

    monkeypatch.setattr(link_module, "new_keys", noted)
    return made


def read(path) -> bytes:
    with contextlib.suppress(OSError):
        return Path(path).read_bytes()
    return b""


def test_secrets_are_where_they_must_be_and_nowhere_else(secrets, caplog):
    caplog.set_level("DEBUG")
    options = {"blocks": 2, "worker_debug": True}
    with pilot_jobs(max_losses=0, initialize_logging=True, run_dir="runs", options=options) as kernel:
        htex = up(kernel, 2)
        seen = [look_around().result(30) for _ in range(4)]
        for pid in {os.getpid(), *descendants()}:
            for name in ("cmdline", "environ"):
                seen.append({f"{pid} {name}": read(f"/proc/{pid}/{name}")})
        with contextlib.suppress(plait.errors.PlaitError):
            echo(lambda: (yield)).result(30)
        seen.append({"repr": repr((kernel.config, htex, vars(htex).get("_launch"))).encode()})
        assert len(secrets) == 3  # the interchange's, and one for each block
        texts = {path: read(path) for path in Path("runs").rglob("*") if path.is_file()}
        with_keys = {str(path) for path, text in texts.items() if any(secret in text for secret in secrets)}
        assert with_keys == {str(BLOCKS / "0.json"), str(BLOCKS / "1.json")}
        assert not any(secrets[0] in text for text in texts.values())  # the interchange's own never leaves this host
        for path in with_keys:
            assert os.stat(path).st_mode & 0o777 == 0o600
        assert BLOCKS.stat().st_mode & 0o777 == 0o700
        assert Path("runs/000").stat().st_mode & 0o777 == 0o700
    for found in seen:
        for where, text in found.items():
            assert not any(secret in text for secret in secrets), where
    names = {where.split()[-1] for found in seen[:4] for where in found if where.startswith("fd")}
    assert not any("json" in name for name in names), names
    left = {path for path in Path("runs").rglob("*") if path.is_file() and any(key in read(path) for key in secrets)}
    assert left == set()
    assert not any(secret.decode() in caplog.text for secret in secrets)


def test_the_key_of_a_block_that_ended_is_refused(secrets):
    options = {"blocks": 2, "provider": {"min_blocks": 0}}
    with pilot_jobs(max_losses=0, strategy="none", initialize_logging=True, run_dir="runs", options=options) as kernel:
        htex = up(kernel, 2)
        told = msgspec.json.decode((BLOCKS / "0.json").read_bytes(), type=ManagerSettings)
        keys = told.addresses, told.port, told.server_public, told.public, told.secret
        Dealer(*keys, 10.0).close(0)  # now it is good
        htex.scale_in(["0"])
        wait_until(lambda: not (BLOCKS / "0.json").exists(), 20)

        def refused() -> bool:
            try:
                Dealer(*keys, 1.0).close(0)
            except ConnectionError as error:
                return "does not know our key" in str(error)
            return False

        wait_until(refused, 20)
        assert [future.result(30) for future in [echo(i) for i in range(20)]] == list(range(20))


def test_a_killed_interchange_does_not_know_ended_blocks_either(secrets):
    options = {"blocks": 2, "provider": {"min_blocks": 0}, "heartbeat_threshold": 15.0}
    with pilot_jobs(max_losses=0, strategy="none", initialize_logging=True, run_dir="runs", options=options) as kernel:
        htex = up(kernel, 2)
        told = msgspec.json.decode((BLOCKS / "0.json").read_bytes(), type=ManagerSettings)
        htex.scale_in(["0"])
        wait_until(lambda: not (BLOCKS / "0.json").exists(), 20)
        (old,) = interchanges()
        os.kill(old, 9)
        wait_until(lambda: interchanges() not in ([], [old]), 20)
        assert echo(1).result(30) == 1
        with pytest.raises(ConnectionError, match="does not know our key"):
            Dealer(told.addresses, told.port, told.server_public, told.public, told.secret, 1.0)
        assert len(managers()) == 1
