"""What launchers that start copies on other nodes share: the command stands in a private file, which each copy runs.

```
the job's script   plait_script=$(mktemp <folder>/command.XXXXXXXXXX)      0600, written where the job runs
                   cat >"$plait_script" <<'PLAIT_COMMAND' …                byte for byte: nothing in it is expanded here
                   srun … /bin/bash "$plait_script" </dev/null
                   rm -f "$plait_script"                                   the status of the whole is that of `srun`
```

A command in the arguments of `srun` would be quoted by the rules of each launcher, and everybody on the node could read it with `ps`.
Standard input is closed off because `srun` and others read it to its end, and it may be the job's script itself.
"""

from __future__ import annotations

import shlex
from abc import abstractmethod
from typing import ClassVar, Final

from plait.errors import ConfigurationError
from plait.launchers.base import Launcher

#: What runs the file on each node. A full name: some launchers look for programs in places of their own.
BASH: Final = "/bin/bash"


class CommandFileLauncher(Launcher):
    """A launcher whose program starts copies of a file.

    Args:
        debug: whether the job's errors show the command line of the launcher.
        overrides: options that are added to that line as they are; the shell reads them, so quote what has blanks.

    Raises:
        ConfigurationError: the overrides are no text.
    """

    #: Lines of bash whose output is put before the command.
    head: ClassVar[str] = ""

    def __init__(self, debug: bool = True, overrides: str = "") -> None:
        super().__init__(debug=debug)
        self.overrides = checked_line(self, "overrides", overrides)

    @abstractmethod
    def line(self, tasks_per_node: int, nodes_per_block: int) -> str:
        """The program and its options, to which the copies' own command is added."""

    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        """Lines of bash that end with the status of the copies.

        Raises:
            ConfigurationError: the numbers are none.
        """
        copies(self, tasks_per_node, nodes_per_block)
        run = f"{self.line(tasks_per_node, nodes_per_block)} {BASH} {FILE} </dev/null"
        return in_file(command, shown(run, self.debug), script_dir, self.head)


#: How lines that `in_file` is given name the file.
FILE: Final = '"$plait_script"'


def in_file(command: str, run: str, script_dir: str, head: str = "") -> str:
    """Lines of bash that write a command into a private file, run something with it, and remove it.

    Args:
        command: what the file holds, any number of lines.
        run: lines that start copies of `FILE`. The status of the last one is that of the whole.
        script_dir: folder of the file; all nodes of the block must see it. Empty for the one where the job's script runs.
        head: lines of bash whose output is put before the command.
    """
    folder = shlex.quote(script_dir) if script_dir else '"$PWD"'
    fill = f"{head}\ncat" if head else "cat"
    mark = _mark(command)
    return f"""\
plait_script=$(umask 077; mktemp {folder}/command.XXXXXXXXXX) || exit
{{ {fill}; }} >"$plait_script" <<'{mark}' || exit
{command}
{mark}
plait_status=0
{{
{run}
}} || plait_status=$?
rm -f -- "$plait_script"
(exit "$plait_status")
"""


def shown(line: str, debug: bool) -> str:
    """A command line, of which the shell says what it made of it when that is wanted."""
    return f"(set -x; {line})" if debug else line


def copies(launcher: object, tasks_per_node: int, nodes_per_block: int) -> int:
    """How many copies a block has.

    Raises:
        ConfigurationError: one of the numbers is none.
    """
    for name, value in (("tasks_per_node", tasks_per_node), ("nodes_per_block", nodes_per_block)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigurationError(f"{type(launcher).__name__}: {name}={value!r}: expected a whole number from 1")
    return tasks_per_node * nodes_per_block


def checked_line(launcher: object, name: str, value: str) -> str:
    """Options for a command line as the user wrote them.

    Raises:
        ConfigurationError: it is no text, or several lines, which would end the command line.
    """
    if not isinstance(value, str) or "\n" in value or "\0" in value:
        raise ConfigurationError(
            f"{type(launcher).__name__}({name}={value!r}): expected options for its command line, as text of one line"
        )
    return value


def joined(*words: str) -> str:
    """Words of a command line, without those that are empty."""
    return " ".join(word for word in words if word.strip())


def _mark(command: str) -> str:
    """The end of a here-document that holds the command: a line that the command does not have."""
    lines = set(command.split("\n"))
    mark = "PLAIT_COMMAND"
    while mark in lines:
        mark += "_"
    return mark
