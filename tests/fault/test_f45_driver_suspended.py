"""F45: the driver stands still for a while (a laptop's lid, a debugger): nothing is lost, and limits of time count the tasks' time."""

from __future__ import annotations

import collections
import signal

from plait.testing import tasks
from tests.fault.lab import driver, let_pass
from tests.support import wait_until

BODY = """
path = sys.argv[1]
with load(max_losses=0):
    futures = [note(path, str(number)) for number in range(3000)]
    print("submitted", flush=True)
    assert [future.result(60) for future in futures] == [str(number) for number in range(3000)]
    limited = python_app(tasks.echo, walltime=60)
    assert limited(1).result(60) == 1
print("done", flush=True)
"""


def test_stopped_and_let_go_on(tmp_path):
    path = str(tmp_path / "notes")
    with driver(BODY, path) as program:
        wait_until(lambda: tasks.notes(path), 20, program.text)
        for _ in range(3):
            program.signal(signal.SIGSTOP)
            let_pass(0.3)
            program.signal(signal.SIGCONT)
            let_pass(0.02)
        assert program.wait(60) == 0, program.text()
    assert collections.Counter(tasks.notes(path)) == collections.Counter(map(str, range(3000)))


def test_workers_end_when_a_stopped_driver_is_killed(tmp_path):
    from tests.fault.lab import all_gone
    from tests.leaks import descendants

    before = descendants()
    with driver("with load():\n    family(sys.argv[1]).result()", str(tmp_path / "notes")) as program:
        wait_until(lambda: len(tasks.notes(str(tmp_path / "notes"))) == 5, 20, program.text)
        program.signal(signal.SIGSTOP)
        program.signal(signal.SIGKILL)
        all_gone(before, 2.0)
