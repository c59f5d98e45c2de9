"""Bodies of tasks: each leaves its worker in another bad state, or ends it."""

from __future__ import annotations

import gc
import locale
import logging
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings

from plait.testing.tasks import note, notes


def state() -> dict:
    """What the next task in the worker finds."""
    umask = os.umask(0o022)
    os.umask(umask)
    return {
        "cwd": os.getcwd(),
        "umask": umask,
        "environ": {key: value for key, value in os.environ.items() if key != "PLAIT_WORKER"},
        "os.environ is itself": type(os.environ).__name__,
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "handlers": [
            str(signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGALRM)
        ],
        "alarm": signal.getitimer(signal.ITIMER_REAL)[0],
        "stdout": (sys.stdout.fileno(), sys.stdout.closed, os.fstat(1).st_ino),
        "stdin": os.fstat(0).st_ino,
        "threads": threading.active_count(),
        "children": [pid for pid in _children() if pid],
    }


def _children() -> list[int]:
    with open(f"/proc/self/task/{threading.get_native_id()}/children", encoding="ascii") as file:
        return list(map(int, file.read().split()))


def changes_cwd():
    os.chdir("/")


def removes_cwd():
    os.mkdir("own")
    os.chdir("own")
    os.rmdir("../own")


def changes_umask():
    os.umask(0)


def changes_environment():
    os.environ["PLAIT_TEST_LEFT"] = "x"
    os.environ.pop("HOME", None)
    os.environ["PATH"] = "/nowhere"


def replaces_environment():
    os.environ = {"PATH": "/nowhere"}  # noqa: B003 - what a task may do


def blocks_signals():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1})


def sets_handlers():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


def sets_an_alarm():
    signal.setitimer(signal.ITIMER_REAL, 0.3)


def replaces_stdout():
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def closes_stdout():
    sys.stdout.close()


def closes_descriptors():
    os.closerange(0, 3)


def closes_every_descriptor():
    os.closerange(0, 10_000)


def leaves_a_thread():
    threading.Thread(target=time.sleep, args=(1000,), daemon=True, name="left").start()


def leaves_a_thread_that_is_no_daemon():
    threading.Thread(target=time.sleep, args=(1000,), name="left").start()


def leaves_children():
    subprocess.Popen(["sleep", "1000"])
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    subprocess.run(["/bin/bash", "-c", "setsid sleep 1000 & disown"], check=True)
    subprocess.Popen(["/bin/bash", "-c", "trap '' TERM HUP; exec sleep 1000"])


def leaves_a_zombie():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def forks():
    """Both processes return from the task."""
    if os.fork() == 0:
        return "the child's"
    return None


def forks_and_raises():
    if os.fork() == 0:
        raise ValueError("the child's")


def forks_and_exits():
    if os.fork() == 0:
        sys.exit(0)


def listens():
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    leaves_a_thread.socket = listening


def changes_the_interpreter():
    """What is the interpreter's own is not put back; it must do no harm to the worker itself."""
    sys.setrecursionlimit(200)
    gc.disable()
    sys.path.clear()
    sys.modules.pop("pickle", None)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("error")
    random.seed(1)
    locale.setlocale(locale.LC_ALL, "C")
    sys.excepthook = sys.settrace = None
    time.monotonic = None


def lowers_limits():
    resource.setrlimit(resource.RLIMIT_NOFILE, (20, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


HOARD = []


def hoards(megabytes):
    HOARD.append(b"x" * (megabytes << 20))
    return os.getpid()


def stops_itself(path):
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"stops {os.getpid()}\n")
    os.kill(os.getpid(), signal.SIGSTOP)


class DiesWhenDropped:
    def __init__(self, how):
        self.how = how

    def __del__(self):
        if os.environ.get("PLAIT_WORKER"):
            from plait.testing.tasks import crash

            crash(self.how)


def makes_what_dies(how):
    DiesWhenDropped(how)
    return how


def hold_and_tell(path, go):
    note(path, f"runs {os.getpid()}")
    while not os.path.exists(go):
        time.sleep(0.001)
    if len(notes(path)) == 1:
        time.sleep(10)
    return os.getpid()


def big(path, number):
    note(path, f"big {os.getpid()}")
    return "x" * (300_000 if number >= 0 else 0)
