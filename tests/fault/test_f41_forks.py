"""F41: plait never forks the driver, which has threads; and a driver that user code forks does no harm."""

from __future__ import annotations

import os

import pytest

from tests.fault.lab import all_gone, run
from tests.leaks import descendants
from tests.support import require_linux

WORK = """
assert [f.result(20) for f in [echo(n) for n in range(100)]] == list(range(100))
assert bash_app(lambda: "true")().result(20) == 0
assert isinstance(python_app(tasks.crash)("os._exit").exception(20), Exception)
"""


@pytest.mark.parametrize("executor", ["ProcessPoolExecutor(max_workers=2)", "ThreadPoolExecutor(max_threads=2)"])
def test_no_fork_of_ours(executor):
    """Commands and the zygote are started by exec: the hooks of a fork never run in the driver."""
    body = f"""
    def forked():
        import traceback
        traceback.print_stack()
        print("FORKED", flush=True)
    os.register_at_fork(before=forked)
    import warnings
    warnings.simplefilter("error", DeprecationWarning)
    with load(executors=[{executor}], initialize_logging=True):
        assert [f.result(20) for f in [echo(n) for n in range(100)]] == list(range(100))
        assert bash_app(lambda: "true")().result(20) == 0
    print("done")
    """
    code, text = run(body)
    assert (code, text.strip()) == (0, "done")


ENDS = {
    "returns from the block": "",
    "sys.exit": "sys.exit(0)",
    "os._exit": "os._exit(0)",
    "an exception": "raise ValueError('of the child')",
    "cleanup": "kernel.cleanup(); sys.exit(0)",
    "exec": "os.execv('/bin/true', ['true'])",
    "a call is refused": "\n            try: echo(1)\n            except plait.errors.NoDataFlowKernelError: os._exit(0)\n            os._exit(1)",
    "a run of its own": "plait.clear(); child = load(); ok = echo(7).result(20) == 7; child.cleanup(); os._exit(0 if ok else 1)",
    "garbage": "import gc; del futures; gc.collect(); os._exit(0)",
    "waits": "plait.wait_for_current_tasks() if plait.kernel.loader.current_kernel() else None; os._exit(0)",
}


@pytest.mark.parametrize("mode", ["cleanup", "wait"])
@pytest.mark.parametrize("end", ENDS)
def test_the_driver_is_forked(end, mode):
    require_linux("child subreaper")
    before = descendants()
    body = f"""
    import plait.kernel.loader
    with load(exit_mode={mode!r}, initialize_logging=True) as kernel:
        futures = [echo(b"x" * 200_000) for n in range(5)] + [python_app(time.sleep)(0.2)]
        pid = os.fork()
        if pid == 0:
            {ENDS[end] or "pass"}
        else:
            def reap():
                global status
                status = os.waitpid(pid, 0)[1]
            reaper = threading.Thread(target=reap, daemon=True)
            reaper.start(); reaper.join(10)
            print("status", status, flush=True)
            assert [len(f.result(20)) for f in futures[:5]] == [200_000] * 5
            assert echo(2).result(20) == 2
            print("parent goes on", flush=True)
    """
    code, text = run(body)
    assert "parent goes on" in text, text
    assert code == 0, text
    assert ("status 256" if end == "an exception" else "status 0") in text, text
    all_gone(before, 2.0)


def test_multiprocessing_by_fork_beside_it():
    body = """
    import multiprocessing
    with load():
        first = [echo(n) for n in range(50)]
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(abs, range(-50, 0)) == list(range(50, 0, -1))
            assert [f.result(20) for f in first] == list(range(50))
        assert echo(1).result(20) == 1
    print("done")
    """
    code, text = run(body)
    assert (code, text.strip()) == (0, "done")


def test_a_child_is_ended_by_sigterm_as_without_a_run():
    """`multiprocessing` ends its workers so, and waits for them: an exception in their place may meet a finalizer, which drops it."""
    body = """
    import signal
    with load():
        pid = os.fork()
        if pid == 0:
            while True:
                try:
                    signal.sigtimedwait([], 0.05)  # `signal.pause` sleeps on where the signal comes just before it
                except BaseException:
                    pass
        os.kill(pid, signal.SIGTERM)
        print(os.waitpid(pid, 0)[1] == signal.SIGTERM, signal.getsignal(signal.SIGTERM) != signal.SIG_DFL)
    """
    code, text = run(body, env={**os.environ, "PYTHONWARNINGS": "ignore:This process:DeprecationWarning"})
    assert (code, text.strip()) == (0, "True True")


def test_a_task_uses_multiprocessing():
    body = """
    def inner(context):
        import multiprocessing
        with multiprocessing.get_context(context).Pool(2) as pool:
            return pool.map(abs, range(-5, 0))
    with load():
        print([python_app(inner)(context).result(30) for context in ("fork", "fork")], echo(1).result(20))
    """
    code, text = run(body)
    assert (code, text.strip()) == (0, "[[5, 4, 3, 2, 1], [5, 4, 3, 2, 1]] 1")
