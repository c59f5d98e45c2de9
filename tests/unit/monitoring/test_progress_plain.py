from __future__ import annotations

import io

import pytest

from plait.monitoring.progress import Progress, Row
from plait.monitoring.progress_plain import PlainProgress, left_text, line_of, rate_text


def look(elapsed_s, done=0, waiting=10, failed=0):
    row = Row("f", waiting, 2, done, failed, 0, 4.0 if done else None)
    return Progress(elapsed_s, row, (row,))


def test_a_line():
    assert (
        line_of(look(12.34, done=88, failed=1))
        == "plait 12.3 s: 88 of 101 done, 1 failed, 2 running, 10 waiting; 4.0/s, about 3 s left; now: f()"
    )


def test_only_when_something_changed_and_not_too_often():
    out = io.StringIO()
    plain = PlainProgress(out)
    for tenth in range(1200):
        plain.show(look(tenth / 10, done=min(300, tenth)))
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("plait 2.0 s: ")
    assert 6 <= len(lines) <= 8


def test_long_runs_are_quieter():
    out = io.StringIO()
    plain = PlainProgress(out)
    for second in range(3600):
        plain.show(look(float(second), done=second))
    assert len(out.getvalue().splitlines()) < 120


def test_nothing_before_the_first_task_and_nothing_to_say_at_the_end():
    out = io.StringIO()
    plain = PlainProgress(out)
    empty = Row("all", 0, 0, 0, 0, 0, None)
    plain.show(Progress(100.0, empty, ()))
    plain.hide()
    plain.finish("")
    assert out.getvalue() == ""
    plain.finish("3 done")
    assert out.getvalue() == "3 done\n"


@pytest.mark.parametrize(("rate", "text"), [(12345.0, "12,345/s"), (3.46, "3.5/s"), (0.05, "3.0/min")])
def test_rates(rate, text):
    assert rate_text(rate) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.01, "1 s"), (8.6, "9 s"), (125, "2m05s")])
def test_what_is_left(seconds, text):
    assert left_text(seconds) == text
