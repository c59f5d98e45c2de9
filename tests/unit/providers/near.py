"""Another machine that is this one: connections whose lines of shell run here, and which break when a test says so."""

from __future__ import annotations

import subprocess

from plait.providers.shell import CommandFailed, Finished, LocalShell


class Near:
    """What `ssh_connection.Connection` is to those who use it."""

    def __init__(self, host="near"):
        self.host = host
        self.lines = []
        self.forwards = []
        self.broken = ""  # why it cannot be used
        self.loses = 0  # answers that get lost, of commands that were run
        self.lives = 1
        self.is_up = True
        self.closed = 0
        self.refuses = set()  # ports that it does not lend

    def run(self, command, *, timeout_s, stdin="", argv=(), max_bytes=0):
        self.lines.append(command)
        if self.broken:
            raise CommandFailed(argv, None, "", "", self.broken)
        done = LocalShell().run(["/bin/sh", "-c", command], timeout_s=timeout_s, stdin=stdin)
        if self.loses:
            self.loses -= 1
            raise CommandFailed(argv, None, "", "", f"the connection to {self.host} broke")
        return Finished(tuple(argv), done.code, done.out, done.err)

    def popen(self, command):
        if self.broken:
            raise CommandFailed(("ssh",), None, "", "", self.broken)
        return subprocess.Popen(["/bin/sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def forward(self, address, port, there=0):
        if self.broken:
            raise CommandFailed(("ssh",), None, "", "", self.broken)
        if there in self.refuses:
            raise CommandFailed(("ssh",), 255, "", "", "taken")
        self.forwards.append((address, port, there))
        return there or port

    def open(self):
        self.closed = 0

    def close(self):
        self.closed += 1
