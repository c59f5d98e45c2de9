"""Quantities as people write them: ``"4GB"``, ``"10m"``, ``"01:30:00"``."""

from __future__ import annotations

import math
import re
from typing import Any, Final

_BYTES: Final = {
    "": 1, "B": 1,
    "K": 10**3, "KB": 10**3, "M": 10**6, "MB": 10**6, "G": 10**9, "GB": 10**9, "T": 10**12, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip
_SECONDS: Final = {"": 1.0, "S": 1.0, "MS": 0.001, "M": 60.0, "MIN": 60.0, "H": 3600.0, "D": 86400.0}
_PART = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*([A-Za-z]*)")


def is_utf8(text: str) -> bool:
    """Whether it can be written down and sent: names of files may hold bytes that are no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def number_of(value: Any) -> float | None:
    """The number that it is, those of numpy included; infinite where it is too large for a float. None for what is none: texts, True, NaN."""
    if isinstance(value, bool):
        return None
    if not isinstance(value, (int, float)):
        import numbers  # rarely needed

        if not isinstance(value, numbers.Real):
            return None
    try:
        number = float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    return None if math.isnan(number) else number


def parse_bytes(value: float | str, name: str = "memory") -> int:
    """Bytes of ``"4GB"``, ``"512MiB"`` or a number of bytes.

    Raises:
        ValueError: naming ``name``, the value and what was expected.
    """
    expected = 'expected a number of bytes or text such as "4GB" or "512MiB"'
    number, unit = number_of(value), ""
    if number is None:
        match = _PART.fullmatch(value) if isinstance(value, str) else None
        if match is None or match[2].upper() not in _BYTES:
            raise ValueError(f"{name}={value!r}: {expected}")
        number, unit = float(match[1]), match[2].upper()
    if number < 0:
        raise ValueError(f"{name}={value!r}: {expected}, not negative")
    size = number * _BYTES[unit]
    if size == math.inf:
        raise ValueError(f"{name}={value!r}: {expected}")
    return int(size)


def parse_duration(value: float | str, name: str = "walltime") -> float:
    """Seconds of ``"10m"``, ``"1h30m"``, ``"HH:MM:SS"``, ``"D-HH:MM:SS"`` or a number of seconds.

    Raises:
        ValueError: naming ``name``, the value and what was expected.
    """
    expected = 'expected seconds, or text such as "10m", "1h30m" or "01:30:00"'
    seconds = number_of(value)
    if seconds is None:
        seconds = -1.0
        if isinstance(value, str) and value.strip():
            seconds = _clock(value) if ":" in value else _parts(value)
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{name}={value!r}: {expected}")
    return seconds


def _clock(text: str) -> float:
    days, dash, clock = text.strip().rpartition("-")
    fields = clock.split(":")
    if len(fields) > 3 or not all(field.isdecimal() for field in fields):
        return -1.0
    if dash and (not days.isdecimal() or len(fields) != 3):
        return -1.0
    seconds = 0.0
    for field in fields:
        seconds = seconds * 60 + float(field)
    return seconds + (float(days) * 86400 if dash else 0)


def _parts(text: str) -> float:
    seconds, at = 0.0, 0
    text = text.strip()
    while at < len(text):
        match = _PART.match(text, at)
        if match is None or match[2].upper() not in _SECONDS:
            return -1.0
        seconds += float(match[1]) * _SECONDS[match[2].upper()]
        at = match.end()
    return seconds


def format_bytes(count: float) -> str:
    """``"4.0 GB"`` for 4e9."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def format_duration(seconds: float) -> str:
    """``"350 ms"``, ``"12.3 s"``, ``"4m05s"``, ``"2h03m"``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds + 0.5), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m"
