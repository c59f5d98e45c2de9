"""F18: a manager that speaks another protocol, or runs another Python, is refused with both versions; the run goes on."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import msgspec
import pytest

import plait
from plait.executors.htex import messages as m
from plait.executors.htex.link import Dealer
from plait.executors.htex.settings import ManagerSettings
from plait.executors.htex.wire import encode
from plait.testing import tasks
from tests.fault.pilot import pilot_jobs, up
from tests.support import wait_until
from tests.unit.executors.htex.link_lab import register, take

echo = plait.python_app(tasks.echo)
MAJOR, MINOR = sys.version_info[:2]
HERE = f"{MAJOR}.{MINOR}.0"
OTHERS = {
    "protocol": ({"protocol": m.PROTOCOL + 1, "python": HERE}, str(m.PROTOCOL), str(m.PROTOCOL + 1)),
    "older protocol": ({"protocol": m.PROTOCOL - 1, "python": HERE}, str(m.PROTOCOL), str(m.PROTOCOL - 1)),
    "python": ({"python": f"{MAJOR}.{MINOR + 1}.0"}, f"{MAJOR}.{MINOR}", f"{MAJOR}.{MINOR + 1}"),
}


def settings_of_block() -> ManagerSettings:
    """What the managers of block 0 are told."""
    return msgspec.json.decode(Path("runs/000/HighThroughputExecutor/blocks/0.json").read_bytes(), type=ManagerSettings)


def dial() -> Dealer:
    """A connection with the block's key."""
    told = settings_of_block()
    dealer = Dealer(told.addresses, told.port, told.server_public, told.public, told.secret, 10.0)
    dealer.reconnected()
    return dealer


@pytest.mark.parametrize("which", OTHERS)
def test_it_is_refused_with_both_versions_and_the_run_goes_on(which, caplog):
    facts, ours, theirs = OTHERS[which]
    with pilot_jobs(max_losses=0, initialize_logging=True, run_dir="runs") as kernel:
        htex = up(kernel)
        (before,) = htex.connected_managers()
        dealer = dial()
        try:
            dealer.send(register("0", "stranger", **facts))
            with caplog.at_level(logging.WARNING, "plait"):
                ((refused, _),) = take(dealer, 1)
                assert type(refused) is m.Refused
                wait_until(lambda: "was refused" in caplog.text, 20)
        finally:
            dealer.close(0)
        said = caplog.text
        assert [echo(i).result(30) for i in range(50)] == list(range(50))
        assert [each["manager"] for each in htex.connected_managers()] == [before["manager"]]
    for text in (refused.reason, said):
        assert ours in text
        assert theirs in text
    assert said.count("was refused") == 1


def test_frames_of_another_version_end_their_connection_only():
    with pilot_jobs(max_losses=0, initialize_logging=True, run_dir="runs") as kernel:
        up(kernel)
        log = Path("runs/000/HighThroughputExecutor/interchange.log")
        frame = bytearray(encode(register("0", "stranger", python=HERE)))
        frame[2] += 1
        import zmq

        told = settings_of_block()
        with zmq.Context() as context, context.socket(zmq.DEALER) as sock:
            sock.linger = 0
            sock.curve_publickey, sock.curve_secretkey = told.public.encode(), told.secret.encode()
            sock.curve_serverkey = told.server_public.encode()
            sock.connect(f"tcp://{told.addresses[0]}:{told.port}")
            for _ in range(20):
                sock.send(bytes(frame))
            wait_until(lambda: "version" in log.read_text(), 20, log.read_text)
        assert [echo(i).result(30) for i in range(50)] == list(range(50))
