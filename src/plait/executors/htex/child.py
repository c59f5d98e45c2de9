"""The interchange's process, seen from the driver: started by exec, told its settings, and looked at when it has ended."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import msgspec

from plait.errors import ConfigurationError, signal_name
from plait.executors.htex.messages import TO_DRIVER
from plait.executors.htex.stream import Stream, socket_pair
from plait.executors.pool.page import anonymous_file
from plait.limits import GRACE_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plait.executors.htex.settings import InterchangeSettings

#: Bytes from the end of what it wrote to standard error that are shown.
_TAIL_BYTES: Final = 2000


class Child:
    """One life of the interchange.

    It waits for its settings (`tell`): so it loads its modules while they are made.

    Args:
        command: tokens that start it; the number of the descriptor of its end of the link is appended. Empty for plait's own.

    Raises:
        ConfigurationError: the command cannot be started.
    """

    def __init__(self, command: Sequence[str] = ()) -> None:
        ours, theirs = socket_pair()
        try:
            self._errors = anonymous_file(0)
        except OSError:
            ours.close()
            theirs.close()
            raise
        tokens = [*(command or own_command()), str(theirs.fileno())]
        try:
            self._process = subprocess.Popen(
                tokens,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.PIPE,
                stdout=self._errors,
                stderr=self._errors,
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            os.close(self._errors)
            raise ConfigurationError(
                f"the interchange cannot be started with {tokens}: {error.strerror or error}; look at interchange_launch_cmd"
            ) from error
        finally:
            theirs.close()
        self.pid = self._process.pid
        self.stream = Stream(ours, TO_DRIVER)

    def tell(self, settings: InterchangeSettings) -> None:
        """Gives it its settings, over its standard input."""
        pipe = self._process.stdin
        assert pipe is not None  # noqa: S101 - it was made so
        try:
            with pipe:
                pipe.write(msgspec.json.encode(settings))
        except OSError:
            pass  # it ended at once: the poll says so

    def how_it_ended(self, timeout_s: float = GRACE_S) -> str:
        """Waits for its end, hurries it when the time is over, and says how it ended, with the last that it wrote."""
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        how = f"it was ended by {signal_name(-status)}" if status < 0 else f"it ended with exit status {status}"
        tail = self._tail()
        return f"{how}; it said: {tail}" if tail else how

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()

    def close(self) -> None:
        """Closes what is open here; its end must have been waited for."""
        self.stream.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._errors >= 0:
            os.close(self._errors)
            self._errors = -1

    def _tail(self) -> str:
        if self._errors < 0:
            return ""
        size = os.fstat(self._errors).st_size
        return os.pread(self._errors, _TAIL_BYTES, max(0, size - _TAIL_BYTES)).decode(errors="replace").strip()


def own_command() -> list[str]:
    """How plait's own interchange is started: with this interpreter, and this very copy of plait."""
    home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    code = f"import sys; sys.path.append({home!r}); from plait.executors.htex.interchange import main; main()"
    return [sys.executable, "-c", code]


def find_command(tokens: Sequence[str]) -> list[str]:
    """The tokens of a user's command, checked.

    Raises:
        ConfigurationError: there is no such program.
    """
    command = list(tokens)
    if not command or not all(isinstance(token, str) and token for token in command):
        raise ConfigurationError(f"interchange_launch_cmd={tokens!r}: expected a list of words, the program first")
    if shutil.which(command[0]) is None:
        raise ConfigurationError(f"interchange_launch_cmd={tokens!r}: there is no program {command[0]!r} on PATH")
    return command
