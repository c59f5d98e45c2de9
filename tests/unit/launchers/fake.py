"""Programs that say how they were called, in place of those that start copies on nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

_PROGRAM = """\
#!{python} -IS
import json, os, subprocess, sys
with open({calls!r}, "a") as file:
    file.write(json.dumps(dict(argv=sys.argv[1:], stdin=sys.stdin.read(), mode=os.stat(sys.argv[-1]).st_mode & 0o777)) + "\\n")
sys.exit(subprocess.run(sys.argv[-2:]).returncode)
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
        """The words of the only call, without the file's name, which is another each time."""
        (call,) = self.calls
        assert call["stdin"] == ""
        return call["argv"][:-1]
