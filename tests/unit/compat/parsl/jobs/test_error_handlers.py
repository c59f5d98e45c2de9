from __future__ import annotations

from types import SimpleNamespace

import pytest

from plait.compat.parsl.jobs.error_handlers import (
    as_function,
    noop_error_handler,
    simple_error_handler,
    windowed_error_handler,
)
from plait.errors import TooManyJobFailuresError
from plait.model.jobs import JobState, JobStatus


@pytest.fixture
def executor():
    told = []
    return SimpleNamespace(provider=SimpleNamespace(init_blocks=1), set_bad_state_and_fail_all=told.append, told=told)


def failed(count):
    return {str(number): JobStatus(JobState.FAILED, "broken", exit_code=3) for number in range(count)}


def test_they_tell_the_executor_themselves(executor):
    assert simple_error_handler(executor, failed(1)) is None
    (error,) = executor.told
    assert isinstance(error, TooManyJobFailuresError)
    assert "exit code 3" in str(error)


def test_the_last_so_many_count(executor):
    windowed_error_handler(executor, failed(2))
    assert executor.told == []
    windowed_error_handler(executor, failed(2), threshold=2)
    assert len(executor.told) == 1


def test_two_failures_after_a_block_that_worked_end_nothing(executor):
    worked = {"a": JobStatus(JobState.COMPLETED)}
    simple_error_handler(executor, {**worked, **failed(2)})
    assert executor.told == []
    simple_error_handler(executor, {**worked, **failed(3)})
    assert len(executor.told) == 1


def test_what_parameters_stand_for():
    assert as_function(True) is simple_error_handler
    assert as_function(False) is noop_error_handler
    assert as_function(print) is print


def test_never(executor):
    noop_error_handler(executor, failed(9))
    assert executor.told == []
