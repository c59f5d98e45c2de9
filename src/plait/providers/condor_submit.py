"""Submit descriptions of HTCondor, put together from values that are looked at, so that no value can add a command.

A line ends a value, unless a backslash is the last thing on it; ``$(name)`` is replaced wherever it stands. So what must stay as it is has its dollars
written as ``$(DOLLAR)``, and values with line breaks, or with a backslash at their end, are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from plait.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Variables by which a user of a block could make HTCondor, or the loader of programs, do something else.
_FORBIDDEN: Final = re.compile(r"_?CONDOR_.*|LD_.*|DYLD_.*", re.IGNORECASE)


class Description:
    """A submit description."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def literal(self, name: str, value: str | float) -> None:
        """A command whose value is taken as it is: a path, a number, a name."""
        text = f"{value:g}" if isinstance(value, float) else str(value)
        self._lines.append(f"{name} = {checked_value(name, text).replace('$', '$(DOLLAR)')}")

    def expression(self, name: str, value: str) -> None:
        """A command whose value is a ClassAd expression."""
        self._lines.append(f"{name} = {checked_value(name, value)}")

    def attribute(self, name: str, value: str) -> None:
        """An attribute of the job that is a text."""
        text = checked_value(name, value).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$(DOLLAR)")
        self._lines.append(f'+{name} = "{text}"')

    def environment(self, variables: Mapping[str, str] | None) -> None:
        """Variables of the job."""
        if variables:
            words = " ".join(f"{name}={_word(value)}" for name, value in variables.items())
            self._lines.append(f'environment = "{words}"')

    def raw(self, text: str) -> None:
        """Lines that a user wrote."""
        self._lines += text.rstrip("\n").splitlines()

    def text(self) -> str:
        """The whole, which submits one job."""
        return "\n".join([*self._lines, "queue 1", ""])


def _word(value: str) -> str:
    """A value as the new syntax of ``environment`` has it: in single quotes, and both kinds of quotes twice."""
    return "'" + value.replace("'", "''").replace('"', '""').replace("$", "$(DOLLAR)") + "'"


# ------------------------------------------------------------------ parameters
def checked_value(name: str, value: Any) -> str:
    """A text that stays on its line.

    Raises:
        ConfigurationError: it does not.
    """
    if (
        not isinstance(value, str)
        or not value
        or not value.isprintable()
        or value != value.strip()
        or value.endswith("\\")
    ):
        raise ConfigurationError(
            f"CondorProvider({name}={value!r}): expected a text of printable characters on one line, without blanks around it or a backslash at its end"
        )
    return value


def checked_environment(value: Mapping[str, str] | None) -> dict[str, str] | None:
    """Variables for jobs.

    Raises:
        ConfigurationError: a name is none or somebody else's, or a value has a line break.
    """
    if not value:
        return None
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"CondorProvider(environment={value!r}): expected names of variables and their values")
    variables = dict(value)
    for name, text in variables.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name) or _FORBIDDEN.fullmatch(name):
            raise ConfigurationError(
                f"CondorProvider(environment={{{name!r}: …}}): expected the name of a variable that is nobody else's"
            )
        if not isinstance(text, str) or not (text.isprintable() or not text):
            raise ConfigurationError(
                f"CondorProvider(environment={{{name!r}: {text!r}}}): expected a text of printable characters on one line"
            )
    return variables


def checked_files(value: Sequence[str] | None) -> tuple[str, ...]:
    """Names of files, which HTCondor separates by commas.

    Raises:
        ConfigurationError: a name has one, or is none.
    """
    if value is not None and not isinstance(value, (str, list, tuple)):
        raise ConfigurationError(f"CondorProvider(transfer_input_files={value!r}): expected a list of names of files")
    files = [value] if isinstance(value, str) else list(value or ())
    for name in files:
        if "," in checked_value("transfer_input_files", name):
            raise ConfigurationError(
                f"CondorProvider(transfer_input_files=[{name!r}]): HTCondor cannot transfer files with commas in their names"
            )
    return tuple(files)


def checked_memory(value: Any) -> float | None:
    """Gigabytes; None passes.

    Raises:
        ConfigurationError: it is no number, or none above 0.
    """
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf
    ):
        raise ConfigurationError(f"CondorProvider(mem_per_slot={value!r}): expected gigabytes, more than 0")
    return value
