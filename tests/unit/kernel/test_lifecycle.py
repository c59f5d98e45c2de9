"""The beginning and the end of a run: folder, log, exit modes, cleanup, interpreter exit, fork."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import plait
from plait._util import procs
from plait.errors import ConfigurationError, NoDataFlowKernelError
from plait.executors.base import Executor, ExecutorStatus
from plait.kernel.lifecycle import _RunLog
from plait.model.task import TaskState
from plait.monitoring.runs import glance
from tests.support import require_linux, wait_until


def config(*executors, **options):
    options = {"initialize_logging": False, "progress": False, **options}
    return plait.Config(executors or [plait.ThreadPoolExecutor()], **options)


class Broken(Executor):
    label = "broken"

    def start(self, context):
        raise OSError("no start")

    def submit(self, task):
        raise AssertionError

    def cancel(self, task, attempt):
        return True

    def status(self):
        return ExecutorStatus(1, 0, 0)

    def shutdown(self, timeout_s):
        raise OSError("no end")


one = plait.python_app(lambda: 1)


# ------------------------------------------------------------------ folders and logs
def test_a_run_without_files_leaves_none(tmp_path):
    with plait.load(config()):
        assert one().result() == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_run_of_processes_without_files_leaves_none(tmp_path):
    with plait.load(config(plait.ProcessPoolExecutor(max_workers=1))):
        assert one().result() == 1
    assert list(tmp_path.iterdir()) == []


def test_a_run_has_a_folder_for_its_owner_with_log_and_journal(tmp_path):
    with plait.load(config(initialize_logging=True)) as kernel:
        assert kernel.run_dir == str(tmp_path / "runinfo" / "000")
        one().result()
    names = set(os.listdir("runinfo/000"))
    assert {"plait.log", "journal.plj"} <= names
    assert os.stat("runinfo/000").st_mode & 0o077 == 0
    log = Path("runinfo/000/plait.log").read_text()
    assert "ended: 1 done" in log
    with plait.load(config(initialize_logging=True)) as kernel:
        assert kernel.run_dir.endswith("001")


def test_who_runs_is_in_the_journal_before_anything_is_begun(monkeypatch):
    monkeypatch.setattr("plait.monitoring.journal.JOURNAL_FLUSH_S", 3600)
    seen = []

    class Looks(plait.ThreadPoolExecutor):
        def start(self, context):
            seen.append(glance(os.path.dirname(context.log_dir(self.label))).started)
            super().start(context)

    with plait.load(config(Looks(), initialize_logging=True)) as kernel:
        assert [(started.run_id, started.pid_space) for started in seen] == [(kernel.run_id, procs.number_space())]


def test_runs_that_start_at_one_moment_have_folders_of_their_own():
    made = []

    def start():
        with plait.DataFlowKernel(config(initialize_logging=True, run_dir="shared")) as kernel:
            made.append(kernel.run_dir)

    threads = [threading.Thread(target=start) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(os.path.basename(path) for path in made) == [f"{n:03d}" for n in range(12)]


def test_a_folder_that_cannot_be_made_is_named_and_nothing_is_left():
    Path("file").touch()
    with pytest.raises(ConfigurationError, match=r"run_dir='file/runs'"):
        plait.load(config(initialize_logging=True, run_dir="file/runs"))
    with pytest.raises(plait.errors.NoDataFlowKernelError):
        plait.dfk()


def test_the_log_says_nothing_per_task_and_is_detached_at_the_end():
    handlers = list(logging.getLogger("plait").handlers)
    with plait.load(config(initialize_logging=True)) as kernel:
        before = Path(kernel.run_dir, "plait.log").read_text()
        plait.wait([one() for _ in range(50)])
        assert Path(kernel.run_dir, "plait.log").read_text() == before
    assert logging.getLogger("plait").handlers == handlers


# ------------------------------------------------------------------ starting
def test_a_start_that_fails_ends_what_had_started():
    threads = threading.active_count()
    with pytest.raises(OSError, match="no start"):
        plait.load(config(plait.ThreadPoolExecutor(), Broken()))
    wait_until(lambda: threading.active_count() == threads)
    with plait.load(config()):  # nothing is in the way
        assert one().result() == 1


def test_executors_may_come_later_and_labels_are_taken_once():
    with plait.load(config()) as kernel:
        kernel.add_executors([plait.ThreadPoolExecutor("more")])
        assert one.options(executors=["more"])().result() == 1
        assert {"threads", "more"} <= kernel.executors.keys()
        with pytest.raises(ConfigurationError, match="is taken"):
            kernel.add_executors([plait.ThreadPoolExecutor("more")])
        with pytest.raises(ConfigurationError, match="expected executors"):
            kernel.add_executors([3])
        with pytest.raises(ConfigurationError, match=r"add_executors\(3\): expected a list of executors"):
            kernel.add_executors(3)


def test_a_run_that_is_over_takes_no_executors():
    """Nobody would end them."""
    with plait.load(config()) as kernel:
        pass
    late = plait.ThreadPoolExecutor("late")
    with pytest.raises(NoDataFlowKernelError, match="cleaned up"):
        kernel.add_executors([late])
    assert late.run_id is None


def test_a_kernel_wants_a_configuration():
    with pytest.raises(ConfigurationError, match=r"DataFlowKernel\(3\): expected a plait.Config"):
        plait.DataFlowKernel(3)


def test_an_executor_belongs_to_one_kernel():
    executor = plait.ThreadPoolExecutor()
    with plait.DataFlowKernel(config(executor)), pytest.raises(ConfigurationError, match="make a new one"):
        plait.DataFlowKernel(config(executor))


# ------------------------------------------------------------------ leaving
@pytest.fixture
def gate():
    """An app that waits until the test opens the gate."""
    event = threading.Event()
    waits = plait.python_app(lambda: event.wait(20) and "done")
    yield waits, event
    event.set()


def test_cleanup_gives_up_what_has_not_ended(gate):
    waits, event = gate
    with plait.load(config(plait.ThreadPoolExecutor(max_threads=1))):
        running, queued = waits(), waits()
        wait_until(lambda: "runs in" in running.explain())
        event.set()  # a thread cannot be ended, so leaving waits for it a little
    assert running.result(1) == "done"
    assert queued.cancelled()
    assert "cleaned up" in queued.explain()


def test_wait_waits_for_the_tasks(gate):
    waits, event = gate
    timer = threading.Timer(0.05, event.set)
    with plait.load(config(plait.ThreadPoolExecutor(max_threads=1), exit_mode="wait")):
        futures = [waits() for _ in range(3)]
        timer.start()
    timer.join()
    assert [f.result() for f in futures] == ["done"] * 3


def test_wait_does_not_wait_when_an_error_leaves_the_block(gate):
    waits, event = gate
    with pytest.raises(KeyError), plait.load(config(plait.ThreadPoolExecutor(max_threads=1), exit_mode="wait")):
        running, queued = waits(), waits()
        wait_until(lambda: "runs in" in running.explain())
        threading.Timer(0.05, event.set).start()
        raise KeyError
    assert queued.cancelled()


def test_an_interrupt_gives_up_what_threads_run_and_says_what_became_of_the_run(gate, capsys):
    waits, event = gate
    settings = plait.Config([plait.ThreadPoolExecutor(max_threads=1)], initialize_logging=False)
    with pytest.raises(KeyboardInterrupt), plait.load(settings):
        assert one().result(5) == 1
        running = waits()
        wait_until(lambda: "runs in" in running.explain())
        running.add_done_callback(lambda _: event.set())
        raise KeyboardInterrupt
    assert running.cancelled()
    assert "plait: interrupted: 1 done, 1 cancelled" in capsys.readouterr().err


def test_an_interrupt_of_the_waiting_ends_the_run(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), plait.load(config(exit_mode="wait")) as kernel:
        monkeypatch.setattr(kernel, "wait_for_current_tasks", interrupted)
    assert kernel.cleanup_called
    assert capsys.readouterr().err == ""  # progress=False


def test_a_log_that_a_full_disk_does_not_take_says_so_once(capfd):
    require_linux("/dev/full")
    log = _RunLog("/dev/full")
    for word in ("one", "two"):
        log.handle(logging.makeLogRecord({"msg": word}))
    with contextlib.suppress(OSError):
        log.close()
    assert capfd.readouterr().err.count("\n") == 1


class Interrupted(Broken):
    """An executor whose end is interrupted by signals, as often as there are exceptions."""

    def __init__(self, *signals):
        self.signals = list(signals)
        self.ends = []

    def start(self, context):
        pass

    def shutdown(self, timeout_s):
        self.ends.append(timeout_s)
        if self.signals:
            raise self.signals.pop(0)


@pytest.mark.parametrize("first", [KeyboardInterrupt, SystemExit])
def test_a_signal_during_the_cleanup_hurries_it_and_another_ends_it_at_once(first):
    executor, restored = Interrupted(first, KeyboardInterrupt), []
    kernel = plait.load(config(executor))
    kernel.on_cleanup.append(lambda: restored.append(True))
    with pytest.raises(KeyboardInterrupt):
        kernel.cleanup()
    often, hurried, at_once = executor.ends
    assert often > 5.0 >= hurried > 1.0 > at_once
    assert restored == [True]
    with pytest.raises(plait.errors.NoDataFlowKernelError):
        plait.dfk()


def test_sigterm_during_the_cleanup_ends_the_run_in_order():
    executor = Interrupted(SystemExit)
    with pytest.raises(SystemExit), plait.load(config(executor)) as kernel:
        handler = signal.getsignal(signal.SIGTERM)
    assert len(executor.ends) == 2
    assert kernel._closed.is_set()
    assert signal.getsignal(signal.SIGTERM) != handler


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_signal_during_the_cleanup_at_the_exit_of_the_interpreter_is_told_to_nobody(error):
    executor = Interrupted(error)
    kernel = plait.load(config(executor))
    kernel._at_exit()
    assert len(executor.ends) == 2
    assert kernel._closed.is_set()


def test_skip_leaves_the_run_as_it_is():
    with plait.load(config(exit_mode="skip")) as kernel:
        pass
    assert not kernel.cleanup_called
    assert one().result() == 1
    kernel.cleanup()


def test_cleanup_twice_and_from_many_threads_does_no_harm():
    made = []
    loading = threading.Thread(target=lambda: made.append(plait.load(config())))
    loading.start()
    loading.join()
    (kernel,) = made
    threads = [threading.Thread(target=kernel.cleanup) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kernel.cleanup()
    assert kernel.cleanup_called


def test_leaving_a_block_that_another_thread_ends_waits_for_that():
    held, go = threading.Event(), threading.Event()
    with plait.load(config()) as kernel:
        kernel.on_cleanup.insert(0, lambda: (held.set(), go.wait(10)))
        ending = threading.Thread(target=kernel.cleanup)
        ending.start()
        assert held.wait(10)
        threading.Timer(0.05, go.set).start()
    with plait.load(config()):
        assert one().result(5) == 1
    ending.join()


def test_a_step_that_fails_does_not_keep_the_others(caplog):
    class Stubborn(Broken):
        def start(self, context):
            pass

    with plait.load(config(Stubborn(), plait.ThreadPoolExecutor())):
        assert one.options(executors=["threads"])().result() == 1
    assert "a step of the cleanup failed" in caplog.text
    with pytest.raises(plait.errors.NoDataFlowKernelError):
        plait.dfk()


def test_cleanup_is_bounded_even_when_a_thread_does_not_end(gate):
    waits, _ = gate
    kernel = plait.load(config())
    future = waits()
    wait_until(lambda: "runs in" in future.explain())
    begin = time.monotonic()
    kernel.cleanup(timeout_s=0.3)
    assert time.monotonic() - begin < 3
    assert future.cancelled()


@pytest.mark.parametrize("mode", ["cleanup", "wait"])
def test_leaving_a_block_does_not_wait_for_what_runs_in_threads(gate, mode, monkeypatch):
    monkeypatch.setattr("plait.kernel.lifecycle.GRACE_S", 0.2)
    waits, _ = gate
    begin = time.monotonic()
    with contextlib.suppress(KeyError), plait.load(config(exit_mode=mode)):
        future = waits()
        wait_until(lambda: "runs in" in future.explain())
        if mode == "wait":
            raise KeyError
    assert time.monotonic() - begin < 3
    assert future.cancelled()


# ------------------------------------------------------------------ looking
def test_waiting_for_current_tasks_does_not_raise_their_errors():
    with plait.load(config()) as kernel:
        bad = plait.python_app(lambda: 1 / 0)()
        plait.wait_for_current_tasks()
        assert bad.done()
        counts = kernel.task_state_counts
        assert (counts[TaskState.failed], sum(counts.values())) == (1, 1)
        assert kernel.failures == {("ZeroDivisionError", "<lambda>"): (1, 0)}
        assert kernel.app_counts["<lambda>"][TaskState.failed] == 1


def test_times_are_told_in_wall_clock():
    with plait.load(config()) as kernel:
        assert kernel.wall_time(None) is None
        assert abs(kernel.wall_time(time.monotonic()).timestamp() - time.time()) < 5


# ------------------------------------------------------------------ whole programs
def program(text, tmp_path, **popen):
    script = tmp_path / "program.py"
    script.write_text("import plait, sys, os, time\n" + text)
    return subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen
    )


ENDLESS = """
@plait.python_app
def endless():
    time.sleep(1000)
@plait.python_app
def quick():
    return 1
"""


@pytest.mark.slow
def test_a_program_that_just_ends_ends_cleanly(tmp_path):
    with program(ENDLESS + "print(quick().result())", tmp_path) as process:
        out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("1\n", "", 0)


@pytest.mark.slow
def test_a_program_that_ends_with_unfinished_tasks_says_so(tmp_path):
    with program(ENDLESS + "endless(); quick().result(); endless()", tmp_path) as process:
        _, err = process.communicate(timeout=30)
    assert "the program ends while 2 tasks are unfinished; they are cancelled" in err
    assert process.returncode == 0


@pytest.mark.slow
def test_a_program_that_ends_does_not_wait_for_commands_of_threads(tmp_path):
    text = """
plait.load(plait.Config([plait.ThreadPoolExecutor()], initialize_logging=False))
future = plait.bash_app(lambda: "echo up; exec sleep 1000")()
sys.stdin.readline()
"""
    with program(text, tmp_path, stdin=subprocess.PIPE) as process:
        assert process.stdout.readline() == "up\n"
        begin = time.monotonic()
        _, err = process.communicate("go on\n", timeout=30)
    assert time.monotonic() - begin < 5
    assert "the program ends while 1 task is unfinished; it is cancelled. Wait for the futures" in err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_end_a_program_in_order(tmp_path, number):
    text = ENDLESS + "with plait.load():\n  f = endless(); quick().result(); print('up', flush=True); f.result()"
    with program(text, tmp_path) as process:
        assert process.stdout.readline() == "up\n"
        begin = time.monotonic()
        process.send_signal(number)
        process.communicate(timeout=20)
    assert time.monotonic() - begin < 5
    assert process.returncode != 0
    assert "1 cancelled" in (tmp_path / "runinfo" / "000" / "plait.log").read_text()


@pytest.mark.slow
def test_a_fork_of_the_driver_does_no_harm(tmp_path):
    text = """
import threading
with plait.load(plait.Config([plait.ThreadPoolExecutor()], initialize_logging=False)) as kernel:
    app = plait.python_app(lambda x: x + 1)
    assert app(1).result() == 2
    over = threading.Event()
    unfinished = plait.python_app(over.wait)()
    pid = os.fork()
    if pid == 0:
        kernel.cleanup()  # not the child's to end
        try:
            unfinished.result()
        except RuntimeError as error:
            print("no end:", error, flush=True)
        own = plait.python_app(lambda x: x, data_flow_kernel=kernel)
        try:
            own(1)
        except plait.errors.NoDataFlowKernelError as error:
            print("refused:", "forked" in str(error), flush=True)
        with plait.load(plait.Config([plait.ThreadPoolExecutor()], initialize_logging=False)):
            print("child:", app(2).result(), flush=True)
        os._exit(0)
    print("status", os.waitpid(pid, 0)[1], flush=True)
    over.set()
    print("parent:", app(3).result(), unfinished.result())
"""
    with program(text, tmp_path) as process:
        out, err = process.communicate(timeout=30)
    no_end, *rest = out.splitlines()
    assert no_end.startswith("no end: task 1 (wait) had not ended when this process was forked"), err
    assert rest == ["refused: True", "child: 3", "status 0", "parent: 4 True"], err


@pytest.mark.parametrize(
    "make",
    [plait.ThreadPoolExecutor, lambda: plait.ProcessPoolExecutor(max_workers=1)],
    ids=["threads", "processes"],
)
def test_one_configuration_serves_one_run_after_another(make):
    config = plait.Config(executors=[make()], initialize_logging=False, progress=False)
    for _ in range(2):
        with plait.load(config):
            assert plait.python_app(abs)(-3).result() == 3


def test_tasks_that_ask_for_no_nodes_go_where_tasks_have_cores():
    class Nodes(plait.ThreadPoolExecutor):
        gives_nodes = True

    def where():
        return threading.current_thread().name

    with plait.load(config(Nodes(label="nodes"), plait.ThreadPoolExecutor(label="cores"))):
        names = {future.result() for future in [plait.python_app(where)() for _ in range(40)]}
        assert names
        assert not [name for name in names if "nodes" in name]
        assert "nodes" in plait.python_app(executors=["nodes"])(where)().result()


def test_an_executor_that_is_added_while_another_thread_ends_the_run_is_ended():
    class Late(plait.ThreadPoolExecutor):
        def start(self, context):
            super().start(context)
            ending = threading.Thread(target=kernel.cleanup)
            ending.start()
            ending.join(20)

        def shutdown(self, timeout_s):
            ended.append(self)
            super().shutdown(timeout_s)

    ended = []
    late = Late("late")
    with plait.load(config()) as kernel, pytest.raises(NoDataFlowKernelError):
        kernel.add_executors([late])
    assert ended == [late]
