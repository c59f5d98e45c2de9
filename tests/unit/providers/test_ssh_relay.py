from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys

import pytest

from plait.providers import ssh_relay


@contextlib.contextmanager
def relay(target, port=0, *addresses):
    process = subprocess.Popen(
        [sys.executable, ssh_relay.__file__, str(target), str(port), *(addresses or ("127.0.0.1",))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with process:
        yield process
        process.stdin.close()
        assert process.wait(10) == 0  # it ends with its input


def told(process):
    words = process.stdout.readline().split()
    assert words[0] == b"plait-relay"
    return int(words[1]), [word.decode() for word in words[2:]]


@pytest.fixture
def target():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_bytes_pass_in_both_directions_until_an_end_is_closed(target):
    with relay(target.getsockname()[1]) as process:
        port, addresses = told(process)
        assert addresses == ["127.0.0.1"]
        with socket.create_connection(("127.0.0.1", port), 10) as near:
            far, _ = target.accept()
            with far:
                data = os.urandom(3_000_000)
                far.settimeout(10)
                got = bytearray()
                for start in range(0, len(data), 100_000):
                    near.sendall(data[start : start + 100_000])
                    while len(got) < start + 100_000:
                        got += far.recv(1 << 20)
                assert bytes(got) == data
                far.sendall(b"answer")
                assert near.recv(6) == b"answer"
                near.close()
                assert far.recv(1) == b""


def test_a_target_that_is_gone_closes_the_connection(target):
    port = target.getsockname()[1]
    target.close()
    with relay(port) as process, socket.create_connection(("127.0.0.1", told(process)[0]), 10) as near:
        assert near.recv(1) == b""


def test_one_port_of_all_addresses(target):
    with relay(target.getsockname()[1], 0, "127.0.0.1", "127.0.0.2") as process:
        port, addresses = told(process)
        assert addresses == ["127.0.0.1", "127.0.0.2"]
        with socket.create_connection(("127.0.0.2", port), 10):
            target.accept()[0].close()


def test_a_port_that_is_taken(target):
    with pytest.raises(OSError, match="in use"):
        ssh_relay.listen(["127.0.0.1"], target.getsockname()[1])
    with pytest.raises(OSError, match="no address"):
        ssh_relay.listen([], 5)


def test_addresses_are_no_loopback():
    assert not any(address.startswith("127.") for address in ssh_relay.addresses())
