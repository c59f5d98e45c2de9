"""What a block needs before its job is submitted: a key pair of its own, a private file with its settings, and the command that starts its managers.

```
<run>/<label>/blocks/       0700
    3.json                  0600, written before block 3 is requested, removed when it has ended
    interchange.sock        0600, where managers on this host reach the interchange (`near`)
```
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import stat
import string
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec

from plait._util.dirs import private_temp_dir
from plait.errors import ConfigurationError
from plait.executors.htex.near import FILE_NAME, token_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plait.executors.htex.settings import ManagerSettings

#: How managers are started unless somebody knows better.
DEFAULT_COMMAND: Final = "{python} -m plait.executors.htex.manager {config}"
#: The line that ends settings within a command. They are JSON on one line, so it is not among them.
_END: Final = "PLAIT_SETTINGS"
#: What a `launch_cmd` may name beside parameters of the executor.
OWN_NAMES: Final = ("block_id", "config", "python", "task_port", "addresses", "logdir", "debug")


class BlockLaunch:
    """Keys, settings and commands of blocks.

    Args:
        settings: of all managers; block and keys are filled in.
        directory: for the files; it is made when it is missing. Empty for a private one in the system's place for temporary files.
        command: template of the command.
        values: what its placeholders stand for, beside `OWN_NAMES`.
        new_keys: makes a key pair (public, secret); None without encryption.
        allow: tells the interchange a block's public key, or with an empty one that the block has ended.
        embed: the nodes do not see this machine's files: the settings are part of the command, which gets them on its standard input.
        python: the interpreter of the nodes.
        near_secret: what tokens of managers on this host are made with (`near`); empty for none.

    Raises:
        ConfigurationError: others may look into the directory.
    """

    def __init__(
        self,
        settings: ManagerSettings,
        directory: str,
        command: str,
        values: Mapping[str, Any],
        new_keys: Callable[[], tuple[str, str]] | None,
        allow: Callable[[str, str], None],
        *,
        embed: bool = False,
        python: str = sys.executable,
        near_secret: str = "",
    ) -> None:
        self._settings = settings
        self._near_secret = near_secret
        self._embed = embed
        self._python = python
        self._temporary = not directory
        self._directory = make_private(directory) if directory else private_temp_dir("plait-blocks-")
        self._command = command
        self._values = values
        self._new_keys = new_keys
        self._allow = allow

    def command(self, block: str) -> str:
        """Makes everything ready for a block; the command that its job is to run on each of its nodes."""
        public, secret = self._new_keys() if self._new_keys is not None else ("", "")
        token = token_of(self._near_secret, block, public).hex() if self._near_secret else ""
        settings = msgspec.structs.replace(self._settings, block=block, public=public, secret=secret, near_token=token)
        text = msgspec.json.encode(settings)
        if self._embed:
            config, there = "-", f" <<'{_END}'\n{text.decode()}\n{_END}"
        else:
            config, there = shlex.quote(self._path(block)), ""
            write_private(self._path(block), text)
        if public:
            self._allow(block, public)
        command = self._command.format(
            **{
                **self._values,
                "block_id": block,
                "config": config,
                "python": shlex.quote(self._python),
                "task_port": settings.port,
                "addresses": ",".join(settings.addresses),
                "logdir": shlex.quote(settings.log_dir),
                "debug": "--debug" if settings.debug else "",
            }
        )
        return command + there

    def ended(self, block: str) -> None:
        """The block is over: its key is worth nothing any more."""
        if self._new_keys is not None:
            self._allow(block, "")
        try:
            os.unlink(self._path(block))
        except OSError:
            pass  # somebody has tidied up

    def close(self) -> None:
        """Removes what is left of the files."""
        if self._temporary:
            shutil.rmtree(self._directory, ignore_errors=True)
            return
        try:
            names = os.listdir(self._directory)
        except OSError:
            return
        for name in names:
            if name.endswith(".json") or name == FILE_NAME:  # an interchange that was killed leaves its socket
                with contextlib.suppress(OSError):  # one that ends at this moment removes it itself
                    os.unlink(os.path.join(self._directory, name))

    def _path(self, block: str) -> str:
        return os.path.join(self._directory, f"{block}.json")


def check_template(command: str, names: Mapping[str, Any], *, must_tell: bool = True) -> None:
    """Refuses a template of a command that names what there is not, or does not tell a manager whom to serve if it must.

    Raises:
        ConfigurationError: with the names that there are.
    """
    if not isinstance(command, str) or not command.strip():
        raise ConfigurationError(f"launch_cmd={command!r}: expected a command line, such as {DEFAULT_COMMAND!r}")
    try:
        used = [name for _, name, _, _ in string.Formatter().parse(command) if name is not None]
    except ValueError as error:
        raise ConfigurationError(
            f"launch_cmd={command!r}: {error}; braces that are no placeholders are written twice"
        ) from None
    known = sorted({*names, *OWN_NAMES})
    unknown = [name for name in used if name not in known]
    if unknown:
        raise ConfigurationError(
            f"launch_cmd={command!r}: there is no {{{unknown[0]}}}; expected some of {', '.join(known)}"
        )
    if must_tell and "config" not in used:
        raise ConfigurationError(
            f"launch_cmd={command!r}: expected {{config}} in it, the file that tells the manager whom to serve, as in {DEFAULT_COMMAND!r}"
        )


def make_private(path: str) -> str:
    """Makes a directory for its owner only, or checks that it is one.

    Raises:
        ConfigurationError: it belongs to somebody else, or others may enter it.
    """
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigurationError(f"the directory {path!r} cannot be made: {error.strerror or error}") from error
    info = os.lstat(path)
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o077:
        raise ConfigurationError(
            f"{path!r} must be a directory of yours that nobody else may enter (mode 0700), because keys are put there"
        )
    return path


def write_private(path: str, data: bytes) -> None:
    """Writes a new file that only its owner may read; one that is there already is not followed, but replaced."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
        while data:
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)
