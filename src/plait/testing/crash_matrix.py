"""The crash matrix: every way in which user code can end × every moment at which it runs.

Each row asserts the same: that one task ends, with the named error; all others succeed, none of them is run twice, and the executor goes on.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

import plait
from plait.errors import DeserializationError, SerializationError, TaskExited, WorkerLost
from plait.testing import tasks
from plait.testing.executor_contract import WAIT_S, ContractBase

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Ways to end, and whether they end the process that they happen in.
ENDS = {"error": False, "sys.exit": False, "libc exit": True, "segfault": True, "os._exit": True}
#: Moments that come in a worker, with the task for it.
IN_WORKER: dict[str, Callable[[str], tuple[Any, ...]]] = {
    "unpickling the argument": lambda how: (tasks.echo, tasks.CrashesWhenUnpickled(how)),
    "running": lambda how: (tasks.crash, how),
    "pickling the result": lambda how: (tasks.make, "CrashesWhenPickled", how),
}
#: Moments that come in the driver, where only what can be caught is survived.
IN_DRIVER: dict[str, Callable[[str], tuple[Any, ...]]] = {
    "pickling the argument": lambda how: (tasks.echo, tasks.CrashesWhenPickled(how)),
    "unpickling the result": lambda how: (tasks.make, "CrashesWhenUnpickled", how),
}
#: (when, how, error) of rows for all executors, and for those whose tasks run in processes of their own.
ROWS = [("running", "error", tasks.CrashError), ("running", "sys.exit", TaskExited)]
ROWS_OF_PROCESSES = [
    *((when, how, WorkerLost) for when in IN_WORKER for how, ends in ENDS.items() if ends),
    *((when, how, error) for when, error in (
        ("unpickling the argument", DeserializationError), ("pickling the result", SerializationError),
        ("pickling the argument", SerializationError), ("unpickling the result", DeserializationError),
    ) for how, ends in ENDS.items() if not ends),
]  # fmt: skip


class CrashMatrix(ContractBase):
    """To be inherited by a test class; its `make_executor` says of which executor."""

    #: What to give to `make_executor` so that one worker gets all tasks at once: then some are done, but not told yet, when the worker ends.
    one_batch: ClassVar[dict[str, Any]] = {}

    @pytest.mark.parametrize(("when", "how", "expected"), ROWS)
    def test_crash(self, when: str, how: str, expected: type[Exception], tmp_path: Path) -> None:
        """Only that task ends, with the named error."""
        self.check(when, how, expected, str(tmp_path / "notes"))

    def check(self, when: str, how: str, expected: type[Exception], path: str) -> None:
        """One row."""
        function, *arguments = {**IN_WORKER, **IN_DRIVER}[when](how)
        note, crash = plait.python_app(tasks.note), plait.python_app(function)
        with self.load(config={"max_losses": 0}, **self.one_batch):
            assert note(path, "first").result(WAIT_S) == "first"
            names = [f"task {number}" for number in range(60)]
            before = [note(path, name) for name in names[:30]]
            victim = crash(*arguments)
            beside = [note(path, name) for name in names[30:]]
            error = victim.exception(WAIT_S)
            results = [future.result(WAIT_S) for future in [*before, *beside]]
            after = note(path, "last").result(WAIT_S)

        assert type(error) is expected, error
        assert results == names
        assert after == "last"
        assert collections.Counter(tasks.notes(path)) == collections.Counter(["first", *names, "last"])

    @pytest.mark.parametrize("how", ["error", "sys.exit"])
    def test_crash_in_a_callback(self, how: str, caplog: pytest.LogCaptureFixture) -> None:
        """The other callbacks run, the other futures end, and the log tells."""
        seen: list[Any] = []
        echo = plait.python_app(tasks.echo)
        with self.load():
            future = echo(1)
            future.add_done_callback(lambda _: tasks.crash(how))
            future.add_done_callback(lambda done: seen.append(done.result()))
            assert future.result(WAIT_S) == 1
            others = [echo(number) for number in range(20)]
            assert [other.result(WAIT_S) for other in others] == list(range(20))
            done = echo(2)
            done.result(WAIT_S)
            done.add_done_callback(lambda _: tasks.crash(how))  # runs in this thread
            assert echo(3).result(WAIT_S) == 3

        assert seen == [1]
        assert sum("callback" in record.getMessage() for record in caplog.records) == 2


class CrashMatrixOfProcesses(CrashMatrix):
    """The whole matrix, for executors whose tasks run in processes of their own."""

    one_batch: ClassVar[dict[str, Any]] = {"prefetch": 63}

    @pytest.mark.parametrize(("when", "how", "expected"), ROWS_OF_PROCESSES)
    def test_crash_around_the_call(self, when: str, how: str, expected: type[Exception], tmp_path: Path) -> None:
        """Only that task ends, with the named error; its worker is replaced if it had to end."""
        self.check(when, how, expected, str(tmp_path / "notes"))

    @pytest.mark.parametrize("how", [how for how, ends in ENDS.items() if ends])
    def test_a_task_that_ends_each_worker(self, how: str, tmp_path: Path) -> None:
        """It is given up after the last of its losses, each named; those beside it are run once each."""
        path = str(tmp_path / "notes")
        note, crash = plait.python_app(tasks.note), plait.python_app(tasks.crash)
        with self.load(config={"max_losses": 2}, **self.one_batch):
            victim = crash(how)
            beside = [note(path, str(number)) for number in range(100)]
            error = victim.exception(WAIT_S)
            assert [future.result(WAIT_S) for future in beside] == [str(number) for number in range(100)]

        assert isinstance(error, plait.errors.PoisonTask), error
        assert len(error.places) == 3
        assert collections.Counter(tasks.notes(path)) == collections.Counter(str(number) for number in range(100))
