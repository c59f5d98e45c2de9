from __future__ import annotations

import re

import pytest

from plait.providers.answers import answered, chunks, json_of, list_of, quoted, same, seconds_of, table_of, whole
from plait.providers.shell import CommandFailed, Finished
from tests.unit.providers.scripted import job

GONE = re.compile("unknown")


def finished(out, err, code):
    return Finished(("x",), code, out, err)


@pytest.mark.parametrize("err", ["", "a warning\n", "unknown job 3\n\nunknown job 4\n"])
def test_a_command_that_succeeded_is_an_answer(err):
    assert answered(finished("it", err, 0), GONE) == "it"


def test_complaints_about_unknown_jobs_are_an_answer():
    assert answered(finished("it", "unknown job 3\n\nunknown job 4\n", 153), GONE) == "it"


@pytest.mark.parametrize("err", ["", "\n", "unknown job 3\ncannot connect\n", "cannot connect\n"])
def test_any_other_complaint_is_a_failure(err):
    with pytest.raises(CommandFailed, match="exit code 153"):
        answered(finished("it", err, 153), GONE)


@pytest.mark.parametrize(
    ("out", "err", "is_answer"),
    [
        ("job 12 runs", "hello\nunknown job 3.host\n", True),
        ("", "unknown job 12\nhello\nunknown job 3\n", True),
        ("", "hello\nunknown job 3\n", False),  # nothing about 12
        ("job 112 runs", "hello\nunknown job 3\n", False),
        ("job 12 runs, and 3", "cannot connect\n", False),  # no complaint that says why it failed
        ("", "cannot tell of 12\nunknown job 3\n", False),
    ],
)
def test_other_lines_do_not_count_where_each_job_has_its_answer(out, err, is_answer):
    told, asked = finished(out, err, 153), [job("12.host"), job("3.host")]
    if is_answer:
        assert answered(told, GONE, asked) == out
        return
    with pytest.raises(CommandFailed):
        answered(told, GONE, asked)


def test_json_may_have_control_characters_but_not_half_of_itself():
    assert json_of('{"a": "tab\there"}', "x") == {"a": "tab\there"}
    with pytest.raises(ValueError, match="qstat: expected JSON, not '{\"a\": 1'"):
        json_of('{"a": 1', "qstat")
    with pytest.raises(ValueError, match="…'"):
        json_of("<" * 1000, "qstat")


@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_what_is_no_object_is_refused(value):
    with pytest.raises(ValueError, match="x: expected an object"):
        table_of(value, "x")


@pytest.mark.parametrize("value", [None, {}, "text", 3, [3]])
def test_what_is_no_list_of_objects_is_refused(value):
    with pytest.raises(ValueError, match="x: expected"):
        list_of(value, "x")


@pytest.mark.parametrize(
    ("value", "number"), [("12", 12), (12, 12), (None, None), ("", None), ("a", None), ([], None), (-3, -3)]
)
def test_numbers(value, number):
    assert whole(value) == number


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:10:00", 600), ("100:00:01", 360001), ("10:00", 600), ("59", 59), ("", 0), (None, 0), ("1:x:2", 0), ("1:2:3:4", 0), ("-1", 0)],
)  # fmt: skip
def test_times(text, seconds):
    assert seconds_of(text) == seconds


def test_names_tell_jobs_apart():
    assert same(job("1", "a"), "a")
    assert not same(job("1", "a"), "b")
    assert not same(job("1", "a"), None)
    assert same(job("1", ""), "b")  # a job that was found by its number alone


def test_pieces():
    assert [len(piece) for piece in chunks([job(str(n)) for n in range(5)], 2)] == [2, 2, 1]
    assert list(chunks([], 2)) == []


def test_words_of_directives():
    assert quoted("/a/b-c_d.out") == "/a/b-c_d.out"
    assert quoted("/a b/c.out") == "'/a b/c.out'"
