"""F03: a task that ends every worker that it meets is given up; what needs it fails with its name; others go on."""

from __future__ import annotations

import collections

import plait
from plait.testing import tasks
from tests.fault.lab import in_processes


def test_given_up_and_named(tmp_path):
    path = str(tmp_path / "notes")
    note, crash, echo = plait.python_app(tasks.note), plait.python_app(tasks.crash), plait.python_app(tasks.echo)
    with in_processes(max_losses=2):
        poison = crash("segfault")
        dependant = echo(poison)
        others = [note(path, str(number)) for number in range(100)]
        assert [future.result(30) for future in others] == [str(number) for number in range(100)]
        error, follows = poison.exception(30), dependant.exception(30)

    assert type(error) is plait.errors.PoisonTask
    assert [("SIGSEGV" in place, f"attempt {number}" in place) for number, place in enumerate(error.places, 1)] == [
        (True, True)
    ] * 3
    assert type(follows) is plait.errors.DependencyError
    assert follows.__cause__ is error
    assert set(collections.Counter(tasks.notes(path)).values()) == {1}


def test_losses_do_not_spend_retries():
    with in_processes(max_losses=0, retries=3):
        error = plait.python_app(tasks.crash, max_losses=1)("os._exit").exception(30)

    assert len(error.places) == 2
