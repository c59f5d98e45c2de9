"""Scripts of jobs, put together from values that are looked at, so that no value can add a line to them.

Quoting is not enough here: a batch system reads ``#SBATCH --job-name='a`` and ``#SBATCH --account=b'`` as two directives, whatever a shell would make of them.
So a value with anything in it that is no printable character is refused, and names have letters, digits, ``. _ -`` only.
Two parameters are lines by contract and are taken as they are: ``scheduler_options`` and ``worker_init``.
"""

from __future__ import annotations

import math
import re
import shlex
from typing import Any, Final

from plait.errors import ConfigurationError
from plait.model.units import parse_duration

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
#: Seconds that a command may be given: the system cannot wait for more than 24 days at once.
_MOST_S: Final = 1_000_000
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Variables by which a user of a block could make its batch system, or the loader of programs, do something else.
_FORBIDDEN: Final = re.compile(r"(SLURM|SBATCH|PBS|SGE|LSB|LD|DYLD)_.*")


class Script:
    """A script for a batch system.

    Args:
        prefix: what directives begin with, such as ``#SBATCH``.
        interpreter: the first line's program.
    """

    def __init__(self, prefix: str, interpreter: str = "/bin/bash") -> None:
        self._prefix = prefix
        self._head = [f"#!{interpreter}"]
        self._body: list[str] = []

    def option(self, name: str, value: str | float | None = None) -> None:
        """A directive: ``name=value`` after two hyphens, ``name value`` after one, or the name alone."""
        text = "" if value is None else _text(name, value)
        joint = "" if not text else "=" if name.startswith("--") else " "
        self._head.append(f"{self._prefix} {name}{joint}{text}")

    def raw(self, text: str) -> None:
        """Lines that a user wrote: directives among them must begin as the batch system wants it."""
        if text:
            self._head += text.rstrip("\n").splitlines()

    def line(self, text: str) -> None:
        """A line, or several, of bash, below all directives."""
        self._body += text.rstrip("\n").split("\n")

    def export(self, name: str, value: str | float) -> None:
        """A variable for the job."""
        if not _VARIABLE.fullmatch(name) or _FORBIDDEN.fullmatch(name):
            raise ConfigurationError(
                f"variable {name!r} of a job: expected a name that is nobody else's, such as OMP_NUM_THREADS"
            )
        self._body.append(f"export {name}={shlex.quote(_text(name, value))}")

    def text(self) -> str:
        """The whole."""
        return "\n".join([*self._head, *self._body, ""])


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        raise ConfigurationError(f"{name}={value!r}: expected a text or a number")
    if isinstance(value, (int, float)):
        if not math.isfinite(value):
            raise ConfigurationError(f"{name}={value!r}: expected a number")
        return f"{value:g}" if isinstance(value, float) else str(value)
    return checked_text("a job's script", name, value)


# ------------------------------------------------------------------ parameters of providers
def checked_text(owner: str, parameter: str, value: Any) -> str:
    """A text that stays on its line.

    Raises:
        ConfigurationError: it is none.
    """
    if not isinstance(value, str) or not value or not value.isprintable() or value != value.strip():
        raise ConfigurationError(
            f"{owner}({parameter}={value!r}): expected a text of printable characters on one line, without blanks around it"
        )
    return value


def checked_word(owner: str, parameter: str, value: Any) -> str | None:
    """A text without blanks and quotes, as names of queues and accounts are, which does not look like an option; None passes.

    Raises:
        ConfigurationError: it is none.
    """
    if value is None:
        return None
    text = checked_text(owner, parameter, value)
    if text.startswith("-") or any(letter.isspace() or letter in "'\"`\\;#$" for letter in text):
        raise ConfigurationError(
            f"{owner}({parameter}={value!r}): expected a name without blanks, quotes and other signs of a shell"
        )
    return text


def checked_lines(owner: str, parameter: str, value: Any) -> str:
    """Lines of bash or of directives, as they are.

    Raises:
        ConfigurationError: it is no text.
    """
    if not isinstance(value, str) or "\0" in value:
        raise ConfigurationError(f"{owner}({parameter}={value!r}): expected lines of text")
    return value


def checked_whole(owner: str, parameter: str, value: Any, least: int = 1) -> int | None:
    """A whole number from ``least``; None passes.

    Raises:
        ConfigurationError: it is none.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise ConfigurationError(f"{owner}({parameter}={value!r}): expected a whole number from {least}, or None")
    return value


def checked_seconds(owner: str, parameter: str, value: Any) -> float:
    """Seconds, more than 0.

    Raises:
        ConfigurationError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= _MOST_S:
        raise ConfigurationError(
            f"{owner}({parameter}={value!r}): expected seconds, more than 0 and at most {_MOST_S:,}"
        )
    return value


def checked_yes(owner: str, parameter: str, value: Any) -> bool:
    """True or False.

    Raises:
        ConfigurationError: it is something else.
    """
    if not isinstance(value, bool):
        raise ConfigurationError(f"{owner}({parameter}={value!r}): expected True or False")
    return value


def walltime_s(owner: str, value: Any) -> int:
    """Seconds of ``"01:30:00"``, ``"90m"`` or a number of seconds.

    Raises:
        ConfigurationError: it is no time, or none at all.
    """
    try:
        seconds = parse_duration(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise ConfigurationError(
            f'{owner}(walltime={value!r}): expected a time such as "01:30:00" (hours:minutes:seconds) or "90m"'
        )
    return math.ceil(seconds)


def clock(seconds: int) -> str:
    """``hours:minutes:seconds``, as batch systems take it."""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def job_name(text: str, most: int) -> str:
    """A job's name that every batch system takes: letters, digits, ``. _ -``, at most so many. What is cut out is the middle."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", text)
    name = name if re.match(r"[A-Za-z]", name) else f"p{name}"
    if len(name) > most:
        keep = most // 2
        name = f"{name[: most - keep]}{name[-keep:]}"
    return name


def is_job_name(text: str) -> bool:
    """Whether it is a name as `job_name` makes them."""
    return bool(_NAME.fullmatch(text))
