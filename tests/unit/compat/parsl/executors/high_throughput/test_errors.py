from __future__ import annotations

import pickle
import time

from plait.compat.parsl.executors.high_throughput.errors import (
    CommandClientBadError,
    CommandClientTimeoutError,
    ManagerLost,
    VersionMismatch,
    WorkerLost,
)


def test_they_say_what_they_hold():
    assert "Manager version info 1 does not match interchange version info 2" in str(VersionMismatch("2", "1"))
    assert pickle.loads(pickle.dumps(VersionMismatch("2", "1"))).manager_version == "1"
    assert "did not answer" in (CommandClientTimeoutError.__doc__ or "")
    assert issubclass(CommandClientBadError, Exception)


def test_losses_are_built_as_programs_build_them():
    before = time.time()
    lost = ManagerLost(b"abc", "node7")
    assert before <= lost.tstamp == pickle.loads(pickle.dumps(lost)).tstamp <= time.time()
    assert (lost.manager_id, lost.hostname) == (b"abc", "node7")
    assert str(WorkerLost(3, "node7")) == "Task failure due to loss of worker 3 on host node7"
