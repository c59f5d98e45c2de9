from __future__ import annotations

import pytest

from plait.model import task as model
from plait.model.resources import Resources
from plait.model.task import FINAL_FAILURE_STATES, FINAL_STATES, PENDING, TRANSITIONS, AppSpec, Task, TaskState


def test_numbers_and_names_are_those_users_know():
    assert {state.name: state.value for state in TaskState} == {
        "pending": 0, "exec_done": 3, "failed": 4, "dep_fail": 5, "launched": 7, "memo_done": 9, "joining": 10, "cancelled": 12,
    }  # fmt: skip


def test_plain_numbers_are_those_of_the_states():
    for state in TaskState:
        assert getattr(model, state.name.upper()) == state


def test_transitions_cover_every_state_and_end_in_final_ones():
    assert set(TRANSITIONS) == set(TaskState)
    assert all(following <= set(TaskState) for following in TRANSITIONS.values())
    assert {state for state, following in TRANSITIONS.items() if not following} == FINAL_STATES
    assert FINAL_FAILURE_STATES < FINAL_STATES
    reached, todo = set(), [PENDING]
    while todo:
        state = todo.pop()
        if state not in reached:
            reached.add(state)
            todo += TRANSITIONS[state]
    assert reached == set(TaskState)


def test_a_new_task():
    task = Task(AppSpec(print, "f"), (1,), {"x": 2}, None, 1.5)
    assert (task.state, task.attempt, task.waiting, task.fail_cost, task.submit_s) == (PENDING, 0, 0, 0, 1.5)
    assert task.details is None
    task.id = 3
    assert str(task) == "task 3 (f)"
    assert repr(task) == "<Task 3 f pending attempt 0>"


def test_details_are_made_once():
    task = Task(AppSpec(print, "f"), (), {}, None, 0.0)
    details = task.more()
    assert task.more() is details is task.details
    assert Task(AppSpec(print, "f"), (), {}, None, 0.0).more().history is not details.history


def test_every_slot_of_the_details_has_a_value():
    details = Task(AppSpec(print, "f"), (), {}, None, 0.0).more()
    assert [name for name in details.__slots__ if not hasattr(details, name)] == []


def test_every_slot_of_a_task_and_an_app_has_a_value():
    task = Task(AppSpec(print, "f"), (), {}, None, 0.0)
    for record in (task, task.app):
        assert [name for name in record.__slots__ if not hasattr(record, name)] == []


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "bash"}, {"kind": "join"}, {"cache": True}, {"executors": ["a"]}, {"resources": Resources(cores=2)}, {"walltime_s": 1.0}, {"walltime_s": 0.0},
        {"reserved_defaults": {"outputs": []}},
    ],
)  # fmt: skip
def test_only_plain_python_apps_are_simple(options):
    assert AppSpec(print, "f").is_simple
    assert not AppSpec(print, "f", **options).is_simple


def test_lists_given_to_an_app_are_copied():
    labels, names = ["a"], ["x"]
    app = AppSpec(print, "f", executors=labels, ignore_for_cache=names)
    labels.append("b")
    names.append("y")
    assert app.executors == ("a",)
    assert app.ignore_for_cache == ("x",)
    assert AppSpec(print, "f").executors is None
