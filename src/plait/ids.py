"""Identities."""

from __future__ import annotations

import uuid
from typing import NewType

TaskId = NewType("TaskId", int)
RunId = NewType("RunId", str)
WorkerId = NewType("WorkerId", int)


def new_run_id() -> RunId:
    """A fresh id for one life of a kernel (a random UUID as text)."""
    return RunId(str(uuid.uuid4()))
