from __future__ import annotations

import os
import signal

import pytest

from plait.executors.htex import messages as m
from plait.executors.htex.near import door_in
from plait.serialize import dumps
from tests.unit.executors.htex.interchange_lab import Lab


@pytest.fixture
def labs():
    made = []

    def make(**changes):
        made.append(Lab(**changes))
        return made[-1]

    yield make
    for lab in made:
        lab.close()


@pytest.fixture
def lab(labs):
    return labs()


def test_it_ends_when_the_driver_is_gone_and_tells_the_managers(lab):
    manager = lab.manager("m0").registered()
    lab.stream.close()
    assert manager.wait(m.Stop).reason == "the driver is gone"
    assert lab.process.wait(5) == 0


def test_when_managers_are_told_nothing_is_left_that_a_kill_would_leave(labs, tmp_path):
    path, secret = door_in(str(tmp_path))
    lab = labs(near=path, near_secret=secret)
    manager = lab.manager("m0").registered()
    assert os.path.exists(path)
    lab.stream.close()
    manager.wait(m.Stop)
    assert not os.path.exists(path)  # it waits for the manager to hang up
    lab.process.kill()


def test_it_ends_when_the_driver_says_so(lab):
    manager = lab.manager("m0").registered()
    lab.send(m.Stop("the run is over"))
    assert manager.wait(m.Stop).reason == "the run is over"
    assert lab.process.wait(5) == 0
    assert lab.errors() == ""


def test_a_ctrl_c_is_the_drivers_matter(lab):
    lab.wait(m.Listening)
    lab.process.send_signal(signal.SIGINT)
    lab.manager("m0").registered()
    assert os.getsid(lab.process.pid) == lab.process.pid


def test_it_says_why_it_cannot_listen(lab, labs):
    listening = lab.wait(m.Listening)
    second = labs(port=listening.port)
    broken = second.wait(m.Broken)
    assert f"port {listening.port}" in broken.reason
    assert second.process.wait(5) == 1
    assert broken.reason in second.errors()


def test_without_encryption_it_listens_on_loopback_only(labs):
    broken = labs(server_public="", server_secret="", bind=["0.0.0.0"]).wait(m.Broken)
    assert "encrypted=False" in broken.reason


def test_without_encryption_on_loopback(labs):
    lab = labs(server_public="", server_secret="")
    lab.public = ""
    lab.manager("m0").registered()


def test_nonsense_from_the_driver_ends_it_with_the_reason(lab):
    lab.wait(m.Listening)
    lab.stream._put(memoryview(b"GET / HTTP/1.1\r\n\r\n"), [])
    assert "does not begin as plait's do" in lab.wait(m.Broken).reason
    assert lab.process.wait(5) == 1


def test_a_policy_that_cannot_be_loaded_is_a_reason(labs):
    lab = labs(policy=b"nonsense")
    assert lab.wait(m.Broken).reason
    assert lab.process.wait(5) == 1


POLICY = """
class Fails:
    def rank(self, manager):
        raise RuntimeError("no idea")

class Broken(Fails):
    @property
    def fills(self):
        raise RuntimeError("no idea")
"""


def test_a_fault_within_is_told_and_its_traceback_is_in_standard_error(labs):
    script = {"__name__": "__main__"}
    exec(POLICY, script)
    lab = labs(policy=dumps(script["Broken"](), []))
    assert lab.wait(m.Broken).reason == "RuntimeError: no idea"
    assert lab.process.wait(5) == 1
    assert "Traceback" in lab.errors()


def test_a_policy_that_fails_is_told_and_done_without(labs):
    script = {"__name__": "__main__"}
    exec(POLICY, script)
    lab = labs(policy=dumps(script["Fails"](), []))
    manager = lab.manager("m0").registered()
    lab.wait(m.ManagerUp)
    lab.send(m.Function(0), b"function")
    lab.send(m.Offer([(7, 1, 0, b"payload", None, None)]))  # it is asked when somebody is to be chosen
    assert manager.wait(m.Tasks).items == [(7, 1, 0, b"payload", None, None)]
    assert "manager_selector failed (RuntimeError: no idea)" in lab.wait(m.Warn).text


def test_it_writes_a_log(labs, tmp_path):
    path = tmp_path / "interchange.log"
    lab = labs(log=str(path))
    lab.manager("m0").registered()
    lab.send(m.Stop("enough"))
    assert lab.process.wait(5) == 0
    lines = path.read_text().splitlines()
    assert "INFO listens on 127.0.0.1, port " in lines[0]
    assert "ManagerUp(manager='m0'" in lines[1]
    assert lines[-1].endswith("INFO ends: enough")
