"""The functions that the benchmarks run. They live in a module of their own so that every worker can import them."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def noop(*_: object) -> None:
    """Do nothing."""


def identity(value: Any) -> Any:
    """Return the argument."""
    return value


def increment(number: int) -> int:
    """Return the next number."""
    return number + 1


def add(*numbers: int) -> int:
    """Return the sum, kept small so that deep graphs do not turn into big-integer arithmetic."""
    return sum(numbers) % 1_000_003


def plus_one(array: NDArray[Any]) -> NDArray[Any]:
    """Read every element of an array and return a new one of the same size."""
    return array + 1


def sleep(seconds: float) -> None:
    """Sleep."""
    time.sleep(seconds)


def wait_for_file(path: str) -> None:
    """Hold a worker until a file appears."""
    while not os.path.exists(path):
        time.sleep(0.02)


def run_true() -> int:
    """Run the shell command `true` as a Python task does it by hand."""
    return subprocess.run(["/bin/bash", "-c", "true"], check=True).returncode


def true_command() -> str:
    """Return the command line of a bash app that runs `true`."""
    return "true"


def meet(directory: str, number: int) -> None:
    """Return when that many tasks are in here."""
    open(os.path.join(directory, str(os.getpid())), "w").close()
    while len(os.listdir(directory)) < number:
        time.sleep(0.005)
