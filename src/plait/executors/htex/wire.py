"""Messages to bytes and back, the same on both links.

A frame is a prefix (magic, version, kind, length of the header, length of the payload), the header (the message in msgpack) and the payload,
which is opaque. The version is that of this frame; that of the messages (`PROTOCOL`) is told in `Register`, so that a manager of another version
can be refused in words that it understands. On a ZeroMQ link a frame is one or two parts: prefix and header, then the payload if there is one.
On the socket pair between driver and interchange frames follow each other, and files travel with the first byte of theirs (`StreamReader`).

Whatever arrives, `decode` returns a message of the expected kinds or raises `BadMessage`, never anything else.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any, Final

import msgspec

from plait.errors import BadMessage
from plait.executors.htex.messages import KINDS, PROTOCOL, Message, Register

if TYPE_CHECKING:
    from collections.abc import Collection

#: Magic, version, kind, files, length of the header, length of the payload.
PREFIX: Final = struct.Struct("<2sBBBxII")
MAGIC: Final = b"\xf1P"
#: Of the frame. `Register`'s first fields and `Refused` stay as they are in all versions of messages.
VERSION: Final = 1
#: Bytes that a header may have: batches are cut well below.
MAX_HEADER_BYTES: Final = 64 * 1024 * 1024
#: Bytes that a payload may have: bigger values travel in chunks.
MAX_PAYLOAD_BYTES: Final = 64 * 1024 * 1024

_encode = msgspec.msgpack.Encoder().encode
_numbers: Final[dict[type[Message], int]] = {cls: number for number, cls in KINDS.items()}


class _Decoders(dict[int, Any]):
    """One for each kind, made when it is first needed: nobody needs all, and making them takes 20 ms of each process's start."""

    def __missing__(self, kind: int) -> Any:
        decode = self[kind] = msgspec.msgpack.Decoder(KINDS[kind]).decode
        return decode


_decoders: Final = _Decoders()


def encode(message: Message, payload_bytes: int = 0, files: int = 0) -> bytes:
    """Prefix and header of a message whose payload, sent after it, has that many bytes."""
    header = _encode(message)
    return PREFIX.pack(MAGIC, VERSION, _numbers[type(message)], files, len(header), payload_bytes) + header


def decode(data: bytes | memoryview, expected: Collection[type[Message]]) -> Message:
    """The message of prefix and header.

    Raises:
        BadMessage: it is none, or of another version, or of a kind that is not expected here.
    """
    kind, _, header_bytes, _ = read_prefix(data)
    if len(data) != PREFIX.size + header_bytes:
        raise BadMessage(f"a frame of {len(data)} bytes whose prefix announces {PREFIX.size + header_bytes}")
    return read_header(kind, memoryview(data)[PREFIX.size :], expected)


def to_parts(message: Message, payload: bytes, limit: int) -> tuple[bytes, bytes]:
    """A message as the parts in which ZeroMQ sends it.

    Raises:
        BadMessage: a part is larger than the other end takes.
    """
    head = encode(message, len(payload))
    if len(head) > limit or len(payload) > limit:
        raise BadMessage(
            f"a message {type(message).__name__} of {len(head)} and {len(payload)} bytes is too large; {limit} are allowed"
        )
    return head, payload


def from_parts(data: bytes, payload: bytes, extra: int, expected: Collection[type[Message]]) -> Message:
    """The message of the parts that came; ``extra``: how many there were beyond two.

    Raises:
        BadMessage: it is none.
    """
    if extra:
        raise BadMessage(f"a message of {2 + extra} parts")
    message = decode(data, expected)
    if PREFIX.unpack_from(data)[5] != len(payload):
        raise BadMessage(f"a payload of {len(payload)} bytes, which are not those announced")
    return message


def read_prefix(data: bytes | bytearray | memoryview, at: int = 0) -> tuple[int, int, int, int]:
    """(kind, files, bytes of the header, bytes of the payload).

    Raises:
        BadMessage: it is no prefix of this version, or announces more than is allowed.
    """
    if len(data) - at < PREFIX.size:
        raise BadMessage(f"a frame of {len(data) - at} bytes, less than a prefix")
    magic, version, kind, files, header_bytes, payload_bytes = PREFIX.unpack_from(data, at)
    if magic != MAGIC:
        raise BadMessage("a frame that does not begin as plait's do")
    if version != VERSION:
        raise BadMessage(f"a frame of version {version}; this is version {VERSION}")
    if kind not in KINDS:
        raise BadMessage(f"a frame of unknown kind {kind}")
    if header_bytes > MAX_HEADER_BYTES or payload_bytes > MAX_PAYLOAD_BYTES:
        raise BadMessage(f"a frame that announces {header_bytes} and {payload_bytes} bytes")
    return kind, files, header_bytes, payload_bytes


def read_header(kind: int, header: bytes | memoryview, expected: Collection[type[Message]]) -> Message:
    """The message of a header.

    Raises:
        BadMessage: it cannot be read, or is not expected here.
    """
    if KINDS[kind] not in expected:
        raise BadMessage(f"a message {KINDS[kind].__name__}, which is not for this link")
    try:
        message: Message = _decoders[kind](header)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        if KINDS[kind] is Register and (stranger := _of_another_version(header)) is not None:
            return stranger
        raise BadMessage(f"a message {KINDS[kind].__name__} that cannot be read: {error}") from None
    return message


class _Head(msgspec.Struct, array_like=True, frozen=True):
    """What a registration of any version begins with."""

    manager: str
    block: str
    hostname: str
    pid: int
    boot: str
    protocol: int
    plait: str
    python: str


_decode_head: Final = msgspec.msgpack.Decoder(_Head).decode


def _of_another_version(header: bytes | memoryview) -> Register | None:
    """A registration with messages of another version, as far as it can be understood: enough to refuse it."""
    try:
        head = _decode_head(header)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    if head.protocol == PROTOCOL:
        return None
    return Register(
        head.manager, head.block, head.hostname, head.pid, head.boot, head.protocol, head.plait, head.python,
        workers=0, cores=0.0, memory_bytes=0, disk_bytes=0, gpus=[], walltime_left_s=None, prefetch=0, draining=True, holds=[], finished=[],
    )  # fmt: skip


class StreamReader:
    """Cuts what arrives on a stream into frames, in time that grows with the bytes and not with the pieces in which they come."""

    __slots__ = ("_buffer", "_expected", "_fds", "_limit", "_needed")

    def __init__(self, expected: Collection[type[Message]], limit: int = MAX_PAYLOAD_BYTES) -> None:
        self._expected = expected
        self._limit = limit
        self._buffer = bytearray()
        self._needed = PREFIX.size  # bytes without which there is no next frame
        self._fds: list[int] = []

    def feed(self, data: bytes, fds: list[int]) -> list[tuple[Message, bytes, list[int]]]:
        """The frames that are complete now: (message, payload, files).

        Raises:
            BadMessage: the bytes are not frames of the expected kinds.
        """
        self._fds += fds
        if not self._buffer:
            if len(data) >= PREFIX.size:  # most often it is one whole frame
                kind, files, header_bytes, payload_bytes = read_prefix(data)
                stop = PREFIX.size + header_bytes
                if not files and stop + payload_bytes == len(data) <= self._limit:
                    return [(read_header(kind, data[PREFIX.size : stop], self._expected), data[stop:], [])]
            frames, used = self._cut(data)
            self._buffer += memoryview(data)[used:]
            return frames
        self._buffer += data
        if len(self._buffer) < self._needed:
            return []
        frames, used = self._cut(self._buffer)
        del self._buffer[:used]
        return frames

    def _cut(self, buffer: bytes | bytearray) -> tuple[list[tuple[Message, bytes, list[int]]], int]:
        """(complete frames, bytes that they took)."""
        frames: list[tuple[Message, bytes, list[int]]] = []
        at, end = 0, len(buffer)
        self._needed = PREFIX.size
        with memoryview(buffer) as whole:
            while end - at >= PREFIX.size:
                kind, files, header_bytes, payload_bytes = read_prefix(whole, at)
                if header_bytes > self._limit or payload_bytes > self._limit:
                    raise BadMessage(f"a frame that announces {header_bytes} and {payload_bytes} bytes")
                start = at + PREFIX.size
                stop = start + header_bytes + payload_bytes
                if end < stop:
                    self._needed = stop - at
                    break
                with whole[start : start + header_bytes] as header:
                    message = read_header(kind, header, self._expected)
                if files > len(self._fds):
                    raise BadMessage(f"a message {type(message).__name__} without its {files} files")
                frames.append((message, bytes(whole[start + header_bytes : stop]), self._fds[:files]))
                del self._fds[:files]
                at = stop
        return frames, at

    def close(self) -> None:
        """Closes files of frames that never became complete."""
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()
