"""The warden: ends what commands of a thread executor started when the driver goes away.

Workers have the zygote for that. Threads have no process of their own, so the first command of a thread executor starts this one:
it waits for the end of its standard input, which comes with the end of the driver, however that comes, or with `Warden.close`.
Then it kills every process with the executor's mark in its environment (`remains`) and ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

from plait.executors.pool.egg import MARK, new_mark
from plait.executors.pool.remains import end_marked

_CODE: Final = "import os, sys; sys.path.append({home!r}); from plait.executors.pool.remains import end_marked; os.read(0, 1); end_marked({mark!r})"


class Warden:
    """The process, and the mark that it looks for.

    Attributes:
        env: what commands must have in their environment.
    """

    def __init__(self) -> None:
        self._mark = new_mark()
        self.env = ((MARK, self._mark),)
        home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CODE.format(home=home, mark=self._mark)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def end_commands(self, grace_s: float) -> None:
        """Ends the commands that there are: SIGTERM, the grace, SIGKILL."""
        end_marked(self._mark, grace_s=grace_s)

    def close(self, timeout_s: float) -> None:
        """Ends what is left of the commands, and the warden."""
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        self._process.stdin.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            end_marked(self._mark)
