"""The suite that every provider passes.

Subclass it in a test file:

    class TestMine(ProviderContract):
        def make(self, **numbers):
            return MyProvider(**numbers)

A subclass whose provider does not run commands replaces `begin_long` and `begin_ending`.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import pytest

from plait.errors import ConfigurationError
from plait.model.jobs import JobState, JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from plait.providers.base import ExecutionProvider


class ProviderContract(ABC):
    """What `providers.base.ExecutionProvider` promises, as tests."""

    #: Seconds within which a job is seen in a new state.
    timeout_s = 10.0

    @abstractmethod
    def make(self, **numbers: Any) -> ExecutionProvider:
        """A provider; ``numbers`` are ``max_blocks`` and its like."""

    def begin_long(self, provider: ExecutionProvider) -> str | None:
        """Begins a job that does not end by itself."""
        return provider.submit("sleep 600", 1, "plait.contract.block-0")

    def begin_ending(self, provider: ExecutionProvider, exit_code: int) -> str | None:
        """Begins a job that ends at once."""
        return provider.submit(f"echo out; echo err >&2; exit {exit_code}", 1, "plait.contract.block-1")

    @pytest.fixture
    def provider(self, tmp_path: Path) -> Iterator[ExecutionProvider]:
        """One that is ready, and leaves nothing behind."""
        provider = self.make(max_blocks=4)
        provider.script_dir = str(tmp_path)
        self.begun: list[str] = []
        yield provider
        provider.cancel(self.begun)
        provider.close()

    def long(self, provider: ExecutionProvider) -> str:
        """A job that does not end by itself."""
        return self._kept(self.begin_long(provider))

    def ending(self, provider: ExecutionProvider, exit_code: int = 0) -> str:
        """A job that ends at once."""
        return self._kept(self.begin_ending(provider, exit_code))

    def _kept(self, job_id: str | None) -> str:
        assert isinstance(job_id, str)
        assert job_id
        self.begun.append(job_id)
        return job_id

    def wait_for(self, provider: ExecutionProvider, job_id: str, *states: JobState) -> JobStatus:
        """The status of the job once it is in one of these states."""
        deadline_s = time.monotonic() + self.timeout_s
        pause = threading.Event()  # never set
        while True:
            (status,) = provider.status([job_id])
            if status.state in states:
                return status
            if time.monotonic() > deadline_s:
                pytest.fail(f"job {job_id} is still {status}")
            pause.wait(0.005)

    # ------------------------------------------------------------------ the numbers
    def test_it_says_what_it_is(self, provider: ExecutionProvider) -> None:
        """The numbers that executors read are there and fit together."""
        assert provider.label
        assert provider.status_polling_interval > 0
        assert provider.nodes_per_block >= 1
        assert 0 <= provider.min_blocks <= provider.max_blocks
        assert 0 <= provider.init_blocks <= provider.max_blocks
        assert 0 <= provider.parallelism <= 1
        assert provider.cores_per_node is None or provider.cores_per_node > 0
        assert provider.mem_per_node is None or provider.mem_per_node > 0

    @pytest.mark.parametrize(
        "numbers",
        [
            {"max_blocks": -1},
            {"min_blocks": 2, "max_blocks": 1},
            {"init_blocks": 2, "max_blocks": 1},
            {"init_blocks": 1.5},
            {"nodes_per_block": 0},
            {"parallelism": 1.5},
        ],
    )
    def test_numbers_that_cannot_work_are_refused_with_their_names(self, numbers: dict[str, Any]) -> None:
        """A wrong number is an error of the constructor."""
        with pytest.raises(ConfigurationError) as info:
            self.make(**numbers)
        for name, value in numbers.items():
            assert f"{name}={value!r}" in str(info.value)

    # ------------------------------------------------------------------ jobs
    def test_ids_are_different(self, provider: ExecutionProvider) -> None:
        """Each job has an id of its own."""
        assert self.long(provider) != self.long(provider)

    def test_a_job_runs_until_it_is_cancelled(self, provider: ExecutionProvider) -> None:
        """`cancel` ends a running job, which is then CANCELLED."""
        job_id = self.long(provider)
        status = self.wait_for(provider, job_id, JobState.RUNNING)
        assert not status.terminal
        assert provider.cancel([job_id]) == [True]
        assert self.wait_for(provider, job_id, JobState.CANCELLED).terminal

    def test_a_job_that_does_its_work_is_completed(self, provider: ExecutionProvider) -> None:
        """Exit code 0 is COMPLETED."""
        status = self.wait_for(provider, self.ending(provider), JobState.COMPLETED)
        assert status.terminal
        assert status.exit_code in {0, None}

    def test_a_job_that_fails_says_how(self, provider: ExecutionProvider) -> None:
        """Any other is FAILED."""
        status = self.wait_for(provider, self.ending(provider, 3), JobState.FAILED)
        assert status.terminal
        assert status.exit_code in {3, None}

    def test_its_output_can_be_read(self, provider: ExecutionProvider) -> None:
        """Both streams are in files that the status names."""
        status = self.wait_for(provider, self.ending(provider, 3), JobState.FAILED)
        assert "out" in (status.stdout_summary or "")
        assert "err" in (status.stderr_summary or "")

    def test_answers_are_in_the_order_of_the_questions(self, provider: ExecutionProvider) -> None:
        """`status` answers in order."""
        running, failed = self.long(provider), self.ending(provider, 3)
        self.wait_for(provider, running, JobState.RUNNING)
        self.wait_for(provider, failed, JobState.FAILED)
        assert [s.state for s in provider.status([running, failed])] == [JobState.RUNNING, JobState.FAILED]
        assert [s.state for s in provider.status([failed, running])] == [JobState.FAILED, JobState.RUNNING]

    def test_an_end_stays_as_it_is(self, provider: ExecutionProvider) -> None:
        """Cancelling a job that has ended changes nothing and is accepted."""
        failed = self.ending(provider, 3)
        before = self.wait_for(provider, failed, JobState.FAILED)
        assert provider.cancel([failed]) == [True]
        assert provider.status([failed]) == [before]

    def test_no_jobs_are_no_question(self, provider: ExecutionProvider) -> None:
        """Empty lists are fine."""
        assert list(provider.status([])) == []
        assert list(provider.cancel([])) == []

    def test_jobs_of_others_are_nothing_to_it(self, provider: ExecutionProvider) -> None:
        """An unknown id raises nothing."""
        (status,) = provider.status(["no-such-job"])
        assert status.state in {JobState.MISSING, JobState.UNKNOWN}
        assert provider.cancel(["no-such-job"]) == [False]

    def test_many_are_ended_together(self, provider: ExecutionProvider) -> None:
        """`cancel` takes several."""
        jobs = [self.long(provider) for _ in range(4)]
        assert provider.cancel(jobs) == [True] * 4
        for job_id in jobs:
            self.wait_for(provider, job_id, JobState.CANCELLED)
