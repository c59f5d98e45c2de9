"""Programs that say how they were called, in place of those that start copies on nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

_PROGRAM = """\
#!{python} -IS
import json, os, subprocess, sys
words = sys.argv[1:]
hosts = [open(file).read().split() for option, file in zip(words, words[1:]) if option in ("--hostfile", "--sshloginfile")]
with open({calls!r}, "a") as file:
    file.write(json.dumps(dict(argv=words, stdin=sys.stdin.read(), mode=os.stat(words[-1]).st_mode & 0o777, hosts=hosts)) + "\\n")
sys.exit(subprocess.run(words[-2:]).returncode)
"""


class Fake:
    """A program of this name in a folder that comes first in `PATH`: it notes its arguments, and runs the last two words once."""

    def __init__(self, folder, name, environment=None):
        self.folder = folder
        self._calls = folder / "calls"
        program = folder / name
        program.write_text(_PROGRAM.format(python=sys.executable, calls=str(self._calls)))
        program.chmod(0o755)
        self.environment = {"PATH": f"{folder}:{os.environ['PATH']}", **(environment or {})}

    def bash(self, script, cwd=None, stdin=""):
        """What a job with this script does."""
        return subprocess.run(
            ["bash", "-c", script],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=self.environment,
            cwd=cwd or self.folder,
        )

    @property
    def calls(self):
        return [json.loads(line) for line in self._calls.read_text().splitlines()]

    def argv(self):
        """The words of the only call; names of files, which are others each time, as `FILE`, `FILE.hosts` and so on."""
        (call,) = self.calls
        assert call["stdin"] == ""
        name = call["argv"][-1]
        return [word.replace(name, "FILE") for word in call["argv"]]

    def hosts(self):
        """The hosts of the only call; None when it was told of none."""
        (call,) = self.calls
        return call["hosts"][0] if call["hosts"] else None
