"""The task as a mapping, for plug-ins."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from plait.dataflow.record import TaskRecord
from plait.futures import AppFuture
from plait.model.task import AppSpec, Task, TaskState


class Owner:
    def wall_time(self, monotonic_s):
        return None if monotonic_s is None else f"at {monotonic_s}"


@pytest.fixture
def task():
    task = Task(AppSpec(print, "f", cache=True, ignore_for_cache=["y"]), (1,), {"x": 2}, Owner(), 5.0)
    task.future = AppFuture(task)
    task.id = 17
    return task


def test_it_has_the_keys_that_plug_ins_know(task):
    record = TaskRecord(task)
    assert isinstance(record, Mapping)
    assert dict(record) == {key: record[key] for key in record}
    assert len(record) == len(list(record)) >= 25
    expected = {
        "id": 17, "func": print, "func_name": "f", "args": [1], "kwargs": {"x": 2}, "status": TaskState.pending, "app_fu": task.future,
        "memoize": True, "ignore_for_cache": ["y"], "hashsum": None, "try_id": 0, "fail_count": 0, "fail_cost": 0, "fail_history": [],
        "depends": [], "executor": None, "join": False, "from_memo": False, "resource_specification": {}, "time_invoked": "at 5.0",
        "time_returned": None, "try_time_launched": None,
    }  # fmt: skip
    assert {key: record[key] for key in expected} == expected


def test_it_reads_the_task_at_the_moment_of_asking(task):
    record = TaskRecord(task)
    task.attempt, task.state, task.launch_s, task.end_s = 3, TaskState.failed, 6.0, 7.0
    task.more().history += ["attempt 1: no"]
    task.more().losses += ["attempt 2 was lost"]
    assert (record["try_id"], record["status"], record["fail_count"]) == (2, TaskState.failed, 3)
    assert (record["try_time_launched"], record["time_returned"]) == ("at 6.0", "at 7.0")
    task.args = task.kwargs = None
    assert (record["args"], record["kwargs"]) == ([], {})


def test_the_failure_that_a_handler_is_asked_about_is_in_it(task):
    record = TaskRecord(task)
    task.attempt, task.state = 2, TaskState.launched
    task.more().history += ["attempt 1: ValueError: no"]
    assert (record["fail_count"], record["fail_history"]) == (1, ["attempt 1: ValueError: no"])
    task.more().error = KeyError("k")
    both = ["attempt 1: ValueError: no", "attempt 2: KeyError: 'k'"]
    assert (record["fail_count"], record["fail_history"]) == (2, both)
    task.state = TaskState.failed
    assert (record["fail_count"], record["fail_history"]) == (2, both)


def test_only_the_key_of_memoization_can_be_set(task):
    record = TaskRecord(task)
    record["hashsum"] = "abc"
    assert record["hashsum"] == "abc"
    with pytest.raises(TypeError, match="only 'hashsum' can be set, not 'status'"):
        record["status"] = 1
    with pytest.raises(KeyError):
        record["colour"]


def test_what_it_gives_away_can_be_changed_without_harm(task):
    record = TaskRecord(task)
    record["args"].append(9)
    record["kwargs"]["z"] = 9
    assert (task.args, task.kwargs) == ((1,), {"x": 2})
    assert repr(record) == "<TaskRecord of task 17 (f)>"
