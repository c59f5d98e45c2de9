"""Tracebacks as a script's author wants them: their own lines and those of their libraries, without the machinery that ran them."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING

from plait.errors import PlaitError

if TYPE_CHECKING:
    from types import TracebackType

_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
#: Raises the errors of tasks.
_FUTURES = os.path.join(_HOME, "futures.py")


def print_error(error: BaseException) -> None:
    """Prints an error that a script did not catch, in the way that the script wants if it has set one."""
    hook = sys.excepthook
    # The backport of exception groups sets one on Python 3.10 as soon as any library loads it: that is no wish of the script.
    if hook is not sys.__excepthook__ and not getattr(hook, "__module__", "").startswith("exceptiongroup."):
        hook(type(error), error, error.__traceback__)
        return
    print(text_of(error), end="", file=sys.stderr)


def text_of(error: BaseException) -> str:
    """The traceback without plait's frames."""
    report = traceback.TracebackException(type(error), error, error.__traceback__)
    seen: set[int] = set()
    _clean(report, error, seen)
    return "".join(report.format())


def _clean(report: traceback.TracebackException, error: BaseException | None, seen: set[int]) -> None:
    """Takes plait's frames away, in the causes too."""
    if id(report) in seen or error is None:
        return
    seen.add(id(report))
    kept = [frame for frame in report.stack if not _is_ours(frame.filename)]
    # An error that comes from within plait and is none of those it means to raise is a bug, whose report needs every frame.
    last = report.stack[-1].filename if report.stack else ""
    is_bug = _is_ours(last) and last != _FUTURES and not isinstance(error, (PlaitError, ValueError, TypeError))
    if not is_bug:
        report.stack[:] = kept
    for inner, cause in ((report.__cause__, error.__cause__), (report.__context__, error.__context__)):
        if inner is not None:
            _clean(inner, cause, seen)


def _is_ours(filename: str) -> bool:
    return filename.startswith(_HOME)


def where_in(path: str, trace: TracebackType | None) -> str:
    """``fit.py, line 12``: the innermost line of a file that was being run; empty when there is none."""
    line = 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{os.path.basename(path)}, line {line}" if line else ""
