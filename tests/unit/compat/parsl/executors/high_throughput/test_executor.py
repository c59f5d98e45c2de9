from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import warnings

import pytest

import plait.apps
from plait.compat import parsl
from plait.compat.parsl.config import Config
from plait.compat.parsl.executors import HighThroughputExecutor
from plait.compat.parsl.executors.base import ParslExecutor
from plait.compat.parsl.executors.high_throughput.errors import WorkerLost
from plait.compat.parsl.executors.high_throughput.manager_selector import ManagerSelector, RandomManagerSelector
from plait.compat.parsl.executors.status_handling import BlockProviderExecutor
from plait.compat.parsl.jobs.error_handlers import noop_error_handler, simple_error_handler
from plait.compat.parsl.jobs.job_status_poller import JobStatusPoller
from plait.compat.parsl.launchers import SimpleLauncher
from plait.compat.parsl.providers import LocalProvider
from plait.compat.parsl.serialize import pack_apply_message
from plait.errors import BadStateException, InvalidResourceSpecification
from plait.executors.htex.executor import HighThroughputExecutor as Native
from plait.executors.htex.launch import DEFAULT_COMMAND
from plait.model.jobs import JobState, JobStatus
from tests.support import wait_until

#: Every parameter of upstream's with its default.
DEFAULTS = {
    "label": "HighThroughputExecutor",
    "launch_cmd": None,
    "interchange_launch_cmd": None,
    "address": None,
    "loopback_address": "127.0.0.1",
    "worker_port": None,
    "worker_port_range": (54000, 55000),
    "interchange_port_range": (55000, 56000),
    "storage_access": None,
    "working_dir": None,
    "worker_debug": False,
    "cores_per_worker": 1.0,
    "mem_per_worker": None,
    "max_workers_per_node": None,
    "cpu_affinity": "none",
    "available_accelerators": (),
    "prefetch_capacity": 0,
    "heartbeat_threshold": 120,
    "heartbeat_period": 30,
    "drain_period": None,
    "poll_period": 10,
    "address_probe_timeout": None,
    "worker_logdir_root": None,
    "block_error_handler": True,
    "encrypted": True,
    "remote_monitoring_radio": None,
}


# ------------------------------------------------------------------ parameters
def test_all_of_upstreams_parameters_can_be_given():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        executor = HighThroughputExecutor(
            provider=LocalProvider(), manager_selector=RandomManagerSelector(), **DEFAULTS
        )
    assert isinstance(executor, (Native, ParslExecutor, BlockProviderExecutor))
    assert isinstance(executor, ParslExecutor)
    assert isinstance(executor, BlockProviderExecutor)
    assert isinstance(HighThroughputExecutor(**DEFAULTS).provider, LocalProvider)
    assert repr(executor).startswith(
        "HighThroughputExecutor(\n    label='HighThroughputExecutor',\n    provider=LocalProvider("
    )


def test_commands_are_translated_whenever_they_are_set():
    executor = HighThroughputExecutor(
        launch_cmd="nice process_worker_pool.py -a {addresses}", interchange_launch_cmd=["interchange.py"]
    )
    assert executor.launch_cmd == f"nice {DEFAULT_COMMAND}"
    assert executor.interchange_launch_cmd == HighThroughputExecutor().interchange_launch_cmd == ["interchange.py"]
    executor.launch_cmd = f"time {executor.launch_cmd}"
    assert executor.launch_cmd == f"time nice {DEFAULT_COMMAND}"


def test_a_command_that_starts_no_manager_is_a_block_that_fails(caplog):
    """Whoever tries what happens then is told why."""
    executor = HighThroughputExecutor(
        launch_cmd="echo {worker_port} {cert_dir} {accelerators}", provider=LocalProvider()
    )
    assert "it starts no manager" in caplog.text
    with parsl.load(Config(executors=[executor])):

        @parsl.python_app
        def never():
            """Runs nowhere."""

        assert isinstance(never().exception(30), BadStateException)
        assert executor.status()["0"].state == JobState.MISSING


def test_block_error_handlers_are_functions():
    assert HighThroughputExecutor().block_error_handler is simple_error_handler
    assert HighThroughputExecutor(block_error_handler=False).block_error_handler is noop_error_handler
    seen = []
    executor = HighThroughputExecutor(block_error_handler=lambda *told: seen.append(told))
    executor.handle_errors({"0": JobStatus(JobState.FAILED)})
    assert seen == [(executor, {"0": JobStatus(JobState.FAILED)})]


def test_before_it_is_started():
    executor = HighThroughputExecutor(available_accelerators=2, cores_per_worker=0.5, max_workers_per_node=2)
    assert executor.outstanding == executor.outstanding() == 0
    assert (executor.tasks, executor.status(), executor.status_facade, executor.connected_blocks()) == ({}, {}, {}, [])
    assert (executor.blocks_to_job_id, executor.job_ids_to_block) == ({}, {})
    assert executor.connected_managers() == []
    assert executor.connected_managers_packages() == {}
    assert executor.workers_per_node in {1, 2}
    assert executor.status_polling_interval == executor.provider.status_polling_interval
    assert executor.monitor_resources() is True
    assert (executor.bad_state_is_set, executor.executor_exception) == (False, None)
    executor.run_dir = "elsewhere"
    assert executor.logdir == executor.worker_logdir == os.path.join("elsewhere", "HighThroughputExecutor")
    executor.poll_facade()
    executor.shutdown()


# ------------------------------------------------------------------ runs
class Backwards(ManagerSelector):
    def sort_managers(self, ready_managers, manager_list):
        assert all("block_id" in ready_managers[name] for name in manager_list)
        return sorted(manager_list, reverse=True)


def local(**options):
    provider = LocalProvider(launcher=SimpleLauncher())
    return HighThroughputExecutor(label="htex", max_workers_per_node=2, provider=provider, **options)


def test_what_was_given_up_takes_nothing_more():
    """What was submitted before fails with BadStateException, what comes later with the reason itself."""
    executor = HighThroughputExecutor(provider=LocalProvider(init_blocks=0, max_blocks=0))
    with parsl.load(Config(executors=[executor])):

        @parsl.python_app
        def never(*_):
            """Runs nowhere."""

        before = never()
        wait_until(lambda: executor.outstanding == 1)
        executor.set_bad_state_and_fail_all(ZeroDivisionError("mine"))
        assert isinstance(before.exception(30), BadStateException)
        assert isinstance(never().exception(30), ZeroDivisionError)
        assert all(isinstance(future.exception(30), ZeroDivisionError) for future in plait.apps.map(never, range(3)))
        assert isinstance(never(parsl_resource_specification={"priority": 1}).exception(30), ZeroDivisionError)
        with pytest.raises(ZeroDivisionError, match="mine"):
            executor.submit(len, {}, [1])
        assert isinstance(executor.executor_exception, ZeroDivisionError)


def test_scripts_of_jobs_are_in_the_folder_of_the_run(tmp_path):
    executor = local()
    with parsl.load(Config(executors=[executor], run_dir=str(tmp_path / "runs"))) as kernel:
        scripts = os.path.join(os.path.abspath(kernel.run_dir), "submit_scripts")
        assert executor.provider.script_dir == scripts
        wait_until(executor.connected_blocks)
        assert executor.status()["0"].stdout_path.startswith(scripts)


def test_a_run_as_programs_of_parsl_do_it():
    executor = local(manager_selector=Backwards())
    with parsl.load(Config(executors=[executor], strategy="none")) as kernel:

        @parsl.python_app
        def square(x):
            return x * x

        @parsl.python_app
        def rank():
            return {name: value for name, value in os.environ.items() if name.startswith("PARSL_WORKER_")}

        assert [future.result(30) for future in [square(n) for n in range(20)]] == [n * n for n in range(20)]
        environment = rank().result(30)
        assert environment["PARSL_WORKER_BLOCK_ID"] == "0"
        assert environment["PARSL_WORKER_COUNT"] == "2"
        assert kernel.executors == {"htex": executor, "_parsl_internal": kernel.executors["_parsl_internal"]}
        (manager,) = executor.connected_managers()
        assert {
            "manager",
            "block_id",
            "worker_count",
            "tasks",
            "idle_duration",
            "active",
            "parsl_version",
            "python_version",
            "draining",
        } <= set(manager)
        assert executor.connected_managers_packages()[manager["manager"]]["python"]
        assert executor.connected_blocks() == ["0"]
        assert executor.status()["0"].state == JobState.RUNNING
        assert executor.outstanding() == 0
        assert executor.run_dir == kernel.run_dir
        assert kernel.job_status_poller.executors == [executor]
        # beside the kernel
        assert executor.submit(pow, {}, 2, 5).result(30) == 32
        call = pack_apply_message(pow, (2, 6), {})
        assert executor.submit_payload({"resource_spec": {}}, call).result(30) == 64


def test_the_first_loss_is_reported():
    with parsl.load(Config(executors=[local()], strategy="none", initialize_logging=False)):

        @parsl.python_app
        def die():
            os.kill(os.getpid(), 9)

        assert isinstance(die().exception(30), WorkerLost)


def test_who_overrides_submit_sees_the_calls():
    class Seeing(HighThroughputExecutor):
        def submit(self, func, resource_specification, *args, **kwargs):
            seen.append((resource_specification, args, kwargs))
            return super().submit(func, resource_specification, *args, **kwargs)

    seen = []
    executor = Seeing(label="htex", provider=LocalProvider(launcher=SimpleLauncher()))
    with parsl.load(Config(executors=[executor])) as kernel:

        @parsl.python_app
        def where(x, key):
            return os.environ["PARSL_WORKER_BLOCK_ID"]

        assert where(1, key=2, parsl_resource_specification={"priority": 3}).result(30) == "0"
        assert kernel.executors["htex"] is executor
        assert executor.connected_blocks() == ["0"]
    assert seen == [({"priority": 3}, (1,), {"key": 2})]


def test_without_a_kernel(tmp_path):
    with local() as executor:
        executor.start()
        assert executor.submit(int, {}, "11", base=2).result(30) == 3
        assert isinstance(executor.submit(int, {}, "x").exception(30), ValueError)
        with pytest.raises(InvalidResourceSpecification, match="100000 cores asked"):
            executor.submit(int, {"cores": 100_000}, "3")
    assert os.path.isdir(tmp_path / "htex")


def test_without_a_kernel_blocks_are_obtained_by_hand_or_by_a_poller():
    executor = HighThroughputExecutor(
        label="htex",
        max_workers_per_node=1,
        provider=LocalProvider(init_blocks=0, max_blocks=2, launcher=SimpleLauncher()),
    )
    with executor:
        executor.start()
        assert executor.scale_out_facade(1) == ["0"]  # at once, as upstream's start() waits
        assert executor.submit(int, {}, "3").result(30) == 3
        poller = JobStatusPoller(strategy="simple", max_idletime=0.1, strategy_period=0.05)
        poller.add_executors([executor])
        wait_until(lambda: executor.status()["0"].state == JobState.SCALED_IN, 30)
        assert executor.submit(int, {}, "4").result(30) == 4
        poller.close()


def test_what_has_not_ended_is_cancelled_with_it():
    executor = HighThroughputExecutor(provider=LocalProvider(init_blocks=0, max_blocks=0), label="htex")
    executor.start()
    future = executor.submit(int, {}, "3")
    executor.shutdown()
    assert future.done()
    assert future.cancelled() or future.exception() is not None


def test_a_program_that_says_import_parsl(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import parsl
            from parsl.config import Config
            from parsl.executors import HighThroughputExecutor
            from parsl.launchers import SimpleLauncher
            from parsl.providers import LocalProvider

            @parsl.python_app
            def double(x):
                return 2 * x

            config = Config(executors=[HighThroughputExecutor(max_workers_per_node=1, provider=LocalProvider(launcher=SimpleLauncher()))])
            if __name__ == "__main__":
                with parsl.load(config):
                    print(double(21).result())
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-m", "plait.compat.parsl", str(program)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert (done.stdout, done.stderr) == ("42\n", "")
