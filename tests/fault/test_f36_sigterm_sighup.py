"""F36: SIGTERM (a batch system ends the driver) and SIGHUP (its connection is lost) are an orderly end."""

from __future__ import annotations

import signal

import pytest

from tests.fault.lab import all_gone, driver, numbers
from tests.leaks import descendants
from tests.support import require_linux, wait_until

BODY = """
import atexit
with load(initialize_logging=True, run_dir="runs"):
    future = family(sys.argv[1])
    try:
        future.result()
    finally:
        print("finally", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_orderly_end(number, tmp_path):
    require_linux("child subreaper")
    before = descendants()
    with driver(BODY, str(tmp_path / "notes")) as program:
        wait_until(lambda: len(numbers(tmp_path / "notes", "child")) == 4, 20, program.text)
        program.signal(number)
        assert program.wait(5) == 128 + number
        all_gone(before, 1.0)
    assert "finally" in program.text()
    (log,) = (tmp_path / "runs").glob("*/plait.log")
    assert "ended: " in log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_a_program_with_its_own_handler_keeps_it(number, tmp_path):
    body = f"""
    signal.signal({int(number)}, lambda *_: print("mine", flush=True))
    with load():
        print("up", echo(1).result(), flush=True)
        while "mine" not in open(sys.argv[1]).read(): time.sleep(0.01)
        print("result", echo(2).result(), flush=True)
    """
    with driver(body, str(tmp_path / "driver0.out")) as program:
        program.says("up 1")
        program.signal(number)
        program.says("result 2")
        assert program.wait() == 0


def test_without_with_and_in_a_thread(tmp_path):
    """The run was loaded by another thread, where handlers cannot be set: the system ends the driver, and nothing stays."""
    require_linux("child subreaper")
    before = descendants()
    body = """
    def work():
        load()
        family(sys.argv[1])
    threading.Thread(target=work).start()
    signal.pause()
    """
    with driver(body, str(tmp_path / "notes")) as program:
        wait_until(lambda: len(numbers(tmp_path / "notes", "child")) == 4, 20, program.text)
        program.signal(signal.SIGTERM)
        program.wait(5)
        all_gone(before, 2.0)
