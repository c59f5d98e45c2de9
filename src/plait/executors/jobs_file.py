"""What a run has asked batch systems for, on disk: ``jobs.jsonl`` in the executor's folder. With it jobs are found again whose driver was killed.

A line is written *before* a job is submitted, with its name and a ticket to look for it by name; one when it has its id, with the ticket for that; one when it
has ended. Lines are appended whole; a torn last one is passed over by readers.
"""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plait.model.jobs import JobState

_logger: Final = logging.getLogger("plait")

NAME: Final = "jobs.jsonl"
#: What lines say.
REQUESTED, SUBMITTED, ENDED = "requested", "submitted", "ended"


class JobsFile:
    """Writes it. The file is open only while a line is written: whoever writes the last one, however late, leaves nothing open.

    Args:
        folder: the executor's.
        head: what is common to all of its jobs: run, label, provider.
    """

    def __init__(self, folder: str, head: Mapping[str, Any]) -> None:
        self.path = os.path.join(folder, NAME)
        self._head = dict(head)
        self._can_write = True
        self._append(b"")

    def requested(self, block: str, name: str, ticket: Mapping[str, str] | None) -> None:
        """The job of a block is about to be submitted."""
        self._write(REQUESTED, block, name=name, ticket=ticket, **self._head)

    def submitted(self, block: str, name: str, job: str, ticket: Mapping[str, str] | None) -> None:
        """It has its id."""
        self._write(SUBMITTED, block, name=name, job=job, ticket=ticket)

    def ended(self, block: str, job: str, state: JobState, message: str) -> None:
        """It is over, or there never was one."""
        self._write(ENDED, block, job=job, state=state.name, message=message)

    def _write(self, what: str, block: str, **more: Any) -> None:
        line = json.dumps({"what": what, "at": round(time.time(), 3), "block": block, **more}, ensure_ascii=False)
        self._append(f"{line}\n".encode("utf-8", "backslashreplace"))

    def _append(self, data: bytes) -> None:
        if not self._can_write:
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        try:
            fd = os.open(self.path, flags, 0o600)
            try:
                os.write(fd, data)  # one call: lines are whole, or the last is torn
            finally:
                os.close(fd)
        except OSError as error:
            self._can_write = False
            _logger.warning(
                "%s cannot be written (%s): if this process is killed, its jobs must be found by hand", self.path, error
            )


@dataclass
class JobRecord:
    """What the file says of the job of one block.

    Attributes:
        block: name of the block.
        name: of the job, as it was submitted.
        label: of the executor.
        provider: its label.
        run_id: of the run.
        job: id of the job; empty while none is known.
        ticket: how it is found again; None when it ends with the driver.
        requested_s: when it was about to be submitted, in seconds of the wall clock.
        submitted_s: when it had its id; 0 for never.
        ended_s: when it was over; 0 for not yet.
        state: how it ended.
        message: why.
    """

    block: str
    name: str = ""
    label: str = ""
    provider: str = ""
    run_id: str = ""
    job: str = ""
    ticket: dict[str, str] | None = None
    requested_s: float = 0.0
    submitted_s: float = 0.0
    ended_s: float = 0.0
    state: str = ""
    message: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    def take(self, line: Mapping[str, Any]) -> None:
        """Follows what happened to it."""
        what, at_s = line.get("what"), float(line.get("at", 0.0))
        for key in ("name", "label", "provider", "run_id", "job", "state", "message"):
            if isinstance(line.get(key), str) and line[key]:
                setattr(self, key, line[key])
        if isinstance(line.get("ticket"), dict):
            self.ticket = {str(key): str(value) for key, value in line["ticket"].items()}
        if what == REQUESTED:
            self.requested_s = at_s
        elif what == SUBMITTED:
            self.submitted_s = at_s
        elif what == ENDED:
            self.ended_s = at_s


def read_jobs(path: str) -> list[JobRecord]:
    """What the file says, a record for each block; empty when it cannot be read."""
    records: dict[str, JobRecord] = {}
    for line in _lines(path):
        block = line.get("block")
        if isinstance(block, str):
            records.setdefault(block, JobRecord(block)).take(line)
    return list(records.values())


def run_jobs(run_folder: str) -> list[JobRecord]:
    """Those of all executors of a run."""
    try:
        labels = sorted(os.listdir(run_folder))
    except OSError:
        return []
    found = []
    for label in labels:
        for record in read_jobs(os.path.join(run_folder, label, NAME)):
            record.label = record.label or label
            found.append(record)
    return found


def _lines(path: str) -> Iterator[dict[str, Any]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for text in file:
                try:
                    line = json.loads(text)
                except ValueError:
                    continue  # torn, or damaged
                if isinstance(line, dict):
                    yield line
    except OSError:
        return
