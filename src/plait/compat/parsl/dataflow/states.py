"""``parsl.dataflow.states``."""

from __future__ import annotations

from enum import IntEnum


class States(IntEnum):
    """Where a task stands. `running` and `running_ended` are seen by monitoring only."""

    pending = 0
    running = 2
    exec_done = 3
    failed = 4
    dep_fail = 5
    launched = 7
    fail_retryable = 8
    memo_done = 9
    joining = 10
    running_ended = 11
    cancelled = 12  # plait's own: tasks can be cancelled


FINAL_STATES = {States.exec_done, States.memo_done, States.failed, States.dep_fail, States.cancelled}
FINAL_FAILURE_STATES = {States.failed, States.dep_fail}
