"""Paths that other processes are told."""

from __future__ import annotations

import os
import sys


def search_path() -> list[str]:
    """Where this process looks for modules; entries that are no text count for nothing, as Python passes over them."""
    return [path or os.getcwd() for path in sys.path if isinstance(path, str)]
