from __future__ import annotations

from plait.compat.parsl import multiprocessing as ours


class Stubborn:
    def __init__(self, endures):
        self.endures, self.done = endures, []

    def join(self, timeout):
        self.done.append(("join", timeout))

    def is_alive(self):
        return not any(step in self.done for step in self.endures)

    def terminate(self):
        self.done.append("terminate")

    def kill(self):
        self.done.append("kill")

    def close(self):
        self.done.append("close")


def test_a_process_is_ended_gently_first():
    process = Stubborn(["terminate"])
    ours.join_terminate_close_proc(process, timeout=1)
    assert process.done == [("join", 1), "terminate", ("join", 1), "close"]


def test_one_that_goes_on_is_killed():
    process = Stubborn(["kill"])
    ours.join_terminate_close_proc(process, timeout=1)
    assert [step for step in process.done if step != ("join", 1)] == ["terminate", "kill", "close"]


def test_processes_are_spawned_not_forked():
    assert ours.SpawnContext.get_start_method() == "spawn"
    assert ours.SpawnProcess is ours.SpawnContext.Process
