"""``plait report``: a run as one HTML file."""

from __future__ import annotations

import os

from plait._util.files import is_replaceable, write_whole
from plait.cli.main import DONE
from plait.errors import ConfigurationError
from plait.model.units import format_bytes
from plait.monitoring.report import render
from plait.monitoring.runs import find_run, read_run


def write_report(which: str, run_dir: str, output: str) -> int:
    """Writes the file; returns the exit code.

    Raises:
        RunNotFound: there is no such run.
        ConfigurationError: the file cannot be written.
        OSError: the run cannot be read.
    """
    folder = find_run(which, run_dir)
    page = render(read_run(folder))
    try:
        write_whole(output, page)
    except OSError as error:
        raise ConfigurationError(
            f"--output {output}: {error.strerror or error}; name a file that you may write"
        ) from error
    if is_replaceable(output):
        print(f"{output}: {format_bytes(os.path.getsize(output))}, run {os.path.basename(os.path.normpath(folder))}")
    return DONE
