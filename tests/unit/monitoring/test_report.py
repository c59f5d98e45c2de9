from __future__ import annotations

import os
from html.parser import HTMLParser

import pytest

from plait.model import events as ev
from plait.model.task import CANCELLED, DEP_FAIL, EXEC_DONE, FAILED
from plait.monitoring.journal import Journal
from plait.monitoring.report import configuration_of, render, write_report
from plait.monitoring.runs import Run, read_run

EVIL = "<script>alert(1)</script>"
VOID = {"meta", "br", "line", "rect", "path"}


class Page(HTMLParser):
    """Checks that tags are balanced, and collects what would load or run something."""

    def __init__(self, text):
        super().__init__()
        self.open, self.suspicious, self.words = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        if tag in {"script", "link", "img", "iframe", "object"} or any(
            name in {"src", "href"} or name.startswith("on") for name, _ in attributes
        ):
            self.suspicious.append((tag, attributes))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def events(tasks=20, workers=2, name="fit.py", ended=True):
    found = [
        ev.RunStarted(100.0, 1.7e9, "an-id", 1, "0.1.0", "3.11.7", "elsewhere", 7, name, ["p"]),
        *[ev.WorkerStarted(100.1, "p", w, 50 + w) for w in range(workers)],
    ]
    for n in range(tasks):
        start = 101.0 + n * 0.1
        found += [
            ev.TaskSubmitted(100.5, n, ("square", EVIL)[n % 2]),
            ev.AttemptStarted(start, n, 1, "p", n % workers),
        ]
        if n == 3:
            found.append(
                ev.TaskEnded(
                    start + 0.05,
                    n,
                    FAILED,
                    1,
                    start,
                    start + 0.05,
                    1,
                    f"ValueError: {EVIL}",
                    f"failed {EVIL}",
                    f"Traceback {EVIL}",
                )
            )
        elif n == 5:
            found.append(ev.TaskEnded(start, n, DEP_FAIL, 0, 0.0, 0.0, -1, "DependencyError: d", "did not run"))
        elif n == 6:
            found.append(ev.TaskEnded(start, n, CANCELLED, 0, 0.0, 0.0, -1))
        else:
            found.append(ev.TaskEnded(start + 0.05, n, EXEC_DONE, 1, start, start + 0.05, n % workers))
    if ended:
        found.append(ev.RunEnded(110.0, 1.7e9 + 10, f"17 done, 1 failed: {EVIL}"))
    return found


def page_of(*all_events):
    run = Run("runinfo/003")
    run.take(all_events)
    return render(run)


def test_the_page_is_whole_and_loads_and_runs_nothing():
    text = page_of(*events())
    page = Page(text)
    assert page.suspicious == []
    assert EVIL not in text
    words = " ".join(page.words)
    for expected in ("run 003 of fit.py", "17 done, 1 failed", "square", "ValueError", "3.11.7", "elsewhere", "p95"):
        assert expected in words
    assert "default-src 'none'" in text
    assert "prefers-color-scheme:dark" in text


@pytest.mark.parametrize("some", [[], events(0), events(1), events(ended=False), events()[3:], events(name=EVIL)])
def test_any_run_gives_a_page(some):
    assert Page(page_of(*some)).suspicious == []


def test_unfinished_tasks_are_explained():
    text = page_of(
        *events(ended=False), ev.TaskSubmitted(105.0, 99, "late", [98]), ev.TaskSubmitted(105.0, 98, "early")
    )
    assert "1 task waits for task 98 (early)" in text


def test_more_apps_than_colours():
    many = [ev.TaskSubmitted(101.0, n, f"app{n}") for n in range(30)]
    text = page_of(events(0)[0], *many)
    Page(text)
    assert "22 other apps" in text


def test_a_big_run_stays_small(tmp_path):
    text = page_of(*events(30_000, workers=64))
    assert len(text) < 600_000


def test_writing(tmp_path):
    folder = tmp_path / "000"
    folder.mkdir()
    log = Journal(str(folder))
    log.write(events())
    log.close()
    target = tmp_path / "r.html"
    write_report(str(folder), str(target))
    assert target.read_text(encoding="utf-8") == render(read_run(str(folder)))
    with pytest.raises(OSError, match="No such file"):
        write_report(str(folder), str(tmp_path / "nowhere" / "r.html"))
    assert sorted(os.listdir(tmp_path)) == ["000", "r.html"]


@pytest.mark.parametrize(
    ("log", "config"),
    [
        ("12:00 INFO run x in y: plait, Config(executors=())\n12:01 next\n", "Config(executors=())"),
        (
            "INFO run: Config(\n    retries=2,\n    x=f(1)\n)\n12:01 next (a)\n",
            "Config(\n    retries=2,\n    x=f(1)\n)",
        ),
        ("nothing", ""),
        ("Config(\n torn", ""),
    ],
)
def test_the_configuration_is_that_of_the_log(tmp_path, log, config):
    (tmp_path / "plait.log").write_text(log)
    assert configuration_of(str(tmp_path)) == config
    assert configuration_of(str(tmp_path / "none")) == ""
