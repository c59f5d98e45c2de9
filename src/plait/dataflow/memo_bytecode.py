"""Byte code as bytes that say what it does, whatever the layout of its source was.

Comments, empty lines and line breaks leave traces in byte code: line tables, instructions that do nothing, jumps that the compiler would
have shortened, or turned round, had both been of one line, pairs of instructions that it put together because both were. All that is taken out; constants are written by value, jumps by the step that they lead to.
"""

from __future__ import annotations

import dis
import re
from types import CodeType
from typing import TYPE_CHECKING, Any, Final

from plait.dataflow.memo_id import part, tagged, text

if TYPE_CHECKING:
    from collections.abc import Iterator

_JUMPS: Final = frozenset(dis.hasjrel) | frozenset(dis.hasjabs)
_CONSTANTS: Final = frozenset(dis.hasconst)
_NOTHING: Final = frozenset({"NOP", "EXTENDED_ARG", "CACHE"})
_ASSIGN: Final = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL", "STORE_DEREF", "DELETE_DEREF"})
_OPPOSITES: Final = {"TRUE": "FALSE", "FALSE": "TRUE", "NONE": "NOT_NONE", "NOT_NONE": "NONE"}
#: Two accesses to local variables in one: (first, second). The halves of the argument say which variables.
_PAIRS: Final = {
    name: (both[1], both[2])
    for name in dis.opmap
    if (both := re.fullmatch(r"((?:LOAD|STORE)_FAST(?:_BORROW)?)_((?:LOAD|STORE)_FAST(?:_BORROW)?)", name))
}
#: Notes about the source that newer compilers store in class bodies.
SOURCE_NOTES: Final = frozenset({"__firstlineno__", "__static_attributes__"})


def code_form(code: CodeType) -> bytes:
    """What byte code does, without what the layout of its source left in it."""
    flags = code.co_flags & ~0x4000000  # whether there is a docstring
    numbers = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, flags)
    names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    steps, place = _steps(code)
    body = [part(numbers), part(names), part(_handlers(code, place))]
    body += [text(name) + argument for name, argument in steps]
    return tagged(b"k", b"".join(body))


def _steps(code: CodeType) -> tuple[list[tuple[str, bytes]], dict[int, int]]:
    """(instruction, argument) of all that do something, and for each offset the number of the step that is run there."""
    kept: list[dis.Instruction] = []
    place: dict[int, int] = {}
    for step in dis.get_instructions(code):
        if step.opname == "STORE_NAME" and step.argval in SOURCE_NOTES:
            kept.pop()  # what it stores
            place[step.offset] = len(kept)
            continue
        place[step.offset] = len(kept)
        if step.opname in _PAIRS and step.arg is not None:
            first, second = _PAIRS[step.opname]
            kept += [_as(step, first, step.arg >> 4), _as(step, second, step.arg & 15)]
        elif step.opname not in _NOTHING:
            kept.append(step)
    number = _numbers(kept, place)
    steps = []
    for at, step in enumerate(kept):
        if number[at] == number[at + 1]:  # left out
            continue
        if step.opcode not in _JUMPS:
            steps.append((step.opname, _argument(step, code.co_consts)))
        elif number[at + 1] == number[at + 2]:
            steps.append((_opposite(_kind(step)), part(number[_thread(kept[at + 1], kept, place)[1]])))
        else:
            name, to = _thread(step, kept, place)
            steps.append((name, part(number[to])))
    return steps, {offset: number[at] for offset, at in place.items()}


def _numbers(kept: list[dis.Instruction], place: dict[int, int]) -> list[int]:
    """Numbers of the steps once jumps over a jump are turned round: in place of the two, one that jumps in the other case. The second has its follower's.

    Compilers from 3.12 on write both, depending on lines. Whoever jumps to the second is led further (`_thread`).
    """
    numbers: list[int] = []
    count = 0
    left_out = -1
    for at, step in enumerate(kept):
        numbers.append(count)
        if (
            at != left_out
            and at + 2 < len(kept)
            and step.opcode in _JUMPS
            and _opposite(_kind(step))
            and place[step.argval] == at + 2
            and _kind(kept[at + 1]) == "JUMP"
        ):
            left_out = at + 1
        count += at != left_out
    return [*numbers, count, count + 1]


def _opposite(name: str) -> str:
    """The kind of a jump that is made in the other case; empty where there is none."""
    head, _, case = name.partition("POP_JUMP_IF_")
    return "" if head or case not in _OPPOSITES else f"POP_JUMP_IF_{_OPPOSITES[case]}"


def _as(step: dis.Instruction, name: str, argument: int) -> dis.Instruction:
    """The same with something else to do."""
    return step._replace(opname=name, opcode=dis.opmap[name], arg=argument)


def _thread(step: dis.Instruction, kept: list[dis.Instruction], place: dict[int, int]) -> tuple[str, int]:
    """(kind, number of the step) to which a jump leads in the end.

    Compilers shorten a jump to a jump only where both are of one source line; so it is shortened here.
    """
    name, to = _kind(step), place[step.argval]
    for _ in kept:  # an empty endless loop jumps to itself
        target = kept[to]
        if target.opcode not in _JUMPS:
            break
        following = _kind(target)
        if following == "JUMP" or (following == name and name.endswith("OR_POP")):
            to = place[target.argval]
        elif name.startswith("JUMP_IF") and following.removeprefix("POP_").startswith(
            "JUMP_IF"
        ):  # of `and` and `or`, before 3.12
            takes = ("TRUE" in name) == ("TRUE" in following)
            if takes and following.endswith("OR_POP"):
                to = place[target.argval]
            else:
                name = f"POP_{name.removesuffix('_OR_POP')}"
                to = place[target.argval] if takes else to + 1
        else:
            break
    return name, to


def _kind(jump: dis.Instruction) -> str:
    """The name of a jump without its direction."""
    name = jump.opname.replace("FORWARD_", "").replace("BACKWARD_", "")
    return "JUMP" if name in {"JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_ABSOLUTE", "JUMP_NO_INTERRUPT"} else name


def _argument(step: dis.Instruction, constants: tuple[Any, ...]) -> bytes:
    if step.opcode in _CONSTANTS:  # by value: where it stands in the table depends on the docstring
        value = constants[step.arg or 0]
        return code_form(value) if isinstance(value, CodeType) else part(value)
    return part(step.arg)


def _handlers(code: CodeType, place: dict[int, int]) -> list[tuple[Any, ...]]:
    """The table of exception handlers, in numbers of steps. Before 3.11 the instructions say it."""
    parse = getattr(dis, "_parse_exception_table", None)
    if parse is None or not getattr(code, "co_exceptiontable", b""):
        return []
    end = max(place.values()) + 1
    found: list[tuple[Any, ...]] = []
    for entry in parse(code):
        start, stop = place[entry.start], place.get(entry.end, end)
        how = (place[entry.target], entry.depth, entry.lasti)
        if found and found[-1][1:] == (start, *how):  # what was between them is left out
            start = found.pop()[0]
        if start < stop:
            found.append((start, stop, *how))
    return found


def globals_of(code: CodeType) -> set[tuple[str, ...]]:
    """Global names that the code and the code inside it use, each with the attributes that follow it: ``("np", "linalg", "norm")``."""
    found: set[tuple[str, ...]] = set()
    path: tuple[str, ...] = ()
    for step in dis.get_instructions(code):
        if step.opname in {"LOAD_GLOBAL", "LOAD_NAME"}:
            found.add(path)
            path = (step.argval,)
        elif path and step.opname in {"LOAD_ATTR", "LOAD_METHOD"}:
            path = (*path, step.argval)
        elif step.opname not in _NOTHING:
            found.add(path)
            path = ()
    found.add(path)
    for inner in _inner_codes(code):
        found |= globals_of(inner)
    return found - {()}


def assigned_by(code: CodeType) -> frozenset[str]:
    """Names of its module or of functions around it that the code, or code inside it, assigns or deletes; its own variables may be among them."""
    own = {step.argval for step in dis.get_instructions(code) if step.opname in _ASSIGN}
    return frozenset(own).union(*map(assigned_by, _inner_codes(code)))


def _inner_codes(code: CodeType) -> Iterator[CodeType]:
    return (constant for constant in code.co_consts if isinstance(constant, CodeType))
