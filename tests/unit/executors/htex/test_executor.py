"""`HighThroughputExecutor`, on a scripted interchange (fake.py); with real ones in tests/contract/test_htex.py."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

import plait
from plait.errors import (
    BadStateException,
    ConfigurationError,
    ExecutorError,
    ManagerLost,
    SerializationError,
)
from plait.executors.htex.executor import HighThroughputExecutor
from plait.executors.htex.settings import ManagerSettings
from plait.model.jobs import JobState
from plait.providers import LocalProvider
from plait.testing import tasks
from tests.support import wait_until
from tests.unit.executors.htex.helpers import Remote, executor, lives, load, log

echo = plait.python_app(tasks.echo)


# ------------------------------------------------------------------ parameters
DEFAULTS = {
    "label": "HighThroughputExecutor", "provider": None, "launch_cmd": None, "interchange_launch_cmd": None, "address": None,
    "loopback_address": "127.0.0.1", "worker_port": None, "worker_port_range": (54000, 55000), "interchange_port_range": (55000, 56000),
    "storage_access": None, "working_dir": None, "worker_debug": False, "cores_per_worker": 1.0, "mem_per_worker": None,
    "max_workers_per_node": None, "cpu_affinity": "none", "available_accelerators": (), "prefetch_capacity": 0,
    "heartbeat_threshold": 120, "heartbeat_period": 30, "drain_period": None, "poll_period": 10, "address_probe_timeout": None,
    "worker_logdir_root": None, "manager_selector": None, "block_error_handler": True, "encrypted": True, "remote_monitoring_radio": None,
}  # fmt: skip


def test_the_parameters_that_users_know_and_their_defaults():
    parameters = inspect.signature(HighThroughputExecutor).parameters
    assert {name: parameters[name].default for name in DEFAULTS} == DEFAULTS
    assert list(parameters)[: len(DEFAULTS)] == list(DEFAULTS)


def test_every_parameter_is_explained():
    for name in inspect.signature(HighThroughputExecutor).parameters:
        assert name in HighThroughputExecutor.__doc__


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"label": "a/b"}, "label='a/b'"),
        ({"provider": 3}, "provider=3.*LocalProvider"),
        ({"provider": LocalProvider}, "with parentheses"),
        ({"launch_cmd": "run {x} {config}"}, r"no \{x\}"),
        ({"interchange_launch_cmd": ["/not/there"]}, "no program '/not/there'"),
        ({"worker_port": 0}, "worker_port=0"),
        ({"worker_port_range": (2, 1)}, "worker_port_range"),
        ({"cores_per_worker": 0}, "cores_per_worker=0"),
        ({"mem_per_worker": -1}, "mem_per_worker=-1"),
        ({"max_workers_per_node": 0}, "max_workers_per_node=0"),
        ({"cpu_affinity": "x"}, "cpu_affinity='x'"),
        ({"available_accelerators": "0"}, "available_accelerators='0'"),
        ({"prefetch_capacity": -1}, "prefetch_capacity=-1"),
        ({"heartbeat_threshold": 30}, "heartbeat_threshold=30"),
        ({"drain_period": 0}, "drain_period=0"),
        ({"address_probe_timeout": 0}, "address_probe_timeout=0"),
        ({"block_error_handler": 3}, "block_error_handler=3"),
        ({"encrypted": 1}, "encrypted=1"),
        ({"encrypted": False, "address": "192.0.2.1"}, "listen on 192.0.2.1.*loopback"),
        ({"max_result_size": "much"}, "max_result_size"),
        ({"initializer": 3}, "initializer=3"),
        ({"initargs": 5}, "initargs=5"),
        ({"max_tasks_per_worker": 0}, "max_tasks_per_worker=0"),
        ({"env": {"a b": "c"}}, "env="),
        ({"env": 3}, "env=3"),
        ({"block_start_timeout": 0}, "block_start_timeout=0"),
        ({"address": 3}, "address=3"),
        ({"worker_logdir_root": 3}, "worker_logdir_root=3.*the path of a folder, or None"),
        ({"working_dir": 3}, "working_dir=3"),
    ],
)
def test_values_that_cannot_work_are_refused_at_once(options, text):
    with pytest.raises(ConfigurationError, match=text):
        HighThroughputExecutor(**options)


def test_parameters_on_which_nothing_depends_are_named(caplog):
    HighThroughputExecutor(loopback_address="::1", poll_period=5, interchange_port_range=(1, 2))
    assert len(caplog.records) == 3
    assert "loopback_address='::1'" in caplog.text


def test_importing_plait_needs_no_zeromq():
    code = "import sys, plait; plait.HighThroughputExecutor(); sys.exit('zmq' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ------------------------------------------------------------------ tasks
def test_tasks_run_one_run_after_another():
    made = executor()
    for _ in range(2):
        with load(made):
            assert [future.result(20) for future in [echo(number) for number in range(100)]] == list(range(100))
            assert [f.result(20) for f in plait.map(echo, range(1000))] == list(range(1000))
            assert echo(b"x" * 200_000).result(20) == b"x" * 200_000


def test_what_is_assigned_after_the_constructor_counts(monkeypatch):
    """Programs change a configuration that they imported: the interchange listens where the new provider's nodes reach it."""
    monkeypatch.setattr("plait.executors.htex.where.host_addresses", lambda _: ["192.0.2.7"])
    made = executor()
    made.provider, made.encrypted = Remote(), False
    with pytest.raises(ConfigurationError, match=r"encrypted=False.*192\.0\.2\.7"), load(made):
        pass
    made.encrypted, made.available_accelerators, made.address = True, 1, "127.0.0.5"
    with load(made):
        assert echo(1).result(20) == 1
        assert made.available_accelerators == ["0"]
        assert made._interchange_settings().bind == ["127.0.0.5"]


def test_a_lost_manager_is_a_loss():
    with load(executor("lose"), max_losses=0):
        error = echo(1).exception(20)
        assert type(error) is ManagerLost
    with load(executor("lose"), max_losses=1):
        assert echo(1).result(20) == 1


def test_an_announced_loss_costs_nothing():
    with load(executor("announce"), max_losses=0):
        assert echo(1).result(20) == 1


def test_a_killed_interchange_costs_nothing():
    lives("die", 2)
    made = executor("die:20")
    with load(made, max_losses=0):
        assert [f.result(20) for f in [echo(number) for number in range(100)]] == list(range(100))
        assert made._link.lives.deaths == 2


def test_a_function_that_is_too_large(monkeypatch):
    monkeypatch.setattr("plait.executors.htex.executor.MAX_PAYLOAD_BYTES", 10)
    with load(executor("silent")):
        for options in ({}, {"walltime": 5}):
            error = plait.python_app(lambda x: x, **options)(1).exception(20)
            assert isinstance(error, SerializationError)
            assert "pass large objects as arguments" in str(error)
        assert all(
            isinstance(f.exception(20), SerializationError) for f in plait.map(plait.python_app(lambda x: x), [1, 2])
        )


def test_cancelling_what_waits():
    with load(executor("silent")):
        future = echo(1)
        assert future.cancel()
        wait_until(lambda: any(line.startswith("Cancel") for line in log()) or not log())


def test_without_a_run_nothing_is_taken():
    made = executor()
    with pytest.raises(ExecutorError, match="not started"):
        made._running()
    assert (made.status().workers, made.outstanding, made.tasks, made.connected_managers()) == (0, 0, {}, [])
    made.shutdown(1.0)
    with pytest.raises(ExecutorError):
        made.scale_out(1)


# ------------------------------------------------------------------ commands and blocks
def test_blocks_come_with_the_first_word_of_the_interchange():
    provider = Remote(max_blocks=2)
    made = executor(provider=provider, max_workers_per_node=2, worker_debug=True)
    with load(made, initialize_logging=True) as kernel:
        wait_until(lambda: provider.commands)
        path = provider.commands[0].split()[-1]
        assert os.path.dirname(path) == os.path.join(os.path.abspath(kernel.run_dir), "htex", "blocks")
        assert provider.script_dir == os.path.join(os.path.abspath(kernel.run_dir), "submit_scripts")
        with open(path, "rb") as file:
            settings = msgspec.json.decode(file.read(), type=ManagerSettings)
        assert (settings.block, settings.port, settings.max_workers, settings.debug) == ("0", 54321, 2, True)
        assert settings.public
        assert settings.secret
        assert settings.server_public
        assert settings.secret not in provider.commands[0]
        wait_until(lambda: "Allow 0 True" in log())
        assert made.scale_out(5) == ["1"]
        wait_until(lambda: len(provider.commands) == 2)
        assert set(made.block_status()) == {"0", "1"}
        assert made.scale_in(["1"]) == ["1"]
        wait_until(lambda: "Allow 1 False" in log())
    assert sorted(provider.cancelled) == ["1", "2"]
    assert not os.path.exists(path)
    with open(os.path.join(kernel.run_dir, "journal.plj"), "rb") as file:
        assert settings.secret.encode() not in file.read()


class Far(Remote):
    """Its nodes reach this machine by a way that is made first, for which somebody may have to log in."""

    tunnels = True

    def __init__(self, error=None, **options):
        super().__init__(**options)
        self.error = error
        self.asked, self.go_on, self.closed = threading.Event(), threading.Event(), threading.Event()

    def route(self, addresses, port):
        self.asked.set()
        assert self.go_on.wait(20)
        if self.error is not None:
            raise self.error
        return ["10.0.0.1"], port + 1

    def close(self):
        self.closed.set()


def test_blocks_come_when_there_is_a_way_back():
    provider = Far(max_blocks=1)
    with load(executor(provider=provider), initialize_logging=True):
        assert provider.asked.wait(20)
        assert provider.commands == []
        provider.go_on.set()
        wait_until(lambda: provider.commands)
        with open(provider.commands[0].split()[-1], "rb") as file:
            settings = msgspec.json.decode(file.read(), type=ManagerSettings)
    assert (settings.addresses, settings.port) == (["10.0.0.1"], 54322)
    assert provider.closed.is_set()


def test_no_way_back():
    provider = Far(OSError("permission denied"), max_blocks=1)
    provider.go_on.set()
    with load(executor("unplaced", "silent", provider=provider)):
        assert "permission denied" in str(echo(1).exception(20))


def test_a_shutdown_does_not_wait_for_a_log_in():
    provider = Far(max_blocks=1)
    with load(executor(provider=provider)):
        assert provider.asked.wait(20)
    assert not provider.closed.is_set()
    provider.go_on.set()
    assert provider.closed.wait(20)
    assert provider.commands == []


def test_a_provider_that_cannot_be_closed_leaves_nothing_else(caplog):
    provider = Remote(max_blocks=1)
    provider.close = lambda: 1 / 0
    made = executor(provider=provider)
    with load(made, initialize_logging=True):
        wait_until(lambda: provider.commands)
        path = provider.commands[0].split()[-1]
        folder = made._launch._directory
        Path(folder, "x.json").touch()
        child = made._link.lives.child
    assert not os.path.exists(path)
    assert os.listdir(folder) == []
    assert child._process.returncode == 0
    assert "the provider remote could not be closed" in caplog.text


def test_what_others_can_dial_is_encrypted():
    with pytest.raises(ConfigurationError, match="encrypted=False.*remote brings its port to other machines"):
        executor(provider=Far(), encrypted=False)


def test_blocks_that_fail_end_the_executor():
    made = executor("unplaced", "silent", provider=Remote(state=JobState.FAILED))
    with load(made):
        error = echo(1).exception(20)
        assert type(error) is BadStateException
        assert "as written" in str(error)
        assert made.bad_state_is_set
        assert type(made.executor_exception).__name__ == "TooManyJobFailuresError"
        assert isinstance(echo(2).exception(20), BadStateException)
        assert "cannot run" in made.explain(None)


def test_blocks_that_cannot_be_prepared_end_the_executor(monkeypatch):
    def refuses(path):
        raise ConfigurationError(f"{path!r} must be a directory of yours (mode 0700)")

    monkeypatch.setattr("plait.executors.htex.launch.make_private", refuses)
    with load(executor("unplaced", "silent"), initialize_logging=True):
        error = echo(1).exception(20)
        assert type(error) is BadStateException
        assert "mode 0700" in str(error)


def test_it_can_be_given_up_by_its_user():
    made = executor("silent")
    error = ExecutorError("htex", "enough")
    with load(made):
        future = echo(1)
        wait_until(lambda: made.status().running)
        made.set_bad_state_and_fail_all(error)
        assert future.exception(20) is error
        assert made.executor_exception is error


def test_an_error_without_a_text_is_told_by_its_class():
    made = executor("silent")
    with load(made):
        future = echo(1)
        wait_until(lambda: made.status().running)
        made.set_bad_state_and_fail_all(AssertionError())
        assert str(future.exception(20)).endswith("AssertionError")
        assert made.executor_exception.args == ()


def test_an_interchange_that_cannot_work_fails_all_tasks():
    with load(executor("broken")) as kernel:
        error = echo(1).exception(20)
        assert "the port is taken" in str(error)
        assert kernel.config.executors[0].executor_exception is error


def test_shutdown_before_anything_is_up():
    for _ in range(3):
        with load(executor()):
            pass
