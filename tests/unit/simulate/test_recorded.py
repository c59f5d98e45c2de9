from __future__ import annotations

import pytest

from plait.errors import ConfigurationError
from plait.executors.htex.messages import Ask
from plait.model import events as ev
from plait.model.task import CANCELLED, DEP_FAIL, EXEC_DONE, FAILED, MEMO_DONE
from plait.monitoring.journal import Journal
from plait.simulate.recorded import Recorded, read_record


def ended(task, state=EXEC_DONE, start_s=100.0, stop_s=102.0):
    return ev.TaskEnded(stop_s, task, int(state), 1, start_s, stop_s, 0)


EVENTS = [
    ev.TaskSubmitted(10.0, 3, "a"),
    ev.TaskSubmitted(11.0, 4, "a"),
    ev.TaskSubmitted(12.0, 5, "b", [3, 4]),
    ev.TaskSubmitted(13.0, 6, "memo", [5]),
    ev.TaskSubmitted(14.0, 7, "b", [6]),
    ev.TaskSubmitted(15.0, 8, "b"),
    ended(3),
    ended(4, FAILED, 100.0, 103.5),
    ended(5),
    ended(6, MEMO_DONE, 0.0, 0.0),
    ended(7),
    ended(8, CANCELLED),
    ev.TaskSubmitted(16.0, 9, "b", [8]),
    ended(9, DEP_FAIL),
]


def finish(source, works):
    for number, load, _ in works:
        source.ended(number, load, ok=True)


def test_tasks_durations_and_dependencies():
    record = Recorded(EVENTS, "run")
    source = record.source(0)
    assert (source.total, source.kinds, record.left_out) == (4, ["a", "b", "memo"], 2)
    assert source.waiting(0.0) == 2
    works = source.take(0, 9, 0.0)
    assert [(load.duration_s, load.kind, ask) for _, load, ask in works] == [(2.0, 0, None), (3.5, 0, None)]
    finish(source, works[:1])
    assert source.take(0, 9, 0.0) == []
    finish(source, works[1:])
    (middle,) = source.take(0, 9, 0.0)
    finish(source, [middle])
    assert len(source.take(0, 9, 0.0)) == 1  # the one behind what was remembered
    assert source.next_s(0.0) is None


def test_copies_are_apart():
    source = Recorded(EVENTS, "run", copies=3).source(0)
    assert source.total == 12
    works = source.take(0, 99, 0.0)
    assert len(works) == 6
    finish(source, [work for work in works if work[0] % 3 == 1])
    (follower,) = source.take(0, 99, 0.0)
    assert follower[0] % 3 == 1


def test_times_of_the_run():
    source = Recorded(EVENTS, "run", at_once=False).source(0)
    assert source.waiting(0.0) == 1
    assert source.next_s(0.0) == 1.0
    assert source.waiting(1.0) == 2
    finish(source, source.take(0, 9, 1.0))
    assert (source.waiting(1.5), source.next_s(1.5)) == (0, 2.0)
    finish(source, source.take(0, 9, 2.0))
    assert source.next_s(2.0) == 3.0  # the remembered one, behind which is another
    assert source.waiting(4.0) == 1


def test_what_apps_ask_for():
    source = Recorded(EVENTS, "run", {"b": Ask(gpus=1.0, priority=2.0)}).source(0)
    assert source.classes == {None: 0, Ask(gpus=1.0, priority=2.0): 1}
    finish(source, source.take(0, 9, 0.0))
    assert source.take(1, 9, 0.0)[0][2].gpus == 1.0
    with pytest.raises(ConfigurationError, match=r"no app zip; it has a, b, memo"):
        Recorded(EVENTS, "run", {"zip": None})


def test_what_needs_a_failed_task_is_skipped():
    source = Recorded(EVENTS, "run").source(0)
    one, two = source.take(0, 9, 0.0)
    source.ended(one[0], one[1], ok=False)
    assert source.skipped == 2
    source.ended(two[0], two[1], ok=True)
    assert source.take(0, 9, 0.0) == []


def test_join_apps_wait_for_what_they_joined():
    events = [
        ev.TaskSubmitted(0.0, 0, "outer"),
        ev.TaskJoining(1.0, 0, [1, -1]),
        ev.TaskSubmitted(0.5, 1, "inner"),
        ev.TaskSubmitted(0.0, 2, "last", [0]),
        ended(1),
        ended(0),
        ended(2),
    ]
    source = Recorded(events, "run").source(0)
    assert source.total == 2
    (inner,) = source.take(0, 9, 0.0)
    assert source.kinds[inner[1].kind] == "inner"
    finish(source, [inner])
    assert source.waiting(0.0) == 1


def test_what_a_join_app_submitted_comes_after_what_it_needed():
    events = [
        ev.TaskSubmitted(0.0, 0, "first"),
        ev.TaskSubmitted(0.0, 1, "outer", [0]),
        ev.TaskSubmitted(1.0, 2, "elsewhere"),
        ended(0),
        ev.TaskSubmitted(102.5, 3, "middle"),
        ev.TaskJoining(102.5, 1, [2, 3]),
        ev.TaskSubmitted(102.6, 4, "inner", [2]),
        ev.TaskJoining(102.6, 3, [4]),
        ended(2, start_s=100.0, stop_s=102.55),
        *(ended(task, start_s=103.0, stop_s=104.0) for task in (4, 3, 1)),
    ]
    source = Recorded(events, "run", copies=2).source(0)
    assert source.total == 6
    names = []
    while works := source.take(0, 9, 0.0):
        names.append(sorted({source.kinds[load.kind] for _, load, _ in works}))
        finish(source, works)
    assert names == [["elsewhere", "first"], ["inner"]]
    source = Recorded(events, "run").source(0)
    first, _ = source.take(0, 9, 0.0)
    source.ended(first[0], first[1], ok=False)
    assert source.skipped == 1, "only what ran is counted"


def test_from_disk(tmp_path):
    folder = tmp_path / "004"
    folder.mkdir()
    journal = Journal(str(folder))
    journal.write(EVENTS)
    journal.close()
    for path in (folder, folder / "journal.plj"):
        record = read_record(str(path), copies=2)
        assert (record.name, record.source(0).total) == (path.name, 8)


def test_an_empty_journal():
    with pytest.raises(ConfigurationError, match="no task that ran"):
        Recorded([], "run")
