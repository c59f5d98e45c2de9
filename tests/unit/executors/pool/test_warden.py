"""Commands of threads end with the driver."""

import os
import signal
import subprocess
import sys

from plait._util import procs
from plait.executors.pool.warden import Warden
from tests.support import require_linux, wait_until

DRIVER = """
import plait, sys
@plait.bash_app
def hold(path):
    return f"echo $$ >> {path}; setsid sleep 300 & echo $! >> {path}; sleep 300"
kernel = plait.load(plait.Config(executors=[plait.ThreadPoolExecutor()], initialize_logging=False, progress=False))
future = hold(sys.argv[1])
print("up", flush=True)
future.result()
"""


def _pids(path):
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def test_a_killed_driver_leaves_no_command_of_a_thread(tmp_path):
    require_linux("marks are found in /proc")
    path = tmp_path / "pids"
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(path)], stdout=subprocess.PIPE)
    try:
        assert driver.stdout is not None
        assert driver.stdout.readline() == b"up\n"
        wait_until(lambda: len(_pids(path)) == 2)
        pids = _pids(path)
        assert all(map(procs.is_alive, pids))
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        wait_until(lambda: not any(map(procs.is_alive, pids)), timeout_s=5)
    finally:
        driver.kill()
        driver.wait()
        driver.stdout.close()


def test_closing_ends_what_carries_the_mark_and_nothing_else():
    require_linux("marks are found in /proc")
    warden = Warden()
    marked = subprocess.Popen(["sleep", "300"], env={**os.environ, **dict(warden.env)})
    other = subprocess.Popen(["sleep", "300"])
    try:
        warden.close(10)
        assert marked.wait(10) == -signal.SIGKILL
        assert procs.is_alive(other.pid)
    finally:
        for process in (marked, other):
            process.kill()
            process.wait()
