"""Amazon's EC2 as moto has it, in a process of its own: started once for all tests of a session, because it takes seconds."""

from __future__ import annotations

import atexit
import importlib.util
import os
import socket
import subprocess
import sys
import urllib.request
from functools import cache

from tests.support import require, wait_until

KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_EC2_METADATA_DISABLED": "true"}


@cache
def server() -> str:
    """Its address. To be called from a fixture of wider scope than a test's, so that the process is not taken for something a test left."""
    require(importlib.util.find_spec("moto") and importlib.util.find_spec("flask"), "moto[server]")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **KEYS},
    )  # fmt: skip

    def stop():
        process.kill()
        process.wait()

    atexit.register(stop)
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: process.poll() is not None or answers(url), 60)
    assert process.poll() is None, "moto's server has ended"
    return url


def answers(url):
    try:
        with urllib.request.urlopen(f"{url}/moto-api/data.json", timeout=5):
            return True
    except OSError:
        return False


def forget(url):
    """Everything in it is gone."""
    with urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST"), timeout=30):
        pass
