"""Frames between a pool and its workers: bytes to messages and back.

A frame is a header (length of the body, kind, number of open files that travel with it) and a body in msgpack.
Both ends are processes of one user on one host, joined by a socket that only they hold.

Values that are big travel as anonymous files beside the frame (`Segments`): one copy into the file, none out of it.
"""

from __future__ import annotations

import array
import errno
import mmap
import os
import socket
import struct
from typing import TYPE_CHECKING, Any, Final

import msgspec

from plait.errors import BadMessage
from plait.executors.pool.page import anonymous_file
from plait.limits import BIG_BYTES, MAX_MAPPINGS
from plait.serialize import dumps, loads

if TYPE_CHECKING:
    import pickle
    from collections.abc import Sequence

HEADER: Final = struct.Struct("<IBBH")
_MAX_FILES: Final = 64
_ANCILLARY: Final = socket.CMSG_SPACE(_MAX_FILES * 4)
_ALIGN: Final = 64
_PIECE_BYTES: Final = 1 << 26
# Plain numbers: operations on the enums that the module has would cost as much as the system call.
_SOL_SOCKET: Final = int(socket.SOL_SOCKET)
_SCM_RIGHTS: Final = int(socket.SCM_RIGHTS)
_CTRUNC: Final = int(socket.MSG_CTRUNC)
_CLOEXEC: Final = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))

#: Errors of sending that pass: too many files are on their way already (a user may have as many as a process may have open), or memory is short.
BUSY: Final = frozenset({errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM})

#: Errors of opening a file that pass: this process, or this machine, has as many open as it may.
NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})

# pool -> worker
INIT: Final = 1
FUNCTION: Final = 2
TASKS: Final = 3
STOP: Final = 4
BIND: Final = 5
# worker -> pool
READY: Final = 10
OUTCOMES: Final = 11
RETIRE: Final = 12

# how an attempt ended
DONE: Final = 0
RAISED: Final = 1
SKIPPED: Final = 2

#: (sequence number, function number, payload, sizes of the segments in the file that comes along, or in the payload unless that is empty)
TaskItem = tuple[int, int, bytes, list[int] | None]
#: (sequence number, how it ended, payload, sizes of segments, seconds when it began, when it ended)
OutcomeItem = tuple[int, int, bytes, list[int] | None, float, float]

encode = msgspec.msgpack.Encoder().encode
decode_tasks = msgspec.msgpack.Decoder(list[TaskItem]).decode
decode_outcomes = msgspec.msgpack.Decoder(list[OutcomeItem]).decode
decode_function = msgspec.msgpack.Decoder(tuple[int, bytes]).decode
decode_text = msgspec.msgpack.Decoder(str).decode
decode_any = msgspec.msgpack.Decoder().decode


def frame(kind: int, body: bytes, files: int = 0) -> bytes:
    """A whole frame."""
    return HEADER.pack(len(body), kind, files, 0) + body


def send_files(sock: socket.socket, buffers: Sequence[Any], fds: Sequence[int]) -> int:
    """Sends bytes, the files with the first of them; the number of bytes that went."""
    if not fds:
        return sock.sendmsg(buffers)
    return sock.sendmsg(buffers, [(_SOL_SOCKET, _SCM_RIGHTS, array.array("i", fds))])


def receive_files(sock: socket.socket, size: int) -> tuple[bytes, list[int]]:
    """Up to ``size`` bytes, and the files that came with them.

    Raises:
        BadMessage: this process may not open so many files.
    """
    data, ancillary, flags, _ = sock.recvmsg(size, _ANCILLARY, _CLOEXEC)
    fds: list[int] = []
    for level, kind, body in ancillary:
        if level == _SOL_SOCKET and kind == _SCM_RIGHTS:
            numbers = array.array("i")
            numbers.frombytes(body[: len(body) - len(body) % numbers.itemsize])
            fds.extend(numbers)
    if flags & _CTRUNC:  # those that are missing would be taken from the next frame
        for fd in fds:
            os.close(fd)
        raise BadMessage("files that came with it were lost: this process has too many files open")
    return data, fds


class FrameReader:
    """Cuts what arrives into frames."""

    __slots__ = ("_buffer", "_fds")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._fds: list[int] = []

    def feed(self, data: bytes, fds: list[int]) -> list[tuple[int, bytes, list[int]]]:
        """The frames that are complete now: (kind, body, files).

        Raises:
            BadMessage: the bytes are not frames.
        """
        self._fds += fds
        if not self._buffer and len(data) >= HEADER.size:  # most often it is one whole frame
            length, kind, files, zero = HEADER.unpack_from(data)
            if HEADER.size + length == len(data) and not (files or zero or kind > RETIRE):
                return [(kind, data[HEADER.size :], [])]
        buffer = self._buffer
        buffer += data
        frames: list[tuple[int, bytes, list[int]]] = []
        at, end = 0, len(buffer)
        while end - at >= HEADER.size:
            length, kind, files, zero = HEADER.unpack_from(buffer, at)
            if zero or kind > RETIRE:
                raise BadMessage(f"a frame of kind {kind} (0x{zero:04x})")
            if end - at < HEADER.size + length:
                break
            body = bytes(buffer[at + HEADER.size : at + HEADER.size + length])
            frames.append((kind, body, self._fds[:files]))
            del self._fds[:files]
            at += HEADER.size + length
        del buffer[:at]  # in place: a big frame comes in thousands of pieces
        return frames

    def close(self) -> None:
        """Closes files of frames that never became complete."""
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()


# ------------------------------------------------------------------ big values
class Segments:
    """A pickle and its big buffers, in one anonymous file or still in memory.

    Attributes:
        waiting: how many files are open in this process.
        sizes: bytes of the pickle, then of each buffer; each begins at a multiple of 64.
    """

    __slots__ = ("_parts", "fd", "sizes")
    waiting = 0

    def __init__(self, data: bytes, buffers: Sequence[pickle.PickleBuffer], *, in_file: bool) -> None:
        parts = [memoryview(data), *(buffer.raw() for buffer in buffers)]
        self.sizes = [part.nbytes for part in parts]
        self.fd = -1
        self._parts: list[Any] | None = None
        if in_file:
            self.fd = self._written(parts)
            Segments.waiting += 1
        else:  # a copy: the caller may change the object as soon as the call returns
            self._parts = [bytes(part) for part in parts]

    def file(self) -> int:
        """A descriptor of the file, to be closed by the caller; one that is still in memory is written now, for this time."""
        if self._parts is None:
            return os.dup(self.fd)
        return self._written([memoryview(part) for part in self._parts])

    def whole(self) -> bytes:
        """What is in the file, or would be: for when no other can be opened."""
        if self._parts is None:
            return read_whole(self.fd, offsets(self.sizes)[-1])
        return b"".join([part + bytes(-len(part) % _ALIGN) for part in self._parts])

    def _written(self, parts: list[memoryview]) -> int:
        fd = anonymous_file(0)
        try:
            for part, start in zip(parts, offsets(self.sizes), strict=False):
                done = 0
                while done < part.nbytes:  # write(2) rather than a mapping: no page faults
                    done += os.pwrite(fd, part[done : done + _PIECE_BYTES], start + done)
            os.ftruncate(fd, max(offsets(self.sizes)[-1], 1))
        except BaseException:
            os.close(fd)
            raise
        return fd

    def close(self) -> None:
        """Closes the file."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            Segments.waiting -= 1

    def __del__(self) -> None:
        self.close()


def offsets(sizes: Sequence[int]) -> list[int]:
    """Where each segment begins, and where the last ends."""
    starts = [0]
    for size in sizes:
        starts.append((starts[-1] + size + _ALIGN - 1) // _ALIGN * _ALIGN)
    return starts


def dump_value(value: Any, *, in_file: bool = True) -> bytes | Segments:
    """A value as bytes, or as segments when it is big.

    Raises:
        SerializationError: it cannot be sent.
    """
    buffers: list[pickle.PickleBuffer] = []
    data = dumps(value, buffers)
    if not buffers and len(data) < BIG_BYTES:
        return data
    return Segments(data, buffers, in_file=in_file)


class _Mapping(mmap.mmap):
    """A mapping that counts itself."""

    live = 0

    def __init__(self, *_: Any, **__: Any) -> None:
        _Mapping.live += 1

    def __del__(self) -> None:
        _Mapping.live -= 1


def _mapped(fd: int, size: int) -> _Mapping | None:
    """The file as memory, None when there are too many such mappings already. Python keeps a descriptor open for each."""
    if _Mapping.live >= MAX_MAPPINGS or _Mapping.live >= open_files_limit() // 4:
        return None
    try:
        return _Mapping(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    except OSError:  # descriptors or mappings have run out all the same
        return None


def open_files_limit() -> int:
    """How many files this process may have open."""
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MAX_MAPPINGS * 4 if soft == resource.RLIM_INFINITY else soft


def read_whole(fd: int, size: int) -> bytes:
    """So many bytes of a file, from its beginning."""
    return b"".join([os.pread(fd, min(_PIECE_BYTES, size - at), at) for at in range(0, size, _PIECE_BYTES)])


def load_whole(data: bytes, sizes: Sequence[int]) -> Any:
    """The value of segments that came without a file.

    Raises:
        DeserializationError: it cannot be rebuilt.
    """
    parts = _parts_of(bytearray(data), sizes)
    return loads(parts[0], buffers=parts[1:])


def load_segments(fd: int, sizes: Sequence[int]) -> Any:
    """The value of segments; its big buffers stay where they are, and can be written to. Closes the file.

    Raises:
        DeserializationError: it cannot be rebuilt.
        BadMessage: the file is shorter than its segments.
    """
    parts = read_segments(fd, sizes)
    return loads(parts[0], buffers=parts[1:])


def read_segments(fd: int, sizes: Sequence[int]) -> list[memoryview]:
    """The bytes of each segment, which can be written to. Closes the file.

    Raises:
        BadMessage: the file is shorter than its segments.
    """
    starts = offsets(sizes)
    try:
        if os.fstat(fd).st_size < starts[-1]:
            raise BadMessage(f"a file of {os.fstat(fd).st_size} bytes for segments of {starts[-1]}")
        area: Any = _mapped(fd, starts[-1]) if len(sizes) > 1 else None
        if area is None:
            area = bytearray(starts[-1])
            view = memoryview(area)
            done = os.lseek(fd, 0, os.SEEK_SET)
            while done < starts[-1]:
                done += os.readv(fd, [view[done : done + _PIECE_BYTES]])
    finally:
        os.close(fd)
    return _parts_of(area, sizes)


def _parts_of(area: Any, sizes: Sequence[int]) -> list[memoryview]:
    whole = memoryview(area)
    return [whole[start : start + size] for start, size in zip(offsets(sizes), sizes, strict=False)]
