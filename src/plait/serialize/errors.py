"""Exceptions: class, chain of causes and tracebacks where they can be rebuilt, their text where not."""

from __future__ import annotations

import sys
from types import FunctionType, TracebackType
from typing import TYPE_CHECKING, Any, Final

from plait.errors import DeserializationError, RemoteError, SerializationError, TaskExited, text_of
from plait.serialize.values import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Exceptions of one chain of causes that are sent; the text tells of the others.
MAX_CHAIN: Final = 20
#: Frames of one traceback that are sent, from its start and from its end.
MAX_FRAMES: Final = (20, 40)
#: Characters of the text that are sent.
MAX_TEXT: Final = 20_000

_Frame = tuple[str, str, str, int]  # file, function, module, line


def dump_error(error: BaseException) -> bytes:
    """Bytes of an exception with its tracebacks and causes, whatever it holds."""
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    text = _text(error)
    if not isinstance(error, Exception):  # SystemExit and its like would end whoever asks for the result
        error = TaskExited(type(error).__name__, text_of(error)).with_traceback(error.__traceback__)
    links: list[tuple[bytes | None, list[_Frame], bool]] = []
    for link, is_cause in _chain(error):
        try:
            body = dumps(link)
        except (SerializationError, RecursionError):
            body = None
        links.append((body, _frames(link.__traceback__), is_cause))
        if body is None:
            break
    return dumps((name, text, links))


def load_error(data: bytes | memoryview) -> BaseException:
    """The exception of `dump_error`'s bytes; a `RemoteError` with its text when it cannot be rebuilt."""
    try:
        name, text, links = loads(data)
    except DeserializationError as unreadable:
        return detached(unreadable)
    first: BaseException | None = None
    above: BaseException | None = None
    for body, frames, is_cause in links:
        error, rebuilt = _rebuild(body, frames, name, text)
        if above is None:
            first = error
        elif not rebuilt:
            break
        elif is_cause:
            above.__cause__ = error
        else:
            above.__context__ = error
        above = error
    return first if first is not None else RemoteError(name, text)


def detached(error: BaseException) -> BaseException:
    """The same, with tracebacks that print as before and hold nothing.

    Frames of this process hold what their functions had, and those that called them: kept with a future, an error would keep everything that came
    in the same message, results of other tasks included.
    """
    try:
        for link, _ in _chain(error):
            BaseException.with_traceback(link, _traceback(_frames(link.__traceback__)))
    except Exception:  # noqa: BLE001, S110 - its class is the user's, and may do anything when it is asked for its cause
        pass
    return error


def _rebuild(body: bytes | None, frames: list[_Frame], name: str, text: str) -> tuple[BaseException, bool]:
    if body is None:
        return RemoteError(name, text), False
    try:
        error = loads(body)
    except DeserializationError as reason:
        failure = RemoteError(name, text)
        failure.__cause__ = detached(reason)
        return failure, False
    if not isinstance(error, BaseException):
        return RemoteError(name, text), False
    return error.with_traceback(_traceback(frames)), True


def _chain(error: BaseException) -> Iterator[tuple[BaseException, bool]]:
    """The exception and what it came from, each with whether it is the declared cause of the one before."""
    link, is_cause, seen = error, False, {id(error)}
    for _ in range(MAX_CHAIN):
        yield link, is_cause
        if link.__cause__ is not None:
            following, is_cause = link.__cause__, True
        elif link.__context__ is not None and not link.__suppress_context__:
            following, is_cause = link.__context__, False
        else:
            return
        if id(following) in seen:
            return
        seen.add(id(following))
        link = following


def _text(error: BaseException) -> str:
    import traceback  # here and not above: workers that see no error need not load it

    try:
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except BaseException as failure:  # noqa: BLE001 - formatting calls the exception's own __str__
        text = f"{type(error).__qualname__} (its text cannot be had: {type(failure).__name__})"
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT // 2] + "\n[…]\n" + text[-MAX_TEXT // 2 :]


def _frames(tb: TracebackType | None) -> list[_Frame]:
    """The frames of a traceback, without those of plait's own worker that lie above the user's."""
    frames: list[_Frame] = []
    while tb is not None:
        module = tb.tb_frame.f_globals.get("__name__", "")
        if frames or not module.startswith("plait.executors."):
            code = tb.tb_frame.f_code
            frames.append((code.co_filename, code.co_name, module, tb.tb_lineno))
        tb = tb.tb_next
    head, tail = MAX_FRAMES
    return frames if len(frames) <= head + tail else frames[:head] + frames[-tail:]


def _traceback(frames: list[_Frame]) -> TracebackType | None:
    """A traceback that prints like the remote one.

    Its frames are those of generators that never run, because nobody called them: a frame made by raising (as tblib does) holds all that stand above
    it, and so the message from which the error was read.
    """
    traceback: TracebackType | None = None
    try:
        for filename, function, module, line in reversed(frames):
            names: dict[str, Any] = {"co_filename": filename, "co_name": function, "co_firstlineno": line}
            if sys.version_info >= (3, 11):
                names["co_qualname"] = function
            generator = FunctionType(_nothing.__code__.replace(**names), {"__name__": module, "__file__": filename})()
            # 0 and not -1, which is no instruction: what shows errors in notebooks looks backwards for one, for ever.
            traceback = TracebackType(traceback, generator.gi_frame, 0, line)
    except (ValueError, TypeError, OverflowError):  # one that prints is a comfort; the error itself must arrive
        return None
    return traceback


def _nothing() -> Iterator[None]:
    """Whose code frames of other processes are made of."""
    yield
