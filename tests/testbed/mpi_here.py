"""Both MPI libraries that Debian has, MPICH and Open MPI, and this machine as several nodes.

Both start helpers on the nodes of a program, usually by ssh. Here the helpers of all nodes run on this machine, whatever the nodes are called:
MPICH forks them, Open MPI is given a command in place of ssh.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support import ROOT, require, require_command

if TYPE_CHECKING:
    from pathlib import Path

PROGRAMS = ROOT / "tests" / "programs"
#: Open MPI fails when two of its processes make the same folder at the same moment. Nodes that are machines do not share theirs.
_OWN_FOLDER = "TMPDIR=$(mktemp -d {0}/o.XXXX); export TMPDIR"
_AGENT = """# stands for ssh: the host is not asked
while [ "${1#-}" != "$1" ]; do shift; done
shift
exec /bin/sh -c "$*"
"""


class Mpi:
    """One of the libraries.

    Attributes:
        launcher: what `mpi_launcher` is called.
        env: variables of the environment in which its programs are started.
        ring: the compiled program.
        python: the command line of the same in Python.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.launcher = {"mpich": "mpiexec", "openmpi": "mpirun"}[name]
        command, compiler = require_command(f"{self.launcher}.{name}"), require_command(f"mpicc.{name}")
        commands = folder / "bin"
        commands.mkdir()
        own = _OWN_FOLDER.format(folder)
        _script(commands / self.launcher, f'{own}; exec {command} "$@"')
        self.ring = str(folder / "ring")
        made = subprocess.run(
            [compiler, str(PROGRAMS / "ring.c"), "-o", self.ring], capture_output=True, text=True, check=False
        )
        require(made.returncode == 0, f"a compiler for {name}: {made.stderr.strip()[:200]}")
        self.python = f"{sys.executable} {PROGRAMS / 'ring.py'}"
        self.env = {"PATH": f"{commands}:{os.environ['PATH']}"}
        if name == "mpich":
            libraries = folder / "lib"
            libraries.mkdir()  # mpi4py knows the library by the name that it has elsewhere
            (libraries / "libmpi.so.12").symlink_to(_path_of("libmpich.so.12"))
            self.env |= {"HYDRA_LAUNCHER": "fork", "MPI4PY_MPIABI": "mpich", "LD_LIBRARY_PATH": str(libraries)}
        else:
            agent = _script(folder / "agent", f"{own}\n{_AGENT}")
            self.env |= {
                "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_plm": "rsh",
                "OMPI_MCA_plm_rsh_agent": str(agent), "OMPI_MCA_btl": "self,tcp", "OMPI_MCA_btl_tcp_if_include": "lo",
                "OMPI_MCA_oob_tcp_if_include": "lo", "MPI4PY_MPIABI": "openmpi",
            }  # fmt: skip


def _script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def _path_of(library: str) -> str:
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    paths = [line.split()[-1] for line in listed.splitlines() if line.split()[:1] == [library]]
    require(paths, library)
    return paths[0]


def require_mpi4py() -> None:
    """Skips, or fails in CI, without mpi4py."""
    require(importlib.util.find_spec("mpi4py") is not None, "mpi4py")


@pytest.fixture(scope="session")
def mpich(tmp_path_factory: pytest.TempPathFactory) -> Mpi:
    """MPICH."""
    return Mpi("mpich", tmp_path_factory.mktemp("mpich"))


@pytest.fixture(scope="session")
def openmpi(tmp_path_factory: pytest.TempPathFactory) -> Mpi:
    """Open MPI."""
    return Mpi("openmpi", tmp_path_factory.mktemp("openmpi"))
