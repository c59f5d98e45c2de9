from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from plait._util import procs
from tests.support import require_linux, wait_until

IGNORE = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
PAUSE = "import signal; signal.pause()"


@contextlib.contextmanager
def python(code: str, **options) -> Iterator[subprocess.Popen]:
    """A process that runs `code`, reports on its output, and is gone afterwards with all that it started."""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, **options) as process:
        try:
            yield process
        finally:
            procs.end_tree(process.pid, 0)
            process.wait()


def tree_code(depth: int, *, detach: bool = False, before: str = "") -> str:
    """A process whose child has a child …; each prints its number when it is ready to be ended."""
    code = f"{before}print(os.getpid(), flush=True); {PAUSE}"
    for _ in range(depth):
        child = f"subprocess.Popen([sys.executable, '-c', {'import os, subprocess, sys; ' + code!r}], start_new_session={detach})"
        code = f"{before}{child}; print(os.getpid(), flush=True); {PAUSE}"
    return "import os, subprocess, sys; " + code


def read_pids(process: subprocess.Popen, count: int) -> list[int]:
    return [int(process.stdout.readline()) for _ in range(count)]


def test_stat_with_any_name():
    fields = " ".join(str(n) for n in range(4, 23))
    process = procs.parse_stat(f"42 (a) R 1 (b c) S {fields}".encode())
    assert process == procs.Process(42, "S", 4, 5, 6, 22)
    assert process.is_alive
    assert not process._replace(state="Z").is_alive


def test_looks_at_this_process():
    process = procs.look(os.getpid())
    assert process[2:5] == (os.getppid(), os.getpgrp(), os.getsid(0))
    assert procs.snapshot()[os.getpid()].start == process.start


def test_psutil_tells_the_same():
    require_linux("compares with /proc")
    assert procs.look_by_psutil(os.getpid())[2:5] == procs.look(os.getpid())[2:5]
    assert procs.look_by_psutil(2**22 + 1) is None
    with subprocess.Popen(["/bin/true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert procs.look_by_psutil(child.pid).state == "Z"


def test_where_numbers_count(monkeypatch):
    def missing(path):
        raise FileNotFoundError(path)

    if sys.platform == "linux":
        assert procs.number_space().startswith("pid:[")
    monkeypatch.setattr(os, "readlink", missing)
    assert procs.number_space() == ""


def test_alive_means_not_a_zombie_and_there():
    with subprocess.Popen(["/bin/true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead and not reaped
        assert procs.look(child.pid) is not None
        assert not procs.is_alive(child.pid)
    assert procs.look(child.pid) is None
    assert not procs.is_alive(child.pid)
    assert procs.is_alive(os.getpid())


def test_descendants_at_any_depth():
    with python(tree_code(2)) as process:
        pids = read_pids(process, 3)
        assert process.pid in pids
        below = procs.descendants(process.pid)
        assert sorted(below) == sorted(set(pids) - {process.pid})
        assert procs.look(below[0]).parent == process.pid, "parents come first"
        assert below[0] in procs.children_map()[process.pid]
        assert set(pids) <= set(procs.descendants(os.getpid()))


def test_children_of_one_process(monkeypatch):
    with python(tree_code(1)) as process, subprocess.Popen(["/bin/true"]) as dead:
        pids = read_pids(process, 2)
        os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
        by_lists = [procs.children_of(pid) for pid in (os.getpid(), process.pid, dead.pid)]
        assert {process.pid, dead.pid} <= set(by_lists[0])
        assert by_lists[1:] == [sorted(set(pids) - {process.pid}), []]
        monkeypatch.setattr(os, "listdir", lambda path, real=os.listdir: real(path if "task" not in path else "/none"))
        assert [sorted(procs.children_of(pid)) for pid in (os.getpid(), process.pid, dead.pid)] == [
            sorted(pids) for pids in by_lists
        ]


def test_signals_pass_over_what_is_gone_and_over_this_process():
    with python(f"print(0, flush=True); {PAUSE}") as process:
        read_pids(process, 1)
        with subprocess.Popen(["/bin/true"]) as gone:
            pass
        procs.signal_all([os.getpid(), gone.pid, 0, 1, process.pid], signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("session", [False, True])
def test_a_tree_ends(detach, session):
    with python(tree_code(2, detach=detach), start_new_session=session) as process:
        pids = read_pids(process, 3)
        assert procs.end_tree(process.pid, 5.0) == []
        assert not any(map(procs.is_alive, pids))
        assert process.wait() == -signal.SIGTERM, "there was no need for SIGKILL"


def test_what_ignores_sigterm_is_killed_after_the_grace():
    with python(tree_code(1, detach=True, before=IGNORE)) as process:
        pids = read_pids(process, 2)
        begin = time.monotonic()
        assert procs.end_tree(process.pid, 0.1) == []
        assert time.monotonic() - begin >= 0.1
        assert not any(map(procs.is_alive, pids))
        assert process.wait() == -signal.SIGKILL


def test_no_grace_is_sigkill_at_once():
    with python(f"print(0, flush=True); {PAUSE}") as process:
        read_pids(process, 1)
        procs.end_tree(process.pid, 0)
        assert process.wait() == -signal.SIGKILL


def test_the_group_of_a_root_that_is_gone_ends():
    code = f"import subprocess, sys; {start('import os; print(os.getpid(), flush=True); ' + PAUSE)}"
    with python(code, start_new_session=True) as process:
        (orphan,) = read_pids(process, 1)
        process.wait()
        assert procs.is_alive(orphan)
        assert procs.end_tree(process.pid, 5.0) == []
        assert not procs.is_alive(orphan)


def start(code: str) -> str:
    """A statement that starts a Python process."""
    return f"subprocess.Popen([sys.executable, '-c', {code!r}])"


def test_a_group_without_a_session_ends():
    sleeper = f"import os; print(os.getpid(), flush=True); {PAUSE}"
    with python(f"import os, subprocess, sys; os.setpgid(0, 0); {start(sleeper)}") as process:
        (orphan,) = read_pids(process, 1)
        process.wait()
        assert procs.look(orphan).session == os.getsid(0)
        assert procs.end_tree(process.pid, 5.0) == []
        assert not procs.is_alive(orphan)


def test_other_groups_of_the_session_end():
    sleeper = f"import os; os.setpgid(0, 0); print(os.getpid(), flush=True); {PAUSE}"
    with python(f"import subprocess, sys; {start(sleeper)}", start_new_session=True) as process:
        (orphan,) = read_pids(process, 1)
        process.wait()
        assert procs.look(orphan)[3:5] == (orphan, process.pid)
        assert procs.end_tree(process.pid, 5.0) == []
        assert not procs.is_alive(orphan)


def test_a_stopped_process_can_still_end_in_order():
    with python(  # `signal.pause` sleeps on where the signal comes just before it
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print(0, flush=True)\n"
        "while True: signal.sigtimedwait([], 0.05)"
    ) as process:
        read_pids(process, 1)
        os.kill(process.pid, signal.SIGSTOP)
        wait_until(lambda: procs.look(process.pid).state == "T")
        assert procs.end_tree(process.pid, 5.0) == []
        assert process.wait() == 7


def test_what_starts_meanwhile_ends_too():
    breed = (
        "import os, signal, subprocess, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: None)\n"
        "print(os.getpid(), flush=True)\n"
        "me = open(sys.argv[1]).read()\n"
        "for _ in range(40): subprocess.Popen([sys.executable, '-c', me, sys.argv[1]], start_new_session=True).poll()\n"
        "while True: signal.pause()\n"
    )
    code = "import os, subprocess, sys, tempfile\n" + breed.replace("range(40)", "range(2)")
    with open("code.py", "w", encoding="utf-8") as file:
        file.write(code)
    runner = "import sys; sys.argv[1:] = ['code.py']; exec(open('code.py').read())"
    with python(runner) as process:
        read_pids(process, 2)  # each has started or will start two more: it doubles until it is ended
        assert procs.end_tree(process.pid, 0.02) == []
        assert process.wait() == -signal.SIGKILL
    marked = [
        pid
        for pid in procs.snapshot()
        if pid != os.getpid() and procs.is_alive(pid) and b"code.py" in command_line(pid) and cwd(pid) == os.getcwd()
    ]
    assert marked == []


def command_line(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def cwd(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def test_children_of_this_process_without_itself():
    with python(f"print(0, flush=True); {PAUSE}") as spared, python(tree_code(1)) as process:
        read_pids(spared, 1)
        pids = read_pids(process, 2)
        others = [pid for pid in procs.descendants(os.getpid()) if pid not in pids]
        assert procs.end_tree(os.getpid(), 5.0, include_root=False, reap=True, spare=others) == []
        assert procs.look(process.pid) is None, "reaped"
        assert procs.is_alive(spared.pid)


def test_the_root_can_stay():
    with python(tree_code(1)) as process:
        pids = read_pids(process, 2)
        assert procs.end_tree(process.pid, 5.0, include_root=False) == []
        assert [pid for pid in pids if procs.is_alive(pid)] == [process.pid]


def test_nobody_is_no_trouble():
    with subprocess.Popen(["/bin/true"]) as gone:
        pass
    begin = time.monotonic()
    assert procs.end_tree(gone.pid) == []
    assert time.monotonic() - begin < 1, "it does not wait for anything"


def test_several_trees_end_at_once():
    """Each of them ignores SIGTERM; together they take one grace period."""
    code = "import os, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(os.getpid(), flush=True); signal.pause()"
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(python(code)) for _ in range(3)]
        pids = [read_pids(process, 1)[0] for process in processes]
        begin = time.monotonic()
        assert procs.end_trees(pids, 1.0, reap=True) == []
        assert 1.0 <= time.monotonic() - begin < 2.9
        assert not [pid for pid in pids if procs.is_alive(pid)]
    assert procs.end_trees([]) == []


@pytest.mark.parametrize(
    ("code", "dies"),
    [
        ("", True),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", False),
        ("signal.signal(signal.SIGTERM, print)", False),
        ("signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])", False),
    ],
)
def test_who_dies_of_a_signal(code, dies):
    require_linux("/proc/<pid>/status")
    with python(f"import os, signal\n{code}\nprint(os.getpid(), flush=True); signal.pause()") as process:
        (pid,) = read_pids(process, 1)
        assert procs.dies_of(pid, signal.SIGTERM) == dies
        process.kill()
    assert not procs.dies_of(pid, signal.SIGTERM)


def test_a_sigterm_that_got_lost_is_sent_again():
    """A shell catches it in the copy of itself that then becomes the command; the command has never had it."""
    require_linux("/proc/<pid>/status")
    code = "import os, signal; signal.signal(signal.SIGTERM, lambda *_: os.execvp('sleep', ['sleep', '1000'])); print(os.getpid(), flush=True)\n"
    with python(f"{code}while True: signal.sigtimedwait([], 0.05)") as process:
        (pid,) = read_pids(process, 1)
        begin = time.monotonic()
        assert procs.end_tree(pid, 10.0, reap=True) == []
        assert time.monotonic() - begin < 5.0


def test_one_sigterm_is_enough_for_who_caught_it():
    """The interpreter puts the default handlers back before the last objects go."""
    with python(
        "import signal, sys\n"
        "def end(*_): signal.signal(signal.SIGTERM, signal.SIG_DFL); signal.sigtimedwait([], 0.3); sys.exit(7)\n"
        "signal.signal(signal.SIGTERM, end); print(0, flush=True)\n"
        "while True: signal.sigtimedwait([], 0.05)"
    ) as process:
        read_pids(process, 1)
        assert procs.end_tree(process.pid, 5.0) == []
        assert process.wait() == 7


def test_a_process_can_die_with_its_parent():
    require_linux("PR_SET_PDEATHSIG")
    inner = (
        "import os, signal\n"
        "from plait._util import procs\n"
        "assert procs.die_with_parent()\n"
        "print(os.getpid(), flush=True)\n"
        "signal.pause()\n"
    )
    outer = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {inner!r}], start_new_session=True).wait()"
    )
    with python(outer) as process:
        (child,) = read_pids(process, 1)
        process.kill()
        wait_until(lambda: not procs.is_alive(child))


def test_a_parent_that_died_early_is_noticed():
    require_linux("PR_SET_PDEATHSIG")
    with python("from plait._util import procs; procs.die_with_parent(parent=1); print('still here')") as process:
        assert process.stdout.read() == ""
        assert process.wait() == -signal.SIGKILL


def test_orphans_come_to_the_subreaper():
    require_linux("PR_SET_CHILD_SUBREAPER")
    sleeper = f"import os; print(os.getpid(), flush=True); {PAUSE}"
    middle = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {sleeper!r}], start_new_session=True)"
    code = (
        "import os, subprocess, sys\n"
        "from plait._util import procs\n"
        "assert procs.become_subreaper()\n"
        f"middle = {middle!r}\n"
        "subprocess.run([sys.executable, '-c', middle])\n"
        "sys.stdin.read()\n"
        "print(procs.end_tree(os.getpid(), 5.0, include_root=False, reap=True), procs.descendants(os.getpid()), flush=True)\n"
    )
    with python(code, stdin=subprocess.PIPE) as process:
        (orphan,) = read_pids(process, 1)
        wait_until(lambda: procs.look(orphan).parent == process.pid)
        process.stdin.close()
        assert process.stdout.readline() == "[] []\n"
        assert not procs.is_alive(orphan)
