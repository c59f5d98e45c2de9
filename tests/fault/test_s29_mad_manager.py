"""S29: a manager with a good key sends messages as fast as it can: the interchange's memory does not grow, and others get their tasks."""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import plait
from plait.testing import tasks
from tests.fault.pilot import interchanges, pilot_jobs, up
from tests.support import ROOT, require_linux, wait_until

echo = plait.python_app(tasks.echo)

MAD = """
import os, sys
import msgspec, zmq
from plait.executors.htex import messages as m
from plait.executors.htex.settings import ManagerSettings
from plait.executors.htex.wire import encode
from tests.unit.executors.htex.link_lab import register
os.nice(19)  # it lives on another host: what it takes of this one's time is not what is looked at
told = msgspec.json.decode(open(sys.argv[1], "rb").read(), type=ManagerSettings)
sock = zmq.Context().socket(zmq.DEALER)
sock.curve_publickey, sock.curve_secretkey, sock.curve_serverkey = (key.encode() for key in (told.public, told.secret, told.server_public))
sock.connect(f"tcp://{told.addresses[0]}:{told.port}")
python = ".".join(map(str, sys.version_info[:3]))
if sys.argv[2] == "registered":
    sock.send(encode(register("0", "mad", workers=1, python=python)))
    sock.recv_multipart()
beat, returned = encode(m.Heartbeat(1.0)), encode(m.Returned([(10**9, 1)]))
print("mad", flush=True)
while True:
    sock.send(beat)
    sock.send(returned)
    while sys.argv[2] != "deaf" and sock.poll(0):
        sock.recv_multipart()
"""


def rate(count: int) -> float:
    """No-op tasks per second."""
    began_s = time.perf_counter()
    futures = [echo(i) for i in range(count)]
    for future in futures:
        future.result(60)
    return count / (time.perf_counter() - began_s)


@pytest.mark.parametrize("who", ["registered", "unknown", "deaf"])
def test_others_have_their_share(who):
    require_linux("reads /proc")
    folder = Path("runs/000/HighThroughputExecutor").absolute()
    options = {"heartbeat_threshold": 60.0}
    with pilot_jobs(max_losses=0, initialize_logging=True, run_dir="runs", options=options) as kernel:
        htex = up(kernel)
        htex.hold_manager("mad")  # or it would get tasks
        rate(1000)
        interchange = psutil.Process(interchanges()[0])
        before = interchange.memory_info().rss
        words = [sys.executable, "-c", MAD, str(folder / "blocks/0.json"), who]
        with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as mad:
            try:
                assert mad.stdout.readline() == b"mad\n"
                rates = {"alone": [], "mad": []}

                def have_half() -> bool:
                    mad.send_signal(signal.SIGSTOP)
                    rates["alone"].append(rate(1500))
                    mad.send_signal(signal.SIGCONT)
                    rates["mad"].append(rate(1500))
                    return len(rates["mad"]) > 3 and max(rates["mad"]) > 0.5 * statistics.median(rates["alone"])

                wait_until(have_half, 30, lambda: rates)
                assert psutil.Process(mad.pid).cpu_times().user > 0.1  # it did what it could
                assert interchange.memory_info().rss - before < 50_000_000
            finally:
                mad.kill()
        assert (folder / "interchange.log").stat().st_size < 50_000
