"""The journal: what happened in a run, on disk, readable at any moment and after any crash.

A file is a header and then frames: length of the body (4 bytes), CRC32 of the body (4 bytes), body (a msgpack array of events).
A torn end costs the frame that it tore. Writing happens in a thread of its own, within `limits.JOURNAL_FLUSH_S`;
a full disk stops the journal with one warning, and never a task. How the run ended is written all the same where there is room for that.
"""

from __future__ import annotations

import logging
import os
import re
import struct
import threading
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from plait.limits import JOURNAL_FILE_BYTES, JOURNAL_FLUSH_S
from plait.model.events import NOTE, RUN_ENDED, TASKS_SUBMITTED
from plait.monitoring.base import EventSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from plait.model.events import Event, EventTuple
    from plait.model.task import AppSpec

_logger = logging.getLogger("plait")

MAGIC: Final = b"plait journal 1\n"
_HEAD: Final = struct.Struct("<II")
#: Events that are encoded at once.
_BATCH: Final = 1024
#: Bytes that a frame may have; more is damage.
_MAX_FRAME: Final = 64 * 1024 * 1024
_NAME: Final = re.compile(r"journal(?:-\d{3})?\.plj")


class EventStream:
    """Carries events from whoever emits them to the sinks.

    Attributes:
        emit: appends an event, or a task, which stands for its submission; this is the whole cost for a task.
    """

    def __init__(self, sinks: Sequence[EventSink]) -> None:
        self._events: deque[Any] = deque()
        self.emit = self._events.append
        self._sinks = list(sinks)
        self._stop = threading.Event()
        self._ended = threading.Event()  # Thread.join, interrupted, takes a thread that runs for one that has ended
        self._draining = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="plait-events", daemon=True)
        self._thread.start()

    def add(self, sink: EventSink) -> None:
        """Has one more sink get what is emitted from now on."""
        self.flush()
        self._sinks.append(sink)

    def close(self) -> None:
        """Writes what is left and closes the sinks."""
        self._stop.set()
        if self._ended.wait(5.0):
            self._thread.join(1.0)

    def flush(self) -> None:
        """Has the sinks get now what was emitted before this call."""
        with self._draining:
            self._drain()

    def _run(self) -> None:
        try:
            while not self._stop.wait(JOURNAL_FLUSH_S):
                self.flush()
            self.flush()
            for sink in self._sinks:
                sink.close()
        finally:
            self._ended.set()

    def _drain(self) -> None:
        events = self._events
        while events:
            taken: list[Any] = []
            try:
                for _ in range(_BATCH):
                    taken.append(events.popleft())  # noqa: PERF401 - others append meanwhile
            except IndexError:
                pass
            batch = _gather_submissions(taken)
            for sink in list(self._sinks):
                try:
                    sink.write(batch)
                except Exception:
                    self._sinks.remove(sink)
                    _logger.exception(
                        "%s cannot go on and is switched off; tasks are not affected", type(sink).__name__
                    )


def _gather_submissions(events: Sequence[Any]) -> list[EventTuple]:
    """Events as tuples: a task in the stream stands for its submission, and those of one app that follow each other become one event."""
    batch: list[EventTuple] = []
    app: AppSpec | None = None
    for event in events:
        if type(event) is tuple:
            batch.append(event)
            app = None
        elif event.app is app:
            batch[-1][2].append(event.id)
            batch[-1][3].append(event.submit_s)
        else:
            app = event.app
            batch.append((TASKS_SUBMITTED, app.name, [event.id], [event.submit_s]))
    return batch


class Journal(EventSink):
    """Writes events into files of a directory: ``journal.plj``, then ``journal-001.plj`` and so on."""

    def __init__(self, directory: str, file_bytes: int = JOURNAL_FILE_BYTES) -> None:
        import msgspec

        self._encode = msgspec.msgpack.Encoder(enc_hook=_text).encode
        self._directory = directory
        self._file_bytes = file_bytes
        self._number = 0
        self._written = 0
        self._whole = 0  # bytes of the file's header and whole frames
        self._why = ""  # it cannot be written any more
        self._fd = -1
        self._open()

    def write(self, events: Sequence[EventTuple]) -> None:
        """Appends a frame."""
        if self._fd < 0:
            return
        if self._why:
            ending = [event for event in events if event[0] == RUN_ENDED]
            if not ending:
                return
            lacks = f"the journal lacks what happened in between: it could not be written ({self._why})"
            events = [(NOTE, ending[0][1], lacks), *ending]
        try:
            body = self._encode(events)
        except UnicodeEncodeError:  # the name of a file, in an error, say
            body = self._encode(_encodable(events))
        data = _HEAD.pack(len(body), zlib.crc32(body)) + body
        self._append(data)
        self._written += len(body)
        if self._fd >= 0 and self._written >= self._file_bytes:
            self._number += 1
            self.close()
            try:
                self._open()
            except OSError as error:
                self._give_up(error)

    def close(self) -> None:
        """Closes the file."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        try:
            os.close(fd)
        except OSError as error:  # network file systems say only now that there is no room
            _logger.warning("the journal in %s may lack its end (%s); tasks are not affected", self._directory, error)

    def _open(self) -> None:
        name = "journal.plj" if self._number == 0 else f"journal-{self._number:03d}.plj"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        self._fd = os.open(os.path.join(self._directory, name), flags, 0o600)
        self._written = self._whole = 0
        self._append(MAGIC)

    def _append(self, data: bytes) -> None:
        left = data
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError as error:
            self._give_up(error)
        else:
            self._whole += len(data)

    def _give_up(self, error: OSError) -> None:
        if not self._why:
            self._why = error.strerror or str(error)
            _logger.warning(
                "the journal in %s cannot be written any more (%s); the run goes on without it", self._directory, error
            )
            if self._fd >= 0 and self._whole and self._cut():
                return
        self.close()

    def _cut(self) -> bool:
        """Takes the torn frame away, whose room is mostly enough for how the run ended."""
        try:
            os.ftruncate(self._fd, self._whole)
            os.lseek(self._fd, self._whole, os.SEEK_SET)
        except OSError:
            return False
        return True


def _text(value: Any) -> str:
    """A text that can be written; what UTF-8 has no bytes for, such as the signs of names that are not UTF-8, is spelled out."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def _encodable(value: Any) -> Any:
    """The same with all texts as they can be written."""
    if isinstance(value, (list, tuple)):
        return [_encodable(each) for each in value]
    if isinstance(value, dict):
        return {_encodable(key): _encodable(each) for key, each in value.items()}
    return _text(value) if isinstance(value, str) else value


def _single(event: Any) -> Sequence[Event]:
    return event.single() if hasattr(event, "single") else (event,)


def journal_files(directory: str) -> list[str]:
    """The files of a run's journal, in order."""
    names = [name for name in os.listdir(directory) if _NAME.fullmatch(name)]
    return [os.path.join(directory, name) for name in sorted(names, key=lambda name: (len(name), name))]


def read_frames(path: str) -> Iterator[bytes]:
    """The bodies of the whole frames of a file, up to the first damage."""
    with open(path, "rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            return
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            length, checksum = _HEAD.unpack(head)
            if length > _MAX_FRAME:
                return
            body = file.read(length)
            if len(body) < length or zlib.crc32(body) != checksum:
                return
            yield body


def edge_frames(directory: str) -> Iterator[bytes]:
    """The bodies of a journal's first and last whole frame; what lies between is passed over, not read."""
    files = journal_files(directory)
    for name in files[:1]:
        yield from _edge_frame(name, last=False)
    for name in reversed(files):
        last = list(_edge_frame(name, last=True))
        yield from last
        if last:  # a new file is made when one is full, so the newest may be empty still
            return


def _edge_frame(path: str, *, last: bool) -> Iterator[bytes]:
    place: tuple[int, int, int] | None = None  # where the body begins, its length, its checksum
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if file.read(len(MAGIC)) != MAGIC:
            return
        while (place is None or last) and len(head := file.read(_HEAD.size)) == _HEAD.size:
            length, checksum = _HEAD.unpack(head)
            if file.tell() + length > size:
                break
            place = (file.tell(), length, checksum)
            file.seek(length, os.SEEK_CUR)
        if place is None:
            return
        file.seek(place[0])
        body = file.read(place[1])
    if zlib.crc32(body) == place[2]:
        yield body


def read_journal(directory: str) -> Iterator[Event]:
    """The events of a run, live or ended in whatever way.

    Events of a newer plait that this one does not know are left out.
    """
    decode = decoder()
    for path in journal_files(directory):
        for body in read_frames(path):
            yield from decode(body)


def decoder() -> Callable[[bytes], list[Event]]:
    """Makes the events of a frame's body; leaves out those that this plait does not know."""
    import msgspec

    from plait.model.events import AnyEvent

    whole: Any = msgspec.msgpack.Decoder(list[AnyEvent]).decode
    raw = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
    one: Any = msgspec.msgpack.Decoder(AnyEvent).decode

    def decode(body: bytes) -> list[Event]:
        try:
            return [event for record in whole(body) for event in _single(record)]
        except msgspec.ValidationError:
            pass
        known: list[Event] = []
        for part in raw(body):
            try:
                known.extend(_single(one(part)))
            except msgspec.ValidationError:
                continue
        return known

    return decode
