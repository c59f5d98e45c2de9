"""All links of an interchange, and managers on its host, all of them used by the test's thread."""

from __future__ import annotations

import threading

from plait.executors.htex import messages as m
from plait.executors.htex.door import Links
from plait.executors.htex.link import Router, new_keys
from plait.executors.htex.near import NearDealer, token_of
from tests.support import wait_until
from tests.unit.executors.htex.link_lab import HOST, PORTS

SECRET = "5e" * 32


class Near:
    """All links of an interchange, and managers of them, all used by the test's thread."""

    def __init__(self, folder, *, encrypted=True):
        self.public, self.secret = new_keys() if encrypted else ("", "")
        self.path = str(folder / "interchange.sock")
        self.keys = {}
        self.dealers = []
        self.got = []
        self.links = self.open()

    def open(self):
        self.router = Router([HOST], None, PORTS, self.secret, self.public)
        try:
            return Links(self.router, self.path, SECRET, is_open=not self.secret)
        except OSError:
            self.router.close(0)
            raise

    def allow(self, block):
        if self.public:
            self.keys[block] = new_keys()
            self.links.allow(block, self.keys[block][0])

    def token(self, block):
        return token_of(SECRET, block, self.keys.get(block, ("", ""))[0])

    def pump(self):
        self.links.flush()
        self.got += self.links.receive()
        self.links.has_input()

    def beside(self, call):
        """What a call that waits for the interchange returns, or raises."""
        found = []

        def run():
            try:
                found.append(call())
            except BaseException as error:
                found.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        wait_until(lambda: self.pump() or found, 20)
        thread.join()
        if isinstance(found[0], BaseException):
            raise found[0]
        return found[0]

    def dealer(self, block="b0", token=None, *, allow=True):
        if allow and block not in self.keys:
            self.allow(block)
        dealer = self.beside(lambda: NearDealer(self.path, block, self.token(block) if token is None else token, 5.0))
        self.dealers.append(dealer)
        return dealer

    def until(self, cond):
        return wait_until(lambda: self.pump() or cond(), 10, lambda: (self.links.counts, len(self.got)))

    def greet(self, dealer, number):
        """The connection of a manager that has said something."""
        dealer.reconnected()
        assert dealer.send(m.Heartbeat(number))
        return self.until(lambda: next((each[0] for each in self.got if each[2] == m.Heartbeat(number)), None))

    def close(self):
        for dealer in self.dealers:
            dealer.close(0)
        self.links.close(0)


def take(dealer, count, pump=lambda: None):
    found = []

    def enough():
        pump()
        dealer.flush()
        found.extend(dealer.receive())
        return len(found) >= count

    wait_until(enough, 20, lambda: (len(found), dealer.problems))
    return found
