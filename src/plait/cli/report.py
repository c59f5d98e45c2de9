"""``plait report``: a run as one HTML file."""

from __future__ import annotations

import os

from plait._util.files import is_replaceable
from plait.cli.main import DONE
from plait.errors import ConfigurationError
from plait.model.units import format_bytes
from plait.monitoring import report
from plait.monitoring.runs import find_run


def write_report(which: str, run_dir: str, output: str) -> int:
    """Writes the file; returns the exit code.

    Raises:
        RunNotFound: there is no such run.
        ConfigurationError: the file cannot be written.
    """
    folder = find_run(which, run_dir)
    try:
        report.write_report(folder, output)
    except OSError as error:
        raise ConfigurationError(
            f"--output {output}: {error.strerror or error}; name a file that you may write"
        ) from error
    if is_replaceable(output):
        print(f"{output}: {format_bytes(os.path.getsize(output))}, run {os.path.basename(os.path.normpath(folder))}")
    return DONE
