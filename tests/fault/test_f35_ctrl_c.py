"""F35: Ctrl-C on a terminal reaches the whole group at once. Once: cancelled, reported, left within 5 s. Twice: at once. Nothing stays."""

from __future__ import annotations

import re

import pytest

from tests.fault.lab import Terminal, all_gone, let_pass, numbers, seeded
from tests.leaks import descendants
from tests.support import require_linux, wait_until

MAX_S = 1.0  # about when the program below would be done, were it not for the families
BODY = """
deaf = sys.argv[2] == "deaf"
with load(executors=[{executor}], initialize_logging=True):
    futures = [echo(number) for number in range(500)]
    futures += [family(path, deaf=deaf) for path in [sys.argv[1], sys.argv[1] + "2"]]
    futures += [echo(future) for future in futures]
    print("submitted", flush=True)
    for future in futures:
        future.result()
"""
PROCESSES = BODY.format(executor="ProcessPoolExecutor(max_workers=2)")
THREADS = BODY.format(executor="ThreadPoolExecutor(max_threads=2)").replace("family(path, deaf=deaf)", "SLEEP(30)")
DROPPED = re.compile(r"Exception ignored in.*KeyboardInterrupt", re.DOTALL)
#: What must not be seen: a step of leaving that failed.
COMPLAINTS = (
    "Fatal Python",
    "a step of the cleanup failed",
    "I/O thread",
    "ProcessLookupError",
    "Bad file descriptor",
    "AttributeError",
)


@pytest.fixture
def before():
    require_linux("child subreaper")
    return descendants()


@pytest.fixture
def terminals():
    made = []

    def make(*arguments):
        made.append(Terminal(*arguments))
        return made[-1]

    yield make
    for terminal in made:
        terminal.close()


def ends(terminal: Terminal, timeout_s: float = 5.0) -> None:
    """Within the time after Ctrl-C.

    CPython drops an interrupt that meets a callback of the garbage collector (an import's locks have some) and says
    so: nobody hears of that one, so it is typed again, as the person in front of the terminal would.
    """
    wait_until(lambda: terminal.process.poll() is not None or DROPPED.search(terminal.text()), timeout_s, terminal.text)
    if terminal.process.poll() is None:
        let_pass(0.2)  # one that was dropped while the program was leaving anyway
        if terminal.process.poll() is None:
            terminal.ctrl_c()
        terminal.wait(timeout_s)


def check(terminal: Terminal) -> None:
    text = terminal.text()
    assert not [words for words in COMPLAINTS if words in text], text


@pytest.mark.parametrize("deaf", ["deaf", "obedient"])
def test_once_while_tasks_run(deaf, before, terminals, tmp_path):
    terminal = terminals(PROCESSES, str(tmp_path / "one"), deaf)
    wait_until(lambda: len(numbers(tmp_path / "one", "child")) == 4, 20, terminal.text)
    terminal.ctrl_c()
    terminal.wait(5.0)
    all_gone(before, 1.0)
    check(terminal)
    assert terminal.text().rstrip().endswith("KeyboardInterrupt")


def test_twice_while_tasks_run(before, terminals, tmp_path):
    terminal = terminals(PROCESSES, str(tmp_path / "one"), "deaf")
    wait_until(lambda: len(numbers(tmp_path / "one", "child")) == 4, 20, terminal.text)
    terminal.ctrl_c()
    let_pass(0.3)  # it is in the middle of leaving: the children are deaf for 2 s
    assert terminal.process.poll() is None
    terminal.ctrl_c()
    terminal.wait(1.5)
    all_gone(before, 1.5)
    check(terminal)


def test_once_at_any_moment(before, terminals, tmp_path):
    moments = seeded("once")
    for round_ in range(8):
        terminal = terminals(PROCESSES, str(tmp_path / str(round_)), "obedient")
        moment = moments.uniform(0.05, MAX_S)
        print(f"round {round_}: {moment:.3f} s")
        let_pass(moment)
        terminal.ctrl_c()
        ends(terminal)
        all_gone(before, 2.0)
        check(terminal)


def test_twice_at_any_moments(before, terminals, tmp_path):
    moments = seeded("twice")
    for round_ in range(8):
        terminal = terminals(PROCESSES, str(tmp_path / str(round_)), "deaf")
        first, second = moments.uniform(0.2, MAX_S), moments.uniform(0.0, 0.2)
        print(f"round {round_}: {first:.3f} s, {second:.3f} s later")
        let_pass(first)
        terminal.ctrl_c()
        let_pass(second)
        if terminal.process.poll() is None:
            terminal.ctrl_c()
        ends(terminal)
        all_gone(before, 2.0)
        check(terminal)


def test_once_with_threads(before, terminals, tmp_path):
    body = "SLEEP = python_app(time.sleep)\n" + THREADS
    terminal = terminals(body, str(tmp_path / "one"), "-")
    wait_until(lambda: "submitted" in terminal.text(), 20, terminal.text)
    terminal.ctrl_c()
    terminal.wait(5.0)  # threads get most of it to finish, and cannot be ended
    all_gone(before, 1.0)
    check(terminal)


@pytest.mark.parametrize(
    "program",
    [
        "with load(executors=[ThreadPoolExecutor()]): hold(sys.argv[1]).result()",
        "with load(executors=[ThreadPoolExecutor()], exit_mode='wait'): hold(sys.argv[1])",
        "kernel = load(executors=[ThreadPoolExecutor()]); hold(sys.argv[1]).result()",
    ],
)
def test_once_with_commands_of_threads(program, before, terminals, tmp_path):
    """They are ended and not waited for, however the run would have ended."""
    body = f"""
@bash_app
def hold(path):
    return f"echo $$ > {{path}}; setsid sleep 300 & sleep 301"
{program}
"""
    terminal = terminals(body, str(tmp_path / "one"))
    wait_until((tmp_path / "one").exists, 20, terminal.text)
    terminal.ctrl_c()
    terminal.wait(5.0)
    all_gone(before, 1.0)
    check(terminal)


def test_caught_and_gone_on(before, terminals, tmp_path):
    """A program may catch it: the run goes on as if nothing had been."""
    body = """
with load() as kernel:
    futures = [family(path) for path in [sys.argv[1]]]
    try:
        futures[0].result()
    except KeyboardInterrupt:
        print("caught", flush=True)
    futures[0].cancel()
    print("sum", sum(future.result() for future in [echo(number) for number in range(100)]), flush=True)
"""
    terminal = terminals(body, str(tmp_path / "one"))
    wait_until(lambda: len(numbers(tmp_path / "one", "child")) == 4, 20, terminal.text)
    terminal.ctrl_c()
    assert terminal.wait(10.0) == 0
    assert "sum 4950" in terminal.text()
    all_gone(before, 1.0)
