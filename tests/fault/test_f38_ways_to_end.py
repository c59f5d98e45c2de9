"""F38: scripts that end in ten ways, with tasks that run, wait and are done: each ends soon, and nothing stays."""

from __future__ import annotations

import pytest

from tests.fault.lab import all_gone, driver
from tests.leaks import descendants
from tests.support import require_linux

SETUP = """
{load}
done = echo(1)
assert done.result(20) == 1
running = [{busy} for number in range(3)]
waiting = [echo(future) for future in running]
"""
#: How each ends, and its exit code.
WAYS = {
    "the end of the script": ("", 0),
    "an exception": ("raise ValueError('mine')", 1),
    "sys.exit": ("sys.exit(7)", 7),
    "sys.exit in a callback": ("[f.cancel() for f in running]; done.add_done_callback(lambda _: sys.exit(3)); echo(2).add_done_callback(lambda _: sys.exit(3)); echo(4).result()", 0),
    "cleanup in a callback": ("[f.cancel() for f in running]; echo(2).add_done_callback(lambda _: plait.dfk().cleanup()); time.sleep(0.5)", 0),
    "an exception in a thread": ("t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()", 0),
    "daemon threads that wait for futures": ("[threading.Thread(target=f.result, daemon=True).start() for f in running]", 0),
    "daemon threads that submit": (
        ("def submit():\n    while True:\n        try: echo(1)\n        except Exception: return\n"
        "[threading.Thread(target=submit, daemon=True).start() for _ in range(2)]; time.sleep(0.1)"), 0),
    "os._exit": ("os._exit(9)", 9),
    "an exit handler that submits": ("import atexit; atexit.register(lambda: echo(1))", 0),
    "cleanup twice": ("plait.dfk().cleanup(); plait.clear()", 0),
    "a second run": ("plait.dfk().cleanup(); load(); assert echo(5).result(20) == 5", 0),
    "an interrupt": ("raise KeyboardInterrupt", None),
    "os.abort": ("os.abort()", -6),
    "exec": ("os.execv('/bin/true', ['true'])", 0),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_processes(way, tmp_path):
    require_linux("child subreaper")
    check(way, SETUP.format(load="load()", busy="family(f'{sys.argv[1]}/{number}')"), tmp_path, 5.0)


@pytest.mark.parametrize(
    "way",
    [
        "the end of the script",
        "an exception",
        "sys.exit in a callback",
        "cleanup in a callback",
        "daemon threads that submit",
    ],
)
def test_threads(way, tmp_path):
    require_linux("child subreaper")
    busy = "python_app(threading.Event().wait)(1.0)"
    check(way, SETUP.format(load="load(executors=[ThreadPoolExecutor()])", busy=busy), tmp_path, 8.0)


@pytest.mark.parametrize("way", ["the end of the script", "an exception"])
def test_nothing_was_loaded(way, tmp_path):
    """The first call loaded the default."""
    require_linux("child subreaper")
    check(
        way,
        SETUP.format(load="os.environ['PLAIT_PROGRESS'] = 'off'", busy="family(f'{sys.argv[1]}/{number}')"),
        tmp_path,
        5.0,
    )


def check(way: str, setup: str, tmp_path, limit_s: float) -> None:
    before = descendants()
    end, code = WAYS[way]
    with driver(setup + "\nprint('ready', flush=True)\n" + end + "\n", str(tmp_path)) as program:
        program.says("ready")
        found = program.wait(limit_s)
        all_gone(before, 2.0)
    text = program.text()
    assert code is None or found == code, text
    assert "Fatal Python error" not in text
    assert "a step of the cleanup failed" not in text
    assert "I/O thread" not in text
