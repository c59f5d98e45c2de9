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
#: An image that moto has.
IMAGE = "ami-12c6146b"


@cache
def server() -> str:
    """Its address. To be called from a fixture of wider scope than a test's, so that the process is not taken for something a test left."""
    require(importlib.util.find_spec("moto") and importlib.util.find_spec("flask"), "moto[server]")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **KEYS, "MOTO_ENABLE_AMI_VALIDATION": "true"},
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


@cache
def client(region: str):
    """A client of it. Making one takes as long as a hundred requests, so tests of a region share theirs, and what they change in it they change back."""
    import boto3

    session = boto3.session.Session(aws_access_key_id="x", aws_secret_access_key="x", region_name=region)
    return session.client("ec2", endpoint_url=server())
