from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from plait._util import procs
from plait.errors import (
    AppBadFormatting,
    AppException,
    AppTimeout,
    BadStdStreamFile,
    BashAppNoReturn,
    BashExitFailure,
    MissingOutputs,
)
from plait.executors.pool import bash
from plait.executors.pool.bash import run_bash
from plait.executors.pool.call import Call
from tests.support import require_linux, wait_until

BOTH = pytest.mark.parametrize("in_thread", [False, True])


def read(path) -> str:
    return Path(path).read_text(encoding="utf-8")


def run(command, *, in_thread=False, args=(), kwargs=None, **call) -> int:
    """Runs a command line, or the function that makes it."""
    func = command if callable(command) else lambda: command
    return run_bash(func, args, kwargs or {}, Call("bash", "hello", **call), in_thread=in_thread)


def alive(path) -> list[int]:
    """Those of the processes whose numbers a command wrote into a file that still live."""
    pids = [int(word) for word in read(path).split()]
    assert pids, "the command wrote no number"
    return [pid for pid in pids if procs.is_alive(pid)]


# ------------------------------------------------------------------ the command line
def test_the_function_makes_the_command():
    def func(word, *, n):
        return f"for i in $(seq {n}); do echo -n {word}; done"

    assert run(func, args=("ab",), kwargs={"n": 3}, stdout=("out", "w")) == 0
    assert read("out") == "ababab"


def test_it_is_bash():
    run('[[ $BASH_VERSION ]] && cat <(echo "$0 $#")', stdout=("out", "w"))
    assert read("out") == "/bin/bash 0\n"


@pytest.mark.parametrize(
    ("value", "kind"),
    [(None, "NoneType; did it forget to return it?"), (3, "int"), (b"true", "bytes"), (["true"], "list")],
)
def test_a_command_that_is_no_text(value, kind):
    with pytest.raises(ValueError) as info:
        run(lambda: value)
    assert str(info.value) == f"bash_app hello: expected its function to return the command line as str, not {kind}"


def test_formatting_that_fails():
    with pytest.raises(AppBadFormatting, match=r"bash_app hello.*IndexError: ") as info:
        run("echo {} {}".format, args=(1,))
    assert isinstance(info.value.__cause__, IndexError)
    with pytest.raises(BashAppNoReturn, match=r"bash_app hello.*AttributeError: .*'nothing'") as info:
        run("echo {.nothing}".format, args=(1,))
    assert isinstance(info.value.__cause__, AttributeError)
    with pytest.raises(KeyError, match="name"):
        run("echo {name}".format)


@pytest.mark.parametrize("command", ["echo \0", "echo \ud800"])
def test_a_command_that_cannot_be_passed_on(command):
    with pytest.raises(AppBadFormatting, match="bash_app hello: its command line cannot be passed to /bin/bash"):
        run(command)


def test_a_command_that_is_too_long():
    require_linux("the limit of one argument is 128 KiB there")
    with pytest.raises(AppBadFormatting, match=r"its command line of 200,005 bytes .*write it to a file"):
        run("true " + "x" * 200_000)


def test_no_bash(monkeypatch):
    monkeypatch.setattr(bash, "BASH", "/none/bash")
    with pytest.raises(AppException, match="bash_app hello: /none/bash cannot be started: No such file"):
        run("true")


# ------------------------------------------------------------------ how it ends
@BOTH
def test_exit_codes(in_thread):
    assert run("true", in_thread=in_thread) == 0
    with pytest.raises(BashExitFailure) as info:
        run("exit 7", in_thread=in_thread, outputs=("none",))
    assert (info.value.app_name, info.value.exitcode) == ("hello", 7)
    with pytest.raises(BashExitFailure, match="ended by SIGKILL") as info:
        run("kill -KILL $$", in_thread=in_thread, walltime_s=60.0)
    assert info.value.exitcode == -signal.SIGKILL


def test_outputs_must_be_there():
    Path("there").touch()
    run("touch made", outputs=("there", "made"))
    with pytest.raises(MissingOutputs, match=r"bash_app hello.*: a, b$") as info:
        run("true", outputs=("there", "a", "b"))
    assert info.value.outputs == ["a", "b"]


# ------------------------------------------------------------------ streams
def test_streams_and_the_banner():
    run("echo out; echo err >&2", stdout=("deep/out", "a+"), stderr=("deep/err", "a+"))
    assert read("deep/out") == "out\n"
    assert read("deep/err") == "--> command of hello <--\necho out; echo err >&2\n--> end of command <--\nerr\n"


def test_modes():
    for path in ("w", "a"):
        Path(path).write_text("old\n")
    run("echo new", stdout=("w", "w"), stderr=("a", "a"))
    assert read("w") == "new\n"
    assert read("a").startswith("old\n--> command")


def test_both_in_one_file():
    run("echo 1; echo 2 >&2; echo 3", stdout=("both", "w"), stderr=("both", "w"))
    assert read("both").endswith("command <--\n1\n2\n3\n")


def test_a_file_that_cannot_be_opened_starts_nothing():
    with pytest.raises(BadStdStreamFile, match="stdout='/'"):
        run("touch started", stdout=("/", "w"))
    assert not Path("started").exists()


def test_no_input():
    r, w = os.pipe()
    os.write(w, b"for somebody else\n")
    os.close(w)
    ours = os.dup(0)
    os.dup2(r, 0)
    try:
        run("cat; read x; echo $?", stdout=("out", "w"))
    finally:
        os.dup2(ours, 0)
        os.close(ours)
        os.close(r)
    assert read("out") == "1\n"


def test_signals_of_our_terminal_do_not_reach_it():
    run(
        f'exec {sys.executable} -c "import os; print(os.getsid(0) == os.getpgrp() == os.getpid())"', stdout=("out", "w")
    )
    assert read("out") == "True\n"


def test_uncaptured_output_goes_where_ours_goes(capfd):
    run("echo out; echo err >&2")
    assert capfd.readouterr() == ("out\n", "err\n")


@BOTH
def test_inherited_descriptors(in_thread):
    r, w = os.pipe()
    os.set_inheritable(w, True)
    with open(r, "rb") as reader:
        try:
            run(f"echo passed >&{w}", in_thread=in_thread)
        finally:
            os.close(w)
        assert reader.read() == b"passed\n"


# ------------------------------------------------------------------ nothing is left
DETACH = {
    "background": "{} & ",
    "nohup": "nohup {} >/dev/null 2>&1 & disown; ",
    "own session": "setsid {} & ",
    "own session, no parent": "( setsid {} </dev/null >/dev/null 2>&1 & ); ",
    "job control": "set -m; {} & ",
    "own session without descriptors": "( exec 0<&- 1>&- 2>&-; setsid {} & ); ",
}
SLEEPER = "/bin/bash -c 'echo $$ >>pids; exec sleep 1000'"
STUBBORN = "/bin/bash -c 'trap \"\" TERM; echo $$ >>pids; while true; do sleep 0.01; done'"
WRITTEN = "until [ -s pids ]; do sleep 0.005; done"


@BOTH
@pytest.mark.parametrize("detach", list(DETACH))
def test_the_background_ends_with_the_command(in_thread, detach):
    if detach.startswith("own"):
        require_linux("processes that leave the session are found there only")
    begin = time.monotonic()
    assert run(DETACH[detach].format(SLEEPER) + WRITTEN, in_thread=in_thread) == 0
    assert alive("pids") == []
    assert time.monotonic() - begin < 60


@BOTH
def test_a_background_that_becomes_another_program_for_ever_ends(in_thread):
    """While it does, the system shows it without an environment."""
    require_linux("/proc/<pid>/environ")
    code = 'exec "$0" -c "$1" "$0" "$1"'
    for _ in range(20):
        assert run(f"setsid /bin/bash -c '{code}' /bin/bash '{code}' & echo $! >pids", in_thread=in_thread) == 0
        assert alive("pids") == []


@BOTH
def test_the_background_of_a_failure_ends(in_thread):
    with pytest.raises(BashExitFailure):
        run(f"{SLEEPER} & {WRITTEN}; exit 3", in_thread=in_thread)
    assert alive("pids") == []


@BOTH
def test_the_group_is_enough_where_nothing_else_is_known(in_thread, monkeypatch):
    for kind in (bash._Adopted, bash._Marked):
        monkeypatch.setattr(kind, "find", lambda *_: set())
    run(f"{SLEEPER} & {WRITTEN}", in_thread=in_thread)
    assert alive("pids") == []


@BOTH
def test_what_ends_by_itself_is_waited_for_no_longer(in_thread, monkeypatch):
    monkeypatch.setattr(bash, "SETTLE_S", 1000.0)
    run("sleep 0.01 & ( sleep 0.01 & ) ; ( exec setsid sleep 0.01 & )", in_thread=in_thread)


@BOTH
def test_a_stubborn_background_is_killed(in_thread, monkeypatch):
    require_linux("processes that leave the session are found there only")
    monkeypatch.setattr(bash, "GRACE_S", 0.05)
    run(f"( setsid {STUBBORN} & ); {WRITTEN}", in_thread=in_thread)
    assert alive("pids") == []


@BOTH
def test_what_only_finishes_its_work_may_do_so(in_thread):
    """The shell does not wait for the `tee`, which has yet to write the end of the log."""
    run(
        "exec > >({ while read line; do echo $line; done; sleep 0.02; echo end; } >log); echo text", in_thread=in_thread
    )
    assert read("log") == "text\nend\n"


def test_other_commands_are_left_in_peace():
    """In a thread, what is ended is what carries the mark of this command."""
    inside, errors = threading.Event(), []

    def slow():
        try:
            run(f"{SLEEPER} & {WRITTEN}; touch up; until [ -e go ]; do sleep 0.005; done", in_thread=True)
        except BaseException as error:
            errors.append(error)
        inside.set()

    thread = threading.Thread(target=slow)
    thread.start()
    wait_until(lambda: Path("up").exists())
    run(
        "( setsid /bin/bash -c 'echo $$ >other; exec sleep 1000' & ); until [ -s other ]; do sleep 0.005; done",
        in_thread=True,
    )
    assert alive("other") == []
    assert len(alive("pids")) == 1
    assert not inside.is_set()
    Path("go").touch()
    thread.join()
    assert errors == []
    assert alive("pids") == []


def test_children_from_before_are_left_in_peace():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as before:
        run(f"{SLEEPER} & {WRITTEN}")
        assert before.poll() is None
        before.communicate(b"\n")
    assert before.returncode == 0
    assert alive("pids") == []


def test_zombies_of_the_command_are_taken_away():
    require_linux("orphans come to this process, a child subreaper, there only")
    before = set(procs.children_of(os.getpid()))
    run(f"( setsid {SLEEPER} & ); {WRITTEN}; (sleep 0 & ) ; (setsid sleep 0 &)")
    assert set(procs.children_of(os.getpid())) <= before


@pytest.mark.parametrize(
    ("lasts", "looked_at", "listed_above"),
    [
        ([100], [], None),
        ([103, 103], [101, 102, 103], None),
        ([102, 104, 104], [101, 102, 103, 104], None),  # others came during the look
        ([5000], [], 100),
        ([102, 5000], [101, 102], 100),
        ([40], [], 0),  # numbers have begun anew
    ],
)
def test_who_may_have_been_started_by_the_command(monkeypatch, lasts, looked_at, listed_above):
    looks, lists = [], []
    given = iter(lasts)
    monkeypatch.setattr(bash, "_last_pid", lambda: next(given))
    monkeypatch.setattr(bash, "carries", lambda pid, marks: looks.append(pid))
    monkeypatch.setattr(bash, "bearers", lambda marks, above: lists.append(above) or ())
    assert bash._Marked().find(100) == set()
    assert (looks, lists) == (looked_at, [] if listed_above is None else [listed_above])


def test_the_last_number_given_is_known():
    require_linux("/proc/loadavg")
    first = bash._last_pid()
    with subprocess.Popen(["/bin/true"]) as process:
        assert first < process.pid <= bash._last_pid() or bash._last_pid() < first, "or the numbers began anew"


# ------------------------------------------------------------------ walltime
@BOTH
@pytest.mark.parametrize("how", ["exec sleep 1000", "sleep 1000; true", "sleep 1000 | cat"])
def test_walltime(in_thread, how, monkeypatch):
    wait = bash._wait

    def wait_when_it_works(process, deadline):
        wait_until(lambda: Path("out").exists() and read("out"))
        return wait(process, deadline)

    monkeypatch.setattr(bash, "_wait", wait_when_it_works)
    begin = time.monotonic()
    with pytest.raises(AppTimeout, match=r"bash_app hello ran longer than its walltime of 0.1 s"):
        run(f"echo $$ >pids; echo so far; {how}", in_thread=in_thread, walltime_s=0.1, stdout=("out", "w"))
    assert 0.1 <= time.monotonic() - begin < 60
    assert read("out") == "so far\n"
    assert alive("pids") == []


@BOTH
def test_walltime_ends_what_detached_itself(in_thread, monkeypatch):
    require_linux("processes that leave the session are found there only")

    def too_late(process, deadline):
        wait_until(lambda: Path("pids").exists() and len(read("pids").split()) == 2)

    monkeypatch.setattr(bash, "_wait", too_late)
    with pytest.raises(AppTimeout):
        run(f"( setsid {SLEEPER} & ); {SLEEPER} & sleep 1000", in_thread=in_thread, walltime_s=0.0)
    assert alive("pids") == []


def test_walltime_includes_the_function():
    now = time.monotonic

    def func():
        until = now() + 0.05
        wait_until(lambda: now() > until)
        return "sleep 1000"

    begin = now()
    with pytest.raises(AppTimeout):
        run(func, walltime_s=0.06)
    assert now() - begin < 60


def test_a_command_within_its_walltime():
    assert run("true", walltime_s=3600.0) == 0
    with pytest.raises(BashExitFailure):
        run("false", walltime_s=3600.0)


@pytest.mark.parametrize("command", ["true", "sleep 1000"])
def test_walltime_without_pidfd(monkeypatch, command):
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    if command == "true":
        assert run(command, walltime_s=60.0) == 0
    else:
        with pytest.raises(AppTimeout):
            run(command, walltime_s=0.05)


def test_an_interrupt_ends_the_command(monkeypatch):
    def interrupted(process, deadline):
        wait_until(lambda: Path("pids").exists() and read("pids"))
        raise KeyboardInterrupt

    monkeypatch.setattr(bash, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("echo $$ >pids; sleep 1000")
    assert alive("pids") == []


# ------------------------------------------------------------------ speed
@pytest.mark.bench
@BOTH
def test_true_is_nearly_as_fast_as_by_itself(in_thread):
    alone, ours = [], []
    for _ in range(100):
        begin = time.perf_counter()
        subprocess.run(["/bin/bash", "-c", "true"], check=True)
        middle = time.perf_counter()
        run("true", in_thread=in_thread)
        alone.append(middle - begin)
        ours.append(time.perf_counter() - middle)
    ratio = sorted(alone)[25] / sorted(ours)[25]  # the quicker quarter: the rest tells of the neighbours
    assert ratio >= 0.7, f"{ratio:.2f} of the speed of subprocess.run"
