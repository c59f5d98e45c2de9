"""Signals in the middle of a call, where the interpreter looks for them."""

from __future__ import annotations

import opcode
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

#: The instructions after which it does.
LOOKS = ("CALL", "RESUME", "JUMP_BACKWARD", "JUMP_ABSOLUTE")


class Interrupt:
    """A Ctrl-C at the given one of the places in these functions, counted from 1 as they are passed.

    Attributes:
        came: whether that place was reached.
    """

    def __init__(self, functions: tuple[Callable[..., Any], ...], place: int) -> None:
        self.came = False
        self._codes: set[CodeType] = {function.__code__ for function in functions}
        self._left = place
        self._before: dict[FrameType, str] = {}

    def __enter__(self):
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        self._before.clear()

    def _call(self, frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code not in self._codes:
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
