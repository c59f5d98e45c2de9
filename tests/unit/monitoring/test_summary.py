from __future__ import annotations

from plait.model.task import TaskState
from plait.monitoring.summary import closing_sentence
from plait.monitoring.usage import Usage

S = TaskState


def test_all_well():
    assert closing_sentence({S.exec_done: 10, S.memo_done: 2}, {}) == "12 done"


def test_the_sentence_of_the_promise():
    text = closing_sentence({S.exec_done: 812, S.failed: 3}, {("ZeroDivisionError", "normalise"): (3, 17)})
    assert text == "812 done, 3 failed: 3× ZeroDivisionError in normalise(), see `plait explain 17`"


def test_skipped_and_cancelled_are_named_and_their_errors_are_not():
    counts = {S.exec_done: 1, S.failed: 1, S.dep_fail: 4, S.cancelled: 2}
    failures = {("DependencyError", "f"): (4, 2), ("ValueError", "g"): (1, 1)}
    assert closing_sentence(counts, failures) == (
        "1 done, 1 failed, 4 not run because of a failed dependency, 2 cancelled: 1× ValueError in g(), see `plait explain 1`"
    )


def test_three_groups_are_named_largest_first():
    failures = {(f"E{n}", "f"): (n, n) for n in range(1, 6)}
    text = closing_sentence({S.failed: 15}, failures)
    assert "5× E5 in f(), 4× E4 in f(), 3× E3 in f() and 2 more kinds, see `plait explain 5`" in text
    text = closing_sentence({S.failed: 10}, {key: n for key, n in failures.items() if n[0] > 1})
    assert "3× E3 in f() and 1 more kind, see" in text


def test_what_blocks_cost_is_said_at_the_end():
    text = closing_sentence({S.exec_done: 5}, {}, [Usage("htex", 1800.0, 3600.0), Usage("gpu", 1.0, 4.0)])
    assert (
        text
        == "5 done; 50% of 1.0 core-hours in blocks of 'htex' were useful; 25% of 4 core-seconds in blocks of 'gpu' were useful"
    )
