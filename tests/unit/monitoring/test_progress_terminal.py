"""What stands on the screen is read from a small model of a terminal: it knows line feeds, cursor-up and erase-below, which is what is used."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys

import pytest

from plait.monitoring.progress import Progress, Row
from plait.monitoring.progress_terminal import TerminalProgress


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self):
        return True

    def screen(self):
        lines, row, column = [""], 0, 0
        for part in re.split(r"(\x1b\[\d*[A-Za-z]|\x1b\[[\d;]*m|\n)", self.getvalue()):
            if not part or (part.endswith("m") and part.startswith("\x1b")):
                continue
            if part == "\n":
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            elif part.startswith("\x1b") and part.endswith("A"):
                row -= int(part[2:-1])
            elif part == "\x1b[J":
                lines[row] = lines[row][:column]
                del lines[row + 1 :]
            else:
                lines[row] = lines[row][:column] + part + lines[row][column + len(part) :]
                column += len(part)
        return [line.rstrip() for line in lines]


def look(waiting=3, done=2, apps=("square",), failed=0):
    rows = tuple(Row(name, waiting, 1 if waiting else 0, done, failed, 0, 4.0) for name in apps)
    n = len(rows)
    return Progress(2.0, Row("all", waiting * n, n if waiting else 0, done * n, failed * n, 0, 4.0), rows)


def on_terminal(test):
    """Runs a test with both streams on a terminal and a display on it; afterwards the streams must be what they were."""

    def run(monkeypatch):
        monkeypatch.setenv("COLUMNS", "90")
        monkeypatch.setenv("LINES", "24")
        stream = Terminal()
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            display = TerminalProgress()
            try:
                test(stream, display)
            finally:
                display.hide()
            assert sys.stdout is stream
            assert sys.stderr is stream

    run.__name__ = test.__name__
    return run


@on_terminal
def test_the_table_stays_in_its_place_and_goes_without_a_trace(stream, display):
    for done in range(5):
        display.show(look(done=done))
    head, row = [line for line in stream.screen() if line]
    assert re.sub(r" +", " ", head) == "app waiting running done failed rate left"
    assert row.startswith("square")
    assert re.sub(r" +", " ", row).endswith("3 1 4 0 4.0/s 1 s")
    display.hide()
    display.finish("4 done")
    assert stream.screen() == ["4 done", ""]


@on_terminal
def test_prints_stand_above_the_table(stream, display):
    display.show(look())
    print("one\ttab [bold]no markup[/]")
    print("two", file=sys.stderr)
    lines = [line for line in stream.screen() if line]
    assert lines[:2] == ["one\ttab [bold]no markup[/]", "two"]
    assert lines[-1].startswith("square")


@on_terminal
def test_a_line_begun_is_kept_until_it_ends_or_is_flushed(stream, display):
    display.show(look())
    print("working …", end="")
    assert "working …" not in stream.getvalue()
    sys.stdout.flush()
    assert [line for line in stream.screen() if line] == ["working …"]
    display.show(look(done=3))  # waits for the end of the line
    assert [line for line in stream.screen() if line] == ["working …"]
    print(" done")
    lines = [line for line in stream.screen() if line]
    assert lines[0] == "working … done"
    assert lines[-1].startswith("square")


@on_terminal
def test_a_line_that_never_ends_is_not_lost(stream, display):
    display.show(look())
    print("half", end="")
    display.hide()
    assert stream.screen()[-1] == "half"


@on_terminal
def test_the_table_goes_while_there_is_nothing_to_do(stream, display):
    display.show(look())
    display.show(look(waiting=0, done=6))
    assert [line for line in stream.screen() if line] == []


@on_terminal
def test_several_apps_have_a_line_for_all(stream, display):
    display.show(look(apps=("f", "g")))
    assert [line.split("  ")[0] for line in stream.screen() if line] == ["app", "f", "g", "2 apps, 2.0 s"]


@on_terminal
def test_more_apps_than_lines(stream, display):
    display.show(look(apps=tuple(f"app{n}" for n in range(100))))
    assert len([line for line in stream.screen() if line]) < 22
    assert any(line.startswith("100 apps") for line in stream.screen())


@on_terminal
def test_no_line_is_wider_than_the_terminal(stream, display):
    display.show(look(apps=("a_very_long_name_" * 10,)))
    assert max(map(len, stream.screen())) < 90


@pytest.mark.parametrize(
    ("width", "shown"),
    [(72, ["waiting", "left"]), (60, ["waiting", "failed"]), (40, ["running", "done"]), (20, ["done"])],
)
def test_a_narrow_terminal_has_fewer_columns_and_no_cut_ones(monkeypatch, width, shown):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("LINES", "24")
    stream = Terminal()
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        display = TerminalProgress()
        display.show(look(waiting=12_345, done=12_345, apps=("simulate", "normalise")))
        screen = stream.screen()
        display.hide()
    assert screen[0].startswith("app")
    assert all(word in screen[0] for word in shown)
    assert any(line.startswith("norma") for line in screen)
    assert all("…" not in line.partition(" ")[2] for line in screen[:3])
    assert max(map(len, screen)) < width


def test_streams_that_are_no_terminals_are_left_alone():
    out, err = io.StringIO(), Terminal()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        display = TerminalProgress()
        assert sys.stdout is out
        print("data")
        display.hide()
    assert out.getvalue() == "data\n"
    assert "data" not in err.getvalue()


@on_terminal
def test_a_stream_that_the_program_replaced_stays_and_the_old_one_still_works(stream, display):
    mine = io.StringIO()
    with contextlib.redirect_stdout(mine):
        display.hide()
        assert sys.stdout is mine
    print("after", file=sys.stdout)  # the redirection put the display's proxy back
    assert stream.screen()[0] == "after"
    assert sys.stdout is not stream  # as the redirection wanted it
    sys.stdout = stream


def test_log_lines_go_above_the_table_too():
    stream = Terminal()
    handler = logging.StreamHandler(stream)
    logging.root.addHandler(handler)
    try:
        with contextlib.redirect_stderr(stream):
            display = TerminalProgress()
            display.show(look())
            logging.getLogger("user").warning("careful")
            assert next(line for line in stream.screen() if line) == "careful"
            display.hide()
        assert handler.stream is stream
    finally:
        logging.root.removeHandler(handler)


@on_terminal
def test_two_runs_at_once_the_first_has_the_terminal(stream, display):
    second = TerminalProgress()
    before = stream.getvalue()
    second.show(look())
    assert stream.getvalue() == before
    second.hide()
    display.show(look())
    assert stream.getvalue() != before
    second.finish("2 done")


@on_terminal
def test_a_forked_process_has_no_display(stream, display):
    display.show(look())
    print("begun", end="")
    display.leave_in_child()
    assert sys.stdout is stream
    assert "begun" not in stream.getvalue()
    assert not display.is_active


@on_terminal
def test_everything_else_of_a_stream_is_its_own(stream, display):
    assert sys.stdout.isatty()
    assert sys.stdout.getvalue() == stream.getvalue()
    sys.stdout.writelines(["a\n", "b\n"])
    assert stream.screen()[:2] == ["a", "b"]
