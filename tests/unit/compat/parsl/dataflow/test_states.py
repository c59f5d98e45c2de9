from __future__ import annotations

from plait.compat.parsl.dataflow.states import FINAL_FAILURE_STATES, FINAL_STATES, States
from plait.model.task import FINAL_STATES as PLAIT_FINAL
from plait.model.task import TaskState

UPSTREAM = {
    "pending": 0, "running": 2, "exec_done": 3, "failed": 4, "dep_fail": 5, "launched": 7, "fail_retryable": 8, "memo_done": 9,
    "joining": 10, "running_ended": 11,
}  # fmt: skip


def test_names_and_numbers_are_upstreams_and_cancelled():
    assert {state.name: state.value for state in States} == {**UPSTREAM, "cancelled": 12}


def test_they_agree_with_plaits():
    assert all(States[state.name] == state for state in TaskState)
    assert FINAL_STATES == PLAIT_FINAL
    assert {States.failed, States.dep_fail} == FINAL_FAILURE_STATES
