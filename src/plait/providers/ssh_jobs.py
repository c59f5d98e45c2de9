"""Jobs on a host that has no batch system: a script in a session of its own, watched and ended by lines of plain shell.

```
<folder>/<name>.sh    the script                     .out .err   what it writes
              .pid    its process, and when that started, because numbers of processes are used again
              .ec     its exit status, which it writes at its very end
```

All processes of a job have ``PLAIT_JOB=<name>`` in their environment. By that they are found and ended, wherever they detached themselves to.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plait.limits import GRACE_S
from plait.providers.shell import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plait.providers.ssh_shell import SshShell

#: Seconds that starting a job, and a look, may take.
_START_S: Final = 60.0
#: Tenths of a second that processes have after SIGKILL.
_KILL_TENTHS: Final = 20

_SCRIPT: Final = """\
#!/bin/bash
export PLAIT_JOB={name} JOBNAME={name}
plait_ec={path}.ec
trap 'plait_status=$?; echo "$plait_status" > "$plait_ec.new"; mv -f "$plait_ec.new" "$plait_ec"; exit "$plait_status"' EXIT
cd {cwd} || exit
{worker_init}
{command}
"""
# Started twice it runs once: the folder's name decides, as the answer to the first may have been lost. A connection that breaks ends what comes in like a
# whole script does, so its size is told. The job has the user's umask, its files have not. Its shell has the mark from the beginning: one that is at no command
# of its own while the others are ended would go on with the next.
_START: Final = (
    'u=$(umask); umask 077; mkdir -p -- "${1%/*}" || exit 1; '
    '{ cat > "$1.sh.$$" && [ "$(wc -c < "$1.sh.$$")" -eq "$2" ]; } || { rm -f -- "$1.sh.$$"; echo "the script did not come whole" >&2; exit 1; }; '
    'mkdir -- "$1.lock" 2>/dev/null || { rm -f -- "$1.sh.$$"; echo started; exit 0; }; mv -f -- "$1.sh.$$" "$1.sh" || exit 1; '
    '(umask "$u"; PLAIT_JOB="$3"; export PLAIT_JOB; exec setsid /bin/bash "$1.sh") > "$1.out" 2> "$1.err" < /dev/null & '
    'echo "$! $(cut -d" " -f22 "/proc/$!/stat" 2>/dev/null)" > "$1.pid"; echo started'
)
# Where a job has left no number of its process, because the host went down or its disk was full just then, its script is looked for after two minutes.
_LOOK: Final = (
    'for p in "$@"; do n="${p##*/}"; if [ -s "$p.ec" ]; then echo "$n ended $(cat "$p.ec")"; '
    'elif [ ! -s "$p.pid" ]; then if [ ! -d "$p.lock" ]; then echo "$n absent"; '
    'elif [ -z "$(find "$p.lock" -prune -mmin +2)" ] || printf "%s" "$p.sh" | grep -qzsxF -f - /proc/[0-9]*/cmdline; '
    'then echo "$n starting"; else echo "$n killed"; fi; '
    'else read -r q t < "$p.pid"; if [ -n "$t" ] && [ "$(cut -d" " -f22 "/proc/$q/stat" 2>/dev/null)" = "$t" ] '
    '&& ! grep -q "^State:.[ZX]" "/proc/$q/status" 2>/dev/null; then echo "$n runs"; '
    'elif [ -s "$p.ec" ]; then echo "$n ended $(cat "$p.ec")"; else echo "$n killed"; fi; fi; done'
)
# The marked processes, but not this one: it has no mark. One that is just becoming another program is not seen for a moment, so at the end they are looked for twice.
_FIND: Final = 'find() { grep -lzsxF -e "PLAIT_JOB=$1" /proc/[0-9]*/environ | cut -d/ -f3; }; '
_END: Final = (
    f"{_FIND}"
    'tenths="$1"; shift; for n in "$@"; do p=$(find "$n"); [ -z "$p" ] || kill -TERM $p 2>/dev/null; done; '
    'i=0; while [ $i -lt "$tenths" ]; do l=; for n in "$@"; do l="$l$(find "$n")"; done; [ -z "$l" ] && break; sleep 0.1; i=$((i+1)); done; '
    f'i=0; gone=; while [ $i -lt {_KILL_TENTHS} ]; do l=; for n in "$@"; do p=$(find "$n"); l="$l$p"; [ -z "$p" ] || kill -KILL $p 2>/dev/null; done; '
    '[ -n "$l" ] && gone= || { [ -n "$gone" ] && exit 0; gone=1; }; sleep 0.1; i=$((i+1)); done; echo "some processes do not end" >&2; exit 1'
)
_TIDY: Final = 'for p in "$@"; do rm -rf -- "$p.sh" "$p.out" "$p.err" "$p.ec" "$p.pid" "$p.lock"; done; rmdir -- "${1%/*}" 2>/dev/null; exit 0'


@dataclass(frozen=True)
class Look:
    """What a host says of a job.

    Attributes:
        how: ``runs``, ``starting``, ``ended``, ``killed`` (it ended and wrote no exit status) or ``absent``.
        code: its exit status, when it ended by itself.
    """

    how: str
    code: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether it will not run any more."""
        return self.how in {"ended", "killed", "absent"}


def script(name: str, path: str, cwd: str, worker_init: str, command: str) -> str:
    """The script of a job.

    Args:
        name: of the job.
        path: of its files there, without the ending.
        cwd: directory there; empty for the user's home.
        worker_init: lines that come first.
        command: what it is to run.
    """
    return _SCRIPT.format(
        name=shlex.quote(name), path=shlex.quote(path), cwd=shlex.quote(cwd) if cwd else '"$HOME"', worker_init=worker_init, command=command
    )  # fmt: skip


def start(shell: SshShell, name: str, path: str, text: str) -> None:
    """Begins a job, once, however often it is called.

    Args:
        shell: of the host.
        name: of the job.
        path: of its files there, without the ending.
        text: its script.

    Raises:
        CommandFailed: it has not begun; or, without an exit status, it is not known whether it has.
    """
    size = len(text.encode(errors="surrogateescape"))
    done = shell.script(_START, path, str(size), name, timeout_s=_START_S, stdin=text)
    if "started" not in done.check():
        raise done.failed("the host did not say that the job was started")


def look(shell: SshShell, paths: Sequence[str], timeout_s: float) -> dict[str, Look]:
    """How jobs are, by their path, with one command.

    Raises:
        CommandFailed: the host did not answer.
        ValueError: what it said is no answer.
    """
    names = {path.rpartition("/")[2]: path for path in paths}
    found: dict[str, Look] = {}
    for line in shell.script(_LOOK, *paths, timeout_s=timeout_s).check().splitlines():
        words = line.split()
        if len(words) > 1 and words[0] in names:
            found[names[words[0]]] = Look(words[1], int(words[2]) if len(words) > 2 else None)
    if len(found) < len(names):
        raise ValueError("the host told of some of its jobs only")
    return found


def end(shell: SshShell, names: Sequence[str], timeout_s: float, grace_s: float = GRACE_S) -> None:
    """Ends jobs with all their processes: SIGTERM and, after some time, SIGKILL.

    Raises:
        CommandFailed: the host did not answer, or something is left.
    """
    shell.script(_END, str(int(grace_s * 10)), *names, timeout_s=timeout_s + grace_s + _KILL_TENTHS / 10).check()


def tidy(shell: SshShell, paths: Sequence[str]) -> None:
    """Removes the files of jobs, as far as that can be done now."""
    try:
        shell.script(_TIDY, *paths)
    except CommandFailed:
        pass
