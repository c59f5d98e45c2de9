from __future__ import annotations

import re

from plait.model import events as ev
from plait.model.task import EXEC_DONE, FAILED
from plait.monitoring.runs import Run
from plait.monitoring.timeline import COLOURS, ROWS, Span, lanes, spans_of, throughput, timeline


def test_spans_are_of_tasks_that_ran():
    run = Run("x")
    run.take(
        [
            ev.RunStarted(100.0, 0.0, "id", 1, "", "", "elsewhere", 1, "", []),
            *[ev.TaskSubmitted(101.0, n, app) for n, app in enumerate(["f", "f", "g", "j", "f"])],
            ev.AttemptStarted(102.0, 0, 1, "p", 0),
            ev.TaskEnded(104.0, 0, EXEC_DONE, 1, 102.5, 103.5, 0),
            ev.AttemptStarted(104.0, 1, 1, "p", 1),
            ev.TaskEnded(106.0, 1, FAILED, 1, 0.0, 0.0, 1, "AppTimeout: x"),  # ended by force: nobody could measure it
            ev.AttemptStarted(104.0, 3, 1, "_internal", -1),
            ev.TaskEnded(106.0, 3, EXEC_DONE, 1, 104.0, 106.0, -1),
            ev.AttemptStarted(107.0, 4, 1, "p", 0),
        ]
    )
    spans = spans_of(run, {"f": 0})
    assert spans == [
        Span("p", 0, 2.5, 3.5, 0, failed=False),
        Span("p", 1, 4.0, 6.0, 0, failed=True),
        Span("p", 0, 7.0, 7.0, 0, failed=False),
    ]


def test_threads_share_as_few_rows_as_they_need():
    spans = [Span("t", -1, start, start + 1.5, 0, failed=False) for start in (0, 1, 2, 3)]
    rows = lanes(spans)
    assert [name for name, _ in rows] == ["0", "1"]
    assert sorted(len(row) for _, row in rows) == [2, 2]


def test_executors_are_named_when_there_are_several():
    rows = lanes([Span("a", 0, 0, 1, 0, failed=False), Span("b", 0, 0, 1, 0, failed=False)])
    assert [name for name, _ in rows] == ["a 0", "b 0"]


def test_neighbours_of_one_look_are_one_rectangle():
    spans = [Span("p", 0, n * 0.01, n * 0.01 + 0.01, 0, failed=False) for n in range(1000)]
    assert len(re.findall("M", timeline([("0", spans)], 10.0))) == 1


def test_a_failure_is_seen_however_short():
    spans = [Span("p", 0, 0, 100, 0, failed=False), Span("p", 0, 50, 50.000001, 0, failed=True)]
    assert '<path class="bad"' in timeline([("0", spans)], 100.0)


def test_the_size_is_bounded():
    rows = [
        (str(w), [Span("p", w, n, n + 0.9, (n + w) % COLOURS, failed=False) for n in range(1500)])
        for w in range(ROWS + 40)
    ]
    text = timeline(rows, 1500.0)
    assert len(text) < 600_000
    assert "40 more workers are not drawn" in text


def test_names_are_escaped():
    assert "<script>" not in timeline([("<script>", [Span("p", 0, 0, 1, 0, failed=False)])], 1.0)


def test_nothing_ran():
    assert timeline([], 1.0) == "<p>No task ran on a worker.</p>"
    assert throughput([], 1.0) == ""


def test_throughput():
    text = throughput([0.5] * 60 + [9.5], 10.0)
    assert ">720/s<" in text  # 60 in the twelfth of a second
    assert text.count("M") == 2


def test_axis_of_any_length():
    for length_s in (0.001, 0.02, 1.0, 59.0, 3600.0, 1e6):
        assert 2 <= throughput([0.0], length_s).count("<text") <= 12
