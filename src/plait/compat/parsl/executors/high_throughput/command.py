"""Commands that name upstream's programs, as commands that start plait's: what stands before the program stays."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

from plait.executors.htex.child import own_command
from plait.executors.htex.launch import DEFAULT_COMMAND

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The program of upstream's workers with its options, up to where the shell's next command begins.
_POOL: Final = re.compile(
    r"(?:(?P<python>[^\s'\"=;&|(]+)\s+-m\s+parsl\.executors\.high_throughput\.process_worker_pool\b"
    r"|(?P<path>[^\s'\"=;&|(]*)process_worker_pool\.py)(?P<options>[^;&|<>\"')\n]*)"
)
_INTERCHANGE: Final = ["-m", "parsl.executors.high_throughput.interchange"]
#: Commands that run others where this Python is not.
_CONTAINERS: Final = re.compile(
    r"\b(apptainer|singularity|docker|podman|podman-hpc|shifter|charliecloud|ch-run|enroot)\b"
)


def launch_command(command: str) -> str:
    """A template for `plait.HighThroughputExecutor`; one that does not name upstream's program is returned as it is."""
    found = _POOL.search(command) if isinstance(command, str) else None
    if found is None:
        return command.replace("{{block_id}}", "{block_id}") if isinstance(command, str) else command
    before = command[: found.start()].replace("{{", "{").replace("}}", "}")  # upstream fills templates in twice
    python = "{python}"
    if found["python"]:
        python = found["python"]
    elif found["path"]:
        python = os.path.join(os.path.dirname(found["path"]), "python")
    elif _CONTAINERS.search(before):
        python = "python3"
    after = command[found.end() :]
    return before + DEFAULT_COMMAND.replace("{python}", python) + (f" {after.lstrip()}" if after.strip() else after)


def template_words(executor: Any) -> dict[str, Any]:
    """What upstream's templates may name beside what plait's may."""
    return {
        "accelerators": " ".join(executor.available_accelerators),
        "address_probe_timeout_string": ""
        if executor.address_probe_timeout is None
        else f"--address_probe_timeout={executor.address_probe_timeout}",
        "cert_dir": None,
        "enable_mpi_mode": "--enable_mpi_mode" if executor.gives_nodes else "",
        "mpi_launcher": executor.mpi_launcher,
        "poll_period": executor.poll_period,
        "worker_port": executor.worker_port,
    }


def interchange_command(command: Sequence[str] | None) -> list[str]:
    """Words for `plait.HighThroughputExecutor`; none when it is upstream's program and nothing else."""
    words = list(command or [])
    if words[-2:] == _INTERCHANGE:
        before = words[:-3]  # the interpreter is ours as well
    elif words and os.path.basename(words[-1]) == "interchange.py":
        before = words[:-1]
    else:
        return words
    return [*before, *own_command()] if before else []
