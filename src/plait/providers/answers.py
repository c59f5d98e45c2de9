"""Reading what the commands of batch systems say.

A command that was asked for several jobs and does not know one of them ends with an error, and answers for the others all the same. So an exit status
says little: what counts is whether every complaint is of a kind that is an answer too, such as "unknown job".
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from plait.providers.cluster import Job
    from plait.providers.shell import Finished


def answered(finished: Finished, harmless: re.Pattern[str], asked: Sequence[Job] = ()) -> str:
    """What a command wrote to standard output, if it did its work.

    Args:
        finished: the command.
        harmless: what its complaints may be; each line of them must have it in it.
        asked: jobs that it was to answer for. If it did so for each, in its answer or by such a complaint, other lines do not count:
            some sites have commands that always write one more.

    Raises:
        CommandFailed: it failed, and its complaints are others, or it has none.
    """
    complaints = [line for line in finished.err.splitlines() if line.strip()]
    answers = [line for line in complaints if harmless.search(line)]
    if finished.code == 0 or (complaints and len(answers) == len(complaints)):
        return finished.out
    if answers and asked and all(_names("\n".join([finished.out, *answers]), job) for job in asked):
        return finished.out
    return finished.check()


def _names(text: str, job: Job) -> bool:
    """Whether a text has the number of a job in it, as a word."""
    return re.search(rf"(?<![\w.-]){re.escape(job.id.partition('.')[0])}(?!\w)", text) is not None


def json_of(text: str, what: str) -> Any:
    """The value that a command wrote as JSON, with control characters in its texts where a system does not escape them.

    Raises:
        ValueError: it is none, or half of one.
    """
    try:
        return json.loads(text, strict=False)
    except ValueError as error:
        raise ValueError(f"{what}: expected JSON, not {_short(text)}: {error}") from None


def table_of(value: Any, what: str) -> dict[str, Any]:
    """A JSON value that must be an object.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{what}: expected an object, not {_short(repr(value))}")  # noqa: TRY004 - what was read is wrong, not what was passed
    return value


def list_of(value: Any, what: str) -> list[dict[str, Any]]:
    """A JSON value that must be a list of objects.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, list):
        raise ValueError(f"{what}: expected a list, not {_short(repr(value))}")  # noqa: TRY004 - likewise
    return [table_of(each, what) for each in value]


def whole(value: Any) -> int | None:
    """A whole number that may be written as text; None for anything else."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def seconds_of(text: Any) -> int:
    """Seconds of ``hours:minutes:seconds``; 0 for anything else."""
    parts = str(text).split(":")
    if not 1 <= len(parts) <= 3 or not all(part.isdigit() for part in parts):
        return 0
    seconds = 0
    for part in parts:
        seconds = seconds * 60 + int(part)
    return seconds


def same(job: Job, name: Any) -> bool:
    """Whether an answer is about this job: numbers are given again, names are not."""
    return not job.name or name == job.name


def quoted(text: str) -> str:
    """A word of a directive as shells write it."""
    return shlex.quote(text)


def chunks(jobs: Sequence[Job], size: int) -> Iterator[Sequence[Job]]:
    """The jobs, so many at a time."""
    for first in range(0, len(jobs), size):
        yield jobs[first : first + size]


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:80]}…")
