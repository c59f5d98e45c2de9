"""The page about the protocol says what the code says: each kind with its number, its ways and its fields, and the limits with their values."""

from __future__ import annotations

import re

from plait import limits
from plait.executors.htex import filling, members, messages, nodes, offers, outbox, wire
from tests.support import ROOT

PAGE = ROOT / "docs" / "explanation" / "protocol.md"

WAYS = {
    "M→I": messages.FROM_MANAGER,
    "I→M": messages.TO_MANAGER,
    "D→I": messages.FROM_DRIVER,
    "I→D": messages.TO_DRIVER,
}
#: Ways in which an attempt ends, with what the payload is.
ENDINGS = {
    "DONE": "the pickled result",
    "RAISED": "the error, dumped",
    "WORKER_LOST": "worker, host, and how the worker ended",
    "TIMED_OUT": "the sentence of `AppTimeout`",
    "REFUSED_BY_POOL": "why the manager cannot run anything",
    "RESULT_TOO_LARGE": "bytes that the result has, bytes that it may have",
}
#: Limits that the page names, with what they bound.
LIMITS = {
    "header of a frame": (wire.MAX_HEADER_BYTES, "MB"),
    "payload of a frame": (wire.MAX_PAYLOAD_BYTES, "MB"),
    "part of a message, at the interchange": (limits.ROUTER_FRAME_BYTES, "MB"),
    "part of a message, at a manager": (limits.DEALER_FRAME_BYTES, "MB"),
    "tasks without a place that the interchange holds": (offers.WINDOW_TASKS, ""),
    "bytes of their arguments": (offers.WINDOW_BYTES, "MB"),
    "tasks in one `Tasks`": (filling.BATCH_TASKS, ""),
    "work ahead of each worker": (nodes.CREDIT_S, "s"),
    "tasks ahead of each worker": (nodes.MAX_CREDIT, ""),
    "silence of a manager with work before others' idle workers call it back": (filling.RETRACT_S, "s"),
    "argument that travels in its frame": (limits.BIG_BYTES, "KB"),
    "result that travels in its frame": (outbox.INLINE_BYTES, "KB"),
    "chunk": (limits.CHUNK_BYTES, "MB"),
    "chunks of one connection on their way": (limits.WINDOW_BYTES, "MB"),
    "bad messages before a connection is ended": (limits.MAX_STRIKES, ""),
    "bytes that may wait for a manager that does not read": (limits.LINK_BACKLOG_BYTES, "MB"),
    "time to prove a key": (limits.HANDSHAKE_S, "s"),
    "silence after which a connection is made anew": (limits.LINK_SILENCE_S, "s"),
    "silence of a manager whose job is over": (members.DOUBT_S, "s"),
}


def kinds_table() -> str:
    lines = ["| number | kind | way | fields | meaning |", "|---|---|---|---|---|"]
    for number, kind in messages.KINDS.items():
        ways = ", ".join(way for way, kinds in WAYS.items() if kind in kinds)
        fields = " ".join(f"`{field}`" for field in kind.__struct_fields__)
        meaning = " ".join((kind.__doc__ or "").partition("Attributes:")[0].split()).replace("``", "`")
        lines.append(f"| {number} | `{kind.__name__}` | {ways} | {fields} | {meaning} |")
    return "\n".join(lines)


def endings_table() -> str:
    rows = [f"| {getattr(messages, name)} | `{name}` | {payload} |" for name, payload in ENDINGS.items()]
    return "\n".join(["| number | how it ended | payload |", "|---|---|---|", *rows])


def limits_table() -> str:
    rows = [f"| {what} | {quantity(*value)} |" for what, value in LIMITS.items()]
    return "\n".join(["| bounded | by |", "|---|---|", *rows])


def quantity(value: float, unit: str) -> str:
    divisor = {"MB": 1024 * 1024, "KB": 1024}.get(unit, 1)
    return f"{value / divisor:,g} {unit}".strip() if unit else f"{value:,}"


def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_kinds():
    missing = [line for line in kinds_table().splitlines() if line not in page().splitlines()]
    assert not missing, "put these lines into the page's table:\n" + "\n".join(missing)
    assert len(re.findall(r"^\| \d+ \| `\w+` \| [MID]→", page(), re.MULTILINE)) == len(messages.KINDS)


def test_endings():
    assert endings_table() in page()
    numbers = [
        value
        for name, value in vars(messages).items()
        if name.isupper() and isinstance(value, int) and name != "PROTOCOL"
    ]
    assert sorted(numbers) == sorted(getattr(messages, name) for name in ENDINGS)


def test_limits():
    missing = [line for line in limits_table().splitlines() if line not in page().splitlines()]
    assert missing == []


def test_the_layout_of_a_frame():
    assert wire.PREFIX.format == "<2sBBBxII"
    layout = re.findall(r"^ +(\d+) +(\d+)  ", page(), re.MULTILINE)
    assert [(int(at), int(size)) for at, size in layout] == [(0, 2), (2, 1), (3, 1), (4, 1), (5, 1), (6, 4), (10, 4)]
    assert f"{wire.PREFIX.size} bytes" in page()
    assert wire.MAGIC.hex(" ") in page()
    assert f"version of the frame: {wire.VERSION}" in page()
    assert f"version of the protocol is {messages.PROTOCOL}" in page()
    assert list(wire.encode(messages.WhoAreYou())[:4]) == [*wire.MAGIC, wire.VERSION, 34]
