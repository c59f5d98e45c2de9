from __future__ import annotations

import itertools
import os
from concurrent.futures import Future

import pytest

from plait.compat import parsl
from plait.compat.parsl.config import Config
from plait.compat.parsl.executors.base import ParslExecutor
from plait.compat.parsl.executors.status_handling import BlockProviderExecutor, NoStatusHandlingExecutor
from plait.compat.parsl.launchers import SimpleLauncher
from plait.compat.parsl.providers import LocalProvider
from plait.compat.parsl.providers.base import ExecutionProvider
from plait.errors import BadStateException, ScalingFailed, TooManyJobFailuresError
from plait.model.jobs import JobState, JobStatus
from tests.support import wait_until


class Numbers(ExecutionProvider):
    """A provider as users write one: its jobs have numbers for names, and exist on paper only."""

    label = "numbers"
    status_polling_interval = 0.02

    def __init__(self, init_blocks=1, min_blocks=0, max_blocks=3, end=JobState.RUNNING):
        self.init_blocks, self.min_blocks, self.max_blocks = init_blocks, min_blocks, max_blocks
        self.nodes_per_block, self.parallelism = 1, 1
        self.end = end
        self.resources = {}
        self.commands = []

    def submit(self, command, tasks_per_node, job_name="parsl.auto"):
        number = len(self.resources) + 1
        self.resources[number] = JobStatus(self.end, exit_code=1 if self.end == JobState.FAILED else None)
        self.commands.append((command, tasks_per_node, job_name))
        return number

    def status(self, job_ids):
        return [self.resources[number] for number in job_ids]

    def cancel(self, job_ids):
        for number in job_ids:
            self.resources[number] = JobStatus(JobState.CANCELLED)
        return [True for _ in job_ids]


class Patient(BlockProviderExecutor):
    """Its tasks end when somebody says so."""

    label = "patient"

    def __init__(self, provider, **options):
        super().__init__(provider=provider, **options)
        self.numbers = itertools.count()
        self.ended = False

    def submit(self, func, resource_specification, *args, **kwargs):
        future = Future()
        number = next(self.numbers)
        self.tasks[number] = future
        future.add_done_callback(lambda _: self.tasks.pop(number, None))
        future.call = lambda: future.set_result(func(*args, **kwargs))
        return future

    def shutdown(self):
        self.ended = True

    def outstanding(self):
        return len(self.tasks)

    @property
    def workers_per_node(self):
        return 2

    def _get_launch_command(self, block_id):
        return f"my-workers --block {block_id}"


class Formerly(Patient):
    """Written when `outstanding` was a property."""

    @property
    def outstanding(self):
        return len(self.tasks)


def quiet(*executors, **options):
    return Config(executors=executors, initialize_logging=False, strategy_period=0.05, **options)


@pytest.mark.parametrize("kind", [Patient, Formerly])
def test_blocks_are_obtained_for_a_plug_in(kind):
    executor = kind(Numbers())
    with parsl.load(quiet(executor)) as kernel:
        assert kernel.executors["patient"] is executor
        wait_until(lambda: executor.status()["0"].came_up)
        assert executor.status()["0"].state == JobState.RUNNING
        assert executor.provider.commands == [("my-workers --block 0", 1, "plait.patient.block-0")]
        assert executor.blocks_to_job_id == {"0": "1"}
        assert executor.job_ids_to_block == {"1": "0"}
        futures = [parsl.python_app(int)(str(n)) for n in range(5)]  # three blocks of two workers
        wait_until(lambda: len(executor.provider.commands) == 3)
        for future in list(executor.tasks.values()):
            future.call()
        assert [future.result() for future in futures] == [0, 1, 2, 3, 4]
    assert executor.ended
    assert {status.state for status in executor.provider.resources.values()} == {JobState.CANCELLED}


def test_blocks_are_given_back_when_there_is_nothing_to_do():
    executor = Patient(Numbers(init_blocks=2, min_blocks=1))
    with parsl.load(quiet(executor, max_idletime=0.1)):
        wait_until(lambda: len(executor.provider.resources) == 2)
        wait_until(lambda: [s.state for s in executor.status().values()].count(JobState.SCALED_IN) == 1)
        assert JobState.RUNNING in {status.state for status in executor.status_facade.values()}


def test_more_and_fewer_blocks_by_hand():
    executor = Patient(Numbers(init_blocks=0))
    with parsl.load(quiet(executor, strategy="none")):
        assert executor.scale_out_facade(2) == ["0", "1"]
        executor.poll_facade()
        wait_until(lambda: len(executor.blocks_to_job_id) == 2)
        assert len(executor.scale_in_facade(1)) == 1
        wait_until(lambda: len(executor.blocks_to_job_id) == 1)
        assert executor.status_polling_interval == 0.02


def test_failing_blocks_end_it():
    told = []

    def handler(executor, status):
        if sum(each.state == JobState.FAILED for each in status.values()) and not executor.bad_state_is_set:
            told.append(dict(status))
            executor.set_bad_state_and_fail_all(TooManyJobFailuresError("enough"))

    executor = Patient(Numbers(end=JobState.FAILED), block_error_handler=handler)
    with parsl.load(quiet(executor)):
        running = parsl.python_app(int)("3")
        assert isinstance(running.exception(10), (BadStateException, TooManyJobFailuresError))
        wait_until(lambda: executor.bad_state_is_set)
        assert isinstance(parsl.python_app(int)("4").exception(), TooManyJobFailuresError)
        executor.handle_errors(executor.status())  # has told already
    assert len(told) == 1
    assert str(executor.executor_exception) == "enough"


def test_without_a_provider_there_are_no_blocks():
    executor = Patient(None)
    with parsl.load(quiet(executor)):
        assert (executor.status(), executor.blocks_to_job_id, executor.status_polling_interval) == ({}, {}, 0)
        executor.poll_facade()
        with pytest.raises(ScalingFailed, match="no blocks"):
            executor.scale_out_facade(1)


def test_real_jobs(tmp_path):
    provider = LocalProvider(launcher=SimpleLauncher(), max_blocks=1)
    executor = Patient(provider)
    executor._get_launch_command = lambda block_id: "exec sleep 60"
    with parsl.load(quiet(executor)):
        wait_until(lambda: executor.blocks_to_job_id)
        (job,) = executor.job_ids_to_block
    with pytest.raises(ProcessLookupError):
        os.kill(int(job), 0)


def test_a_plug_in_may_submit_jobs_when_it_starts(tmp_path):
    class Early(Patient):
        def start(self):
            self.found = self.provider.script_dir

    executor = Early(Numbers(init_blocks=0))
    with parsl.load(Config(executors=[executor], run_dir=str(tmp_path / "runs"))) as kernel:
        assert executor.found == os.path.join(os.path.abspath(kernel.run_dir), "submit_scripts")
        assert os.path.isdir(executor.found)


def test_a_plug_in_must_say_how_its_blocks_begin():
    class Silent(Patient):
        _get_launch_command = BlockProviderExecutor._get_launch_command

    with pytest.raises(NotImplementedError, match="Silent has a provider"):
        Silent(Numbers())._get_launch_command("0")


def test_plug_ins_of_before_blocks():
    with pytest.warns(FutureWarning, match="removed NoStatusHandlingExecutor"):

        class Old(NoStatusHandlingExecutor):
            label = "old"

            def submit(self, func, resource_specification, *args, **kwargs):
                future = Future()
                future.set_result(func(*args, **kwargs))
                return future

            def shutdown(self):
                pass

    executor = Old()
    assert isinstance(executor, ParslExecutor)
    with parsl.load(quiet(executor)):
        assert parsl.python_app(int)("3").result() == 3
    assert (executor.status(), executor.tasks, executor.bad_state_is_set) == ({}, {}, False)
    executor.handle_errors({})
    with pytest.raises(NotImplementedError):
        executor.set_bad_state_and_fail_all(ValueError())
