"""F31: when open files run out, managers that are there stay and new ones are refused, with a warning, until there is room again."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys

from plait.executors.htex import messages as m
from tests.support import ROOT, require_linux
from tests.unit.executors.htex.link_lab import HOST, net, take


def test_at_the_limit_new_ones_are_refused_and_old_ones_stay():
    with net(max_connections=5) as lab:
        old = [lab.dealer() for _ in range(4)]
        conns = [lab.greet(dealer, float(number)) for number, dealer in enumerate(old)]
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(socket.create_connection((HOST, lab.router.port)))
            lab.until(lambda: lab.router.counts["full"] >= 19)
            assert "5 already" in next(each for each in lab.router.problems if "already" in each)
            lab.until(lambda: lab.router.connections <= 5)
            for conn, dealer in zip(conns, old, strict=True):
                assert lab.router.send(conn, m.Heartbeat(1.0))
                take(dealer, 1)
        lab.greet(lab.dealer(), 10.0)


PROGRAM = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (96, 96))
from plait.executors.htex import messages as m
from tests.unit.executors.htex.link_lab import HOST, net, take
with net() as lab:
    print(lab.router.port, flush=True)
    lab.block("b0")
    sys.stdin.readline()
    lab.until(lambda: lab.router.counts["full"] >= 20, 20)
    print("full", lab.router.connections, flush=True)
    sys.stdin.readline()
    lab.until(lambda: lab.router.connections == 0, 20)
    print("free", flush=True)
"""


def test_with_few_open_files_the_process_lives_and_recovers():
    require_linux("the limit leaves room for what ZeroMQ needs there")
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin
        assert child.stdout
        try:
            port = int(child.stdout.readline())
            with contextlib.ExitStack() as stack:
                for _ in range(120):
                    stack.enter_context(socket.create_connection((HOST, port)))
                child.stdin.write("go\n")
                child.stdin.flush()
                word, count = child.stdout.readline().split()
                assert word == "full"
                assert 10 < int(count) < 96
            child.stdin.write("go\n")
            child.stdin.flush()
            assert child.stdout.readline() == "free\n"
            assert child.wait(20) == 0
        finally:
            child.kill()
