"""Environment variables that users give for other processes."""

from __future__ import annotations

import os
from typing import Any


def can_be_set(name: Any, value: Any) -> bool:
    """Whether a process can be started with this variable, or without it where the value is None."""
    return bool(_is_text(name) and name and "=" not in name and (value is None or _is_text(value)))


def _is_text(value: Any) -> bool:
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:  # half of a pair of surrogates
        return False
    return True
