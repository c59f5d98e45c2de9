"""Errors that pass, errors that stay, and tasks that take too long."""

import tempfile
import time
from pathlib import Path

import plait


@plait.python_app(retries=plait.Retry(3, backoff_s=0.05, on=(ConnectionError,)))
def fetch(folder):
    """Works with the third attempt, as services do."""
    attempts = Path(folder, "attempts")
    n = len(attempts.read_text()) if attempts.exists() else 0
    attempts.write_text("x" * (n + 1))
    if n < 2:
        raise ConnectionError("the service is busy")
    return f"came with attempt {n + 1}"


@plait.python_app(retries=plait.Retry(3, on=(ConnectionError,)))
def divide(a, b):
    return a / b


@plait.python_app(walltime=0.3)
def endless():
    while True:
        time.sleep(1)


@plait.bash_app
def endless_command(walltime=0.3):
    return "sleep 1000 | cat"


with tempfile.TemporaryDirectory() as folder, plait.load():
    print(fetch(folder).result())
    print("divide:", repr(divide(1, 0).exception()), "- not worth another attempt")
    for future in endless(), endless_command():
        print("too long:", type(future.exception()).__name__)
