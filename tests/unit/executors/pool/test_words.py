"""What workers wrote before they ended."""

import os

import plait
from plait.errors import ExecutorError
from plait.executors.pool.words import last_line, last_words
from tests.support import SRC


def test_of_workers_that_said_nothing_there_are_none(tmp_path):
    assert last_words(str(tmp_path)) == ""
    assert last_line(str(tmp_path)) == last_line("") == ("", "")
    (tmp_path / "worker_0.log").touch()
    assert last_words(str(tmp_path)) == ""
    assert last_line(str(tmp_path)) == ("", "")


def test_those_of_the_last_one(tmp_path):
    for number, text in enumerate(["old\n", "one\n  two\n"]):
        path = tmp_path / f"worker_{number}.log"
        path.write_text(text)
        os.utime(path, (number, number))
    assert last_words(str(tmp_path)) == f"the end of {path}:\none\n  two\n"
    assert last_line(str(tmp_path)) == ("  two", str(path))


def test_a_pool_that_cannot_start_workers_says_what_they_wrote(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{SRC.parent}{os.pathsep}{tmp_path}")
    (tmp_path / "page_breaker.py").write_text(
        "import plait.executors.pool.hygiene as h\nh._open_children = lambda: 1 / 0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    executor = plait.ProcessPoolExecutor(max_workers=1, preload=["page_breaker"])
    with plait.load(plait.Config([executor], run_dir=str(tmp_path / "runs"))):
        error = plait.python_app(len)([]).exception(timeout=30)
    assert isinstance(error, ExecutorError)
    assert "it wrote: ZeroDivisionError: division by zero (" in str(error)
    assert "worker_2.log" in str(error)


def test_what_is_said_already_is_not_said_twice(tmp_path):
    executor = plait.ProcessPoolExecutor(max_workers=1, initializer=int, initargs=("x",))
    with plait.load(plait.Config([executor], run_dir=str(tmp_path / "runs"))):
        error = plait.python_app(len)([]).exception(timeout=30)
    assert str(error).count("ValueError") == 1
