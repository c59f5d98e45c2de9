"""The commands as people type them: real processes, a real terminal, a real Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest

from tests.support import wait_until

PLAIT = [sys.executable, "-m", "plait"]

WORK = """
import plait, sys

@plait.python_app
def square(x):
    return x * x

@plait.python_app
def invert(x):
    return 1 / x

@plait.python_app
def total(parts):
    return sum(parts)

print(total([square(i) for i in range(10)]).result())
bad = [invert(x) for x in (0, 0, 2)]
print(total(bad).exception().__class__.__name__)
"""

#: Tasks that run until a file appears, and one that waits for them.
WAITING = """
import plait

@plait.python_app
def hold(path):
    import os, time
    while not os.path.exists(path):
        time.sleep(0.01)

@plait.bash_app
def sleep():
    return "sleep 60 & sleep 60"

@plait.python_app
def after(*_):
    pass

with plait.load(plait.Config(executors=[plait.ProcessPoolExecutor(max_workers=2)])):
    first = hold("go")
    second = SECOND
    last = after(first, second)
    print("ready", flush=True)
    last.result()
"""


def environment(**more):
    env = {key: value for key, value in os.environ.items() if not key.startswith("PLAIT_")}
    return {**env, "PYTHONUNBUFFERED": "1", "TERM": "xterm-256color", "COLUMNS": "90", "LINES": "24", **more}


def plait(*arguments, code=0, **more):
    """Runs the command to its end."""
    done = subprocess.run(
        [*PLAIT, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def write(folder, text, name="script.py"):
    path = folder / name
    path.write_text(text)
    return name


@contextlib.contextmanager
def started(*command, **how):
    """A process that is ended with the test, if it has not by then."""
    process = subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL, **how)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


# ------------------------------------------------------------------ run
def test_a_script_from_beginning_to_report(tmp_path):
    done = plait("run", "--report", "r.html", write(tmp_path, WORK))
    assert done.stdout.splitlines() == ["285", "DependencyError"]
    closing, report = done.stderr.splitlines()
    assert re.fullmatch(
        r"12 done, 2 failed, 1 not run because of a failed dependency: 2× ZeroDivisionError in invert\(\), see `plait explain 1[12]`",
        closing,
    )
    assert report == f"plait: report in {tmp_path}/r.html"
    assert "ZeroDivisionError" in (tmp_path / "r.html").read_text()

    explained = plait("explain", "11").stdout
    assert explained.startswith("task 11 (invert) failed with ZeroDivisionError: division by zero\n")
    assert "return 1 / x" in explained
    data = json.loads(plait("explain", "13", "--json").stdout)
    assert data["sentence"].startswith("task 13 (invert) succeeded")
    whole = json.loads(plait("explain", "--json").stdout)
    assert (whole["state"], whole["counts"]["failed"]) == ("ended", 2)
    (line,) = json.loads(plait("runs", "--json").stdout)
    assert line["script"] == "script.py"
    plait("report", "last", "-o", "again.html")
    assert (tmp_path / "again.html").read_text() == (tmp_path / "r.html").read_text()


def test_no_progress_means_no_line(tmp_path):
    script = write(tmp_path, WORK)
    assert plait("run", "--no-progress", script).stderr == ""
    assert plait("run", script, PLAIT_PROGRESS="0").stderr == ""


def test_run_dir_on_the_command_line(tmp_path):
    plait("run", "--run-dir", "elsewhere", write(tmp_path, WORK))
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "script.py"]
    assert "ended" in plait("explain", "--run-dir", "elsewhere").stdout


def test_arguments_and_exit_status_are_the_scripts(tmp_path):
    script = write(tmp_path, "import sys; print(sys.argv); sys.exit(int(sys.argv[2]))")
    done = plait("run", script, "--help", "9", code=9)
    assert done.stdout == "['script.py', '--help', '9']\n"


def test_a_traceback_is_the_scripts_own(tmp_path):
    script = write(tmp_path, "import plait\n@plait.python_app\ndef invert(x):\n    return 1 / x\ninvert(0).result()\n")
    done = plait("run", script, code=1)
    assert "script.py" in done.stderr
    assert "line 4, in invert" in done.stderr
    assert "futures.py" not in done.stderr
    assert f"{os.sep}cli{os.sep}" not in done.stderr


def test_exit_handlers_find_their_module(tmp_path):
    script = write(tmp_path, "import atexit, __main__\nx = 5\natexit.register(lambda: print(__main__.x, x))\n")
    assert plait("run", script).stdout == "5 5\n"


def test_as_parsl(tmp_path):
    script = write(
        tmp_path,
        "import parsl\nfrom parsl import python_app\nparsl.load()\n@python_app\ndef f(x):\n    return x + 1\nprint(f(1).result(), parsl.__name__)\n",
    )
    assert plait("run", "--as-parsl", script).stdout.startswith("2 ")


def test_the_module_and_the_version():
    assert re.fullmatch(r"plait \d+\.\d+.*\n", plait("--version").stdout)


def test_bench(tmp_path):
    data = json.loads(plait("bench", "--iterate", "20,200", "--json").stdout)
    assert [i["tasks"] for i in data["iterations"]] == [20, 200]


# ------------------------------------------------------------------ looking at a run from outside
def test_a_live_run_and_a_crashed_one_are_explained(tmp_path):
    write(tmp_path, WAITING.replace("SECOND", "hold('go')"))
    with started(*PLAIT, "run", "script.py", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"

        def running():
            return "has been running for" in (
                plait("explain", "0").stdout if os.path.exists("runinfo/000/journal.plj") else ""
            )

        wait_until(running, 20)
        assert (
            "task 2 (after) waits for task 0 (hold), which is launched and task 1 (hold), which is launched"
            in plait("explain", "2").stdout
        )
        whole = plait("explain").stdout
        assert "has been running" in whole
        assert "3 to go" in whole
        assert "waits for task 0 (hold)" in whole
        process.kill()
        process.wait()
    text = plait("explain").stdout
    assert f"crashed: its process (process {process.pid} on " in text
    assert "without cleaning up" in plait("explain", "2").stdout
    assert json.loads(plait("runs", "--json").stdout)[0]["state"] == "crashed"
    plait("report", "-o", "r.html")
    assert "without cleaning up" in (tmp_path / "r.html").read_text()


# ------------------------------------------------------------------ Ctrl-C
@pytest.mark.parametrize("loaded", ["with", "by the first call"])
def test_ctrl_c_once_leaves_with_nothing_behind(tmp_path, loaded):
    text = WAITING.replace("SECOND", "sleep()")
    if loaded != "with":
        text = re.sub(r"with plait.load.*:", "if True:", text)
    write(tmp_path, text)
    with started(*PLAIT, "run", "script.py", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        wait_until(lambda: sleeping() >= 2, 20)
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        took = time.monotonic() - begin
    assert process.returncode == 130
    assert took < 5
    assert "plait: interrupted at script.py, line " in err
    assert "3 cancelled" in err
    assert "Traceback" not in err
    wait_until(lambda: sleeping() == 0, 5)


def sleeping():
    """Processes of the bash app below this one."""
    from tests.leaks import descendants, describe

    return sum(describe(pid).startswith("sleep 60") for pid in descendants())


def test_a_script_that_does_not_want_to_leave_is_left(tmp_path):
    """A thread of the script that goes on for ever would keep Python from ending."""
    write(
        tmp_path,
        "import plait, threading\n"
        "@plait.python_app\ndef f():\n    return 1\n"
        "f().result()\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "print('ready', flush=True)\n"
        "threading.Event().wait()\n",
    )
    with started(*PLAIT, "run", "script.py", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        assert time.monotonic() - begin < 5.5
    assert process.returncode == 130


# ------------------------------------------------------------------ a terminal
class Terminal:
    """The other side of a terminal on which a command runs."""

    def __init__(self, *command, stdout=None):
        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs if stdout is None else stdout,
            stderr=theirs,
            env=environment(),
            start_new_session=True,
        )
        os.close(theirs)
        self.text = ""

    def read(self):
        """What was written so far."""
        while select.select([self.ours], [], [], 0)[0]:
            try:
                data = os.read(self.ours, 65536)
            except OSError:  # nobody is left on the other side
                break
            if not data:
                break
            self.text += data.decode(errors="replace")
        return self.text

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.ours)

    def end(self):
        """Everything, after the end."""
        wait_until(lambda: self.read() is not None and self.process.poll() is not None, 30, dump=self.read)
        return self.read().replace("\r\n", "\n")


def plain(text):
    """What remains when the table has been erased each time."""
    text = re.sub(r"\x1b\[[\d;]*m", "", text)
    while match := re.search(r"\x1b\[(\d+)A\x1b\[J", text):
        before = text[: match.start()]
        for _ in range(int(match[1])):
            before = before[: before.rstrip("\n").rfind("\n") + 1]
        text = before + text[match.end() :]
    return text


def test_the_live_display(tmp_path):
    write(
        tmp_path,
        WAITING.replace("SECOND", "hold('go')")
        + "    print('one\\tline')\n    import sys\n    print('two', file=sys.stderr)\nprint('after', type(sys.stdout).__name__)\n",
    )
    with Terminal(*PLAIT, "run", "script.py") as terminal:
        wait_until(lambda: re.search(r"hold .*\b2\b.*\b0\b", plain(terminal.read())), 20, dump=terminal.read)
        shown = plain(terminal.read())
        assert "waiting" in shown
        assert re.search(r"after .* 1 +0 +0 +0", shown)
        (tmp_path / "go").touch()
        text = terminal.end()
        assert terminal.process.returncode == 0
    assert plain(text) == "ready\none\tline\ntwo\n3 done\nafter TextIOWrapper\n"
    assert "\x1b[?25l" not in text  # the cursor was never hidden, so it cannot stay so


def test_what_goes_into_a_file_is_not_touched_by_the_display(tmp_path):
    write(tmp_path, WAITING.replace("SECOND", "hold('go')") + "    print('data')\n")
    with open("out", "w+b") as out, Terminal(sys.executable, "script.py", stdout=out.fileno()) as terminal:
        wait_until(lambda: "waiting" in terminal.read(), 20, dump=terminal.read)
        (tmp_path / "go").touch()
        text = terminal.end()
    assert plain(text) == "3 done\n"
    assert (tmp_path / "out").read_bytes() == b"ready\ndata\n"


def test_ctrl_c_on_a_terminal_leaves_it_clean(tmp_path):
    write(tmp_path, WAITING.replace("SECOND", "sleep()"))
    with Terminal(*PLAIT, "run", "script.py") as terminal:
        wait_until(lambda: "waiting" in terminal.read(), 20, dump=terminal.read)
        terminal.process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        text = terminal.end()
        assert time.monotonic() - begin < 5
        assert terminal.process.returncode == 130
    assert re.fullmatch(r"ready\n0 done, 3 cancelled\nplait: interrupted at script.py, line \d+; .*\n", plain(text))
