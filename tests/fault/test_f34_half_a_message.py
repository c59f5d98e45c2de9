"""F34: a manager is killed while it sends something large: half of it is nothing, the link is reset, and others go on."""

from __future__ import annotations

import subprocess
import sys

from plait.executors.htex import messages as m
from tests.support import ROOT, wait_until
from tests.unit.executors.htex.link_lab import net

PROGRAM = """
import sys
from plait.executors.htex import messages as m
from plait.executors.htex.link import Dealer
port, server, public, secret = sys.stdin.readline().split()
dealer = Dealer(["127.0.0.1"], int(port), server, public, secret, 20.0)
dealer.reconnected()
dealer.send(m.Heartbeat(7.0))
number = 0
print("up", flush=True)
while True:
    while dealer.backlog_bytes() < 50_000_000:
        dealer.send(m.Chunk(1, 1, number), bytes([number % 251]) * 7_000_000)
        number += 1
    dealer.flush()
"""


def test_killed_in_the_middle_of_a_large_message():
    with net() as lab:
        good = lab.dealer("good")
        conn = lab.greet(good, 1.0)
        keys = lab.block("bad")
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdin
            assert child.stdout
            child.stdin.write(f"{lab.router.port} {lab.public} {keys[0]} {keys[1]}\n")
            child.stdin.flush()
            lab.heard(7.0, 20)
            lab.until(lambda: sum(isinstance(each[2], m.Chunk) for each in lab.got) > 5, 20)
            child.kill()
        lab.until(lambda: lab.router.connections == 1)
        lab.greet(good, 2.0)
        chunks = [each for each in lab.got if isinstance(each[2], m.Chunk)]
        assert [each[2].offset for each in chunks] == list(range(len(chunks)))
        assert all(each[3] == bytes([each[2].offset % 251]) * 7_000_000 for each in chunks)
        assert lab.router.send(conn, m.Heartbeat(3.0))
        wait_until(good.receive)
        bad = chunks[0][0]
        lab.until(lambda: not lab.router.send(bad, m.Heartbeat(4.0)))
