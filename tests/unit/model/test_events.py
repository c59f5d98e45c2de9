"""A record and the tuple that stands for it are the same bytes."""

from __future__ import annotations

import typing

import msgspec
import pytest

from plait.model import events
from plait.model.events import AnyEvent, Event

EXAMPLES = [
    (events.RunStarted(1.5, 2.5, "run", 1, "0.1", "3.11", "host", 42, "demo", ["processes"], "pid:[1]"), (events.RUN_STARTED, 1.5, 2.5, "run", 1, "0.1", "3.11", "host", 42, "demo", ["processes"], "pid:[1]")),
    (events.TaskSubmitted(1.5, 7, "align", [1, 2], "2 cores"), (events.TASK_SUBMITTED, 1.5, 7, "align", [1, 2], "2 cores")),
    (events.AttemptStarted(1.5, 7, 1, "htex", -1, "m1", 2.0), (events.ATTEMPT_STARTED, 1.5, 7, 1, "htex", -1, "m1", 2.0)),
    (events.TaskEnded(1.5, 7, 3, 1, 1.0, 1.25, 3, "E: x", "because", "Traceback"), (events.TASK_ENDED, 1.5, 7, 3, 1, 1.0, 1.25, 3, "E: x", "because", "Traceback")),
    (events.AttemptFailed(1.5, 7, 1, True, "SIGKILL", 0.5), (events.ATTEMPT_FAILED, 1.5, 7, 1, True, "SIGKILL", 0.5)),
    (events.WorkerStarted(1.5, "processes", 3, 42), (events.WORKER_STARTED, 1.5, "processes", 3, 42)),
    (events.WorkerEnded(1.5, "processes", 3, "told to"), (events.WORKER_ENDED, 1.5, "processes", 3, "told to")),
    (events.RunEnded(1.5, 2.5, "all done"), (events.RUN_ENDED, 1.5, 2.5, "all done")),
    (events.TaskJoining(1.5, 7, [8, -1]), (events.TASK_JOINING, 1.5, 7, [8, -1])),
    (events.Note(1.5, "look"), (events.NOTE, 1.5, "look")),
    (events.TasksSubmitted("align", [7, 8], [1.5, 1.75]), (events.TASKS_SUBMITTED, "align", [7, 8], [1.5, 1.75])),
    (events.AttemptsStarted(1.5, "htex", -1, [7, 8], "m1", 2.0), (events.ATTEMPTS_STARTED, 1.5, "htex", -1, [7, 8], "m1", 2.0)),
    (events.BlockRequested(1.5, "htex", "0"), (events.BLOCK_REQUESTED, 1.5, "htex", "0")),
    (events.BlockStatus(1.5, "htex", "0", "4711", 1, "Priority"), (events.BLOCK_STATUS, 1.5, "htex", "0", "4711", 1, "Priority")),
    (events.BlockUp(1.5, "htex", "0", 0.75), (events.BLOCK_UP, 1.5, "htex", "0", 0.75)),
    (events.BlockEnded(1.5, "htex", "0", "4711", 5, "it failed", 127), (events.BLOCK_ENDED, 1.5, "htex", "0", "4711", 5, "it failed", 127)),
    (events.BlocksScaled(1.5, "htex", ["1"], ["0"], "because"), (events.BLOCKS_SCALED, 1.5, "htex", ["1"], ["0"], "because")),
    (events.ManagerStarted(1.5, "htex", "m1", "0", "node7", 42, 32, 64.0), (events.MANAGER_STARTED, 1.5, "htex", "m1", "0", "node7", 42, 32, 64.0)),
    (events.ManagerEnded(1.5, "htex", "m1", "lost", "silent for 120 s"), (events.MANAGER_ENDED, 1.5, "htex", "m1", "lost", "silent for 120 s")),
    (events.InterchangeLost(1.5, "htex", "SIGKILL"), (events.INTERCHANGE_LOST, 1.5, "htex", "SIGKILL")),
    (events.TasksDone(3, [7, 8], [1.5, 1.75], [1.75, 2.0]), (events.TASKS_DONE, 3, [7, 8], [1.5, 1.75], [1.75, 2.0])),
]  # fmt: skip
CLASSES = typing.get_args(AnyEvent)


@pytest.mark.parametrize(("event", "as_tuple"), EXAMPLES, ids=[type(event).__name__ for event, _ in EXAMPLES])
def test_a_record_is_the_tuple_that_begins_with_its_number(event, as_tuple):
    data = msgspec.msgpack.encode(event)
    assert data == msgspec.msgpack.encode(as_tuple)
    assert msgspec.msgpack.decode(data, type=AnyEvent) == event
    assert msgspec.json.decode(msgspec.json.encode(as_tuple), type=AnyEvent) == event


def test_every_kind_has_an_example_and_a_number_of_its_own():
    assert {type(event) for event, _ in EXAMPLES} == set(CLASSES) == set(Event.__subclasses__())
    numbers = [cls.__struct_config__.tag for cls in CLASSES]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("cls", CLASSES)
def test_fields_with_defaults_may_be_left_out(cls):
    """What an older version wrote can be read."""
    fields = msgspec.structs.fields(cls)
    needed = [f for f in fields if f.required]
    event = next(event for event, _ in EXAMPLES if type(event) is cls)
    short = (cls.__struct_config__.tag, *(getattr(event, f.name) for f in needed))
    found = msgspec.msgpack.decode(msgspec.msgpack.encode(short), type=AnyEvent)
    assert all(getattr(found, f.name) == getattr(event, f.name) for f in needed)


@pytest.mark.parametrize("cls", CLASSES)
def test_fields_of_newer_versions_do_not_disturb(cls):
    event, as_tuple = next(example for example in EXAMPLES if type(example[0]) is cls)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode((*as_tuple, "new")), type=AnyEvent) == event


@pytest.mark.parametrize(
    ("many", "single"),
    [
        (
            events.TasksSubmitted("f", [7, 8], [1.5, 1.75]),
            [events.TaskSubmitted(1.5, 7, "f"), events.TaskSubmitted(1.75, 8, "f")],
        ),
        (events.AttemptsStarted(1.5, "p", 3, [7]), [events.AttemptStarted(1.5, 7, 1, "p", 3)]),
        (events.TasksDone(3, [7], [1.5], [2.0]), [events.TaskEnded(2.0, 7, 3, 1, 1.5, 2.0, 3)]),
    ],
    ids=["submitted", "started", "done"],
)
def test_one_record_of_many_tasks_reads_as_single_events(many, single):
    assert many.single() == single
