"""F07: workers cannot start: the executor gives up soon and says why; nobody waits for ever."""

from __future__ import annotations

import os
import time

import plait
from plait.testing import tasks
from tests.fault.lab import in_processes, run


def failure(**options) -> str:
    begin_s = time.monotonic()
    with in_processes(options=options):
        futures = [plait.python_app(tasks.echo)(number) for number in range(10)]
        errors = [future.exception(20) for future in futures]
        later = plait.python_app(tasks.echo)(1).exception(20)
        plain = futures[0].explain()
    assert {type(error) for error in [*errors, later]} == {plait.errors.ExecutorError}
    assert "ExecutorError" in plain
    assert time.monotonic() - begin_s < 10
    return str(errors[0])


def test_a_module_that_is_not_there():
    assert "no_such_module_anywhere" in failure(preload=["no_such_module_anywhere"])


def test_an_initializer_that_exits():
    assert "could not start" in failure(initializer=tasks.crash, initargs=("os._exit",))


def test_an_environment_in_which_python_does_not_start():
    assert "could not start" in failure(env={"PYTHONHOME": "/nowhere"})


def test_an_interpreter_that_ends_at_once():
    code, text = run(
        """
        with load():
            print(type(echo(1).exception(20)).__name__, echo(2).exception(20))
        """,
        env={**os.environ, "PLAIT_FAULTS": "pool.zygote_start"},
    )
    assert code == 0
    assert "ExecutorError" in text
    assert "planned fault" in text


def test_one_failed_start_is_made_good(tmp_path):
    """Only failures in a row count."""
    path = str(tmp_path / "notes")

    def fails_once():
        if not tasks.notes(path):
            tasks.note(path, "failed")
            raise RuntimeError("once")

    with in_processes(workers=1, options={"initializer": fails_once}):
        assert plait.python_app(tasks.echo)(1).result(20) == 1
