"""Signals in the middle of a call, where the interpreter looks for them."""

from __future__ import annotations

import gc
import opcode
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import SRC

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

#: The instructions after which it does: of calls, those of what is written in C, while a function in Python looks at its own begin.
LOOKS = ("CALL", "RESUME", "JUMP_BACKWARD", "JUMP_ABSOLUTE")
_SOURCE = os.path.join(SRC, "")


class Interrupt:
    """A Ctrl-C at the given one of the places in these functions, counted from 1 as they are passed.

    Args:
        place: which one.
        functions: of which the places count; none for all of the package.

    Attributes:
        came: whether that place was reached.
    """

    def __init__(self, place: int, *functions: Callable[..., Any]) -> None:
        self.came = False
        self._codes: set[CodeType] = {function.__code__ for function in functions}
        self._left = place
        self._before: dict[FrameType, str] = {}

    def __enter__(self):
        if sys.version_info >= (3, 12):
            pytest.skip("a tracer is told of every instruction up to Python 3.11 only")
        gc.disable()  # what it calls is no part of these functions, and drops what is raised there
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        gc.enable()
        self._before.clear()

    def _call(self, frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_back in self._before:
            self._before[frame.f_back] = ""
        if frame.f_code not in self._codes and (self._codes or not frame.f_code.co_filename.startswith(_SOURCE)):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step

    def _step(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "opcode":
            name = opcode.opname[frame.f_code.co_code[frame.f_lasti]]
            before = self._before.get(frame, "")
            self._before[frame] = name
            if before.startswith(LOOKS) and name != "CACHE":
                self._left -= 1
                if not self._left:
                    self.came = True
                    raise KeyboardInterrupt
        return self._step
