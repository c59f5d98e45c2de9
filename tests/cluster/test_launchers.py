"""Launchers with the programs that they are for: Slurm's `srun`, Open MPI, MPICH, and GNU parallel over SSH."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess

import pytest

import plait
from plait.launchers.mpi import MpiExecLauncher, MpiRunLauncher
from plait.launchers.parallel import GnuParallelLauncher
from plait.launchers.simple import SingleNodeLauncher
from plait.launchers.srun import SrunLauncher, SrunMPILauncher
from plait.providers import LocalProvider
from tests.support import require_command
from tests.testbed.common import PATH, free_ports, require_commands

#: A command with most of what may go wrong on the way to a node.
HARD = """\
who=$(cat <<'PLAIT_COMMAND'
it's "$GREETING" {} \\
PLAIT_COMMAND
)
echo "$who $GREETING" # no newline follows"""
SAID = 'it\'s "$GREETING" {} \\ hello $HOME\n'


def bash(script, **environment):
    """Runs a job's script; its status, its output sorted by lines, and its errors."""
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "GREETING": "hello $HOME", **environment},
    )
    return done.returncode, "".join(sorted(done.stdout.splitlines(keepends=True))), done.stderr


# ------------------------------------------------------------------ Slurm
def in_job(slurm, tmp_path, script, *options, start=("salloc", "--quiet")):
    """Runs a script as a job on two nodes with two CPUs each, here or (`sbatch`) on the first of them; its status and its lines, sorted."""
    path, out = tmp_path / "job.sh", tmp_path / "out"
    path.write_text("#!/bin/bash\nexport GREETING='hello $HOME'\n" + script)
    where = ["bash"] if start[0] == "salloc" else [f"--output={out}", f"--chdir={tmp_path}"]
    argv = [*start, "--nodes=2", "--ntasks-per-node=2", *options, *where, str(path)]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **slurm.env}
    )
    text = out.read_text() if out.exists() else done.stdout + done.stderr
    return done.returncode, sorted(text.splitlines())


def test_srun_starts_the_copies_on_all_nodes(slurm, tmp_path):
    """And the status of the job is that of a copy that failed."""
    command = 'echo "$(hostname)"\n[ "$SLURM_PROCID" != 3 ] || exit 7'
    status, lines = in_job(slurm, tmp_path, SrunLauncher(debug=False)(command, 2, 2, str(tmp_path)))
    assert status == 7
    assert [line for line in lines if "srun: error" not in line] == ["0: node1", "1: node1", "2: node2", "3: node2"]
    assert list(tmp_path.glob("command.*")) == []


def test_srun_gives_a_copy_the_command_and_the_cpus_of_the_job(slurm, tmp_path):
    """Which steps do not have by themselves since 22.05."""
    script = SrunLauncher()(HARD + '\necho "$SLURM_CPUS_PER_TASK CPUs"', 1, 2, str(tmp_path))
    status, lines = in_job(slurm, tmp_path, script, "--ntasks-per-node=1", "--cpus-per-task=3")
    assert status == 0
    assert [line for line in lines if line[0] != "+"] == sorted(
        f"{n}: {text}" for n in (0, 1) for text in (SAID[:-1], "3 CPUs")
    )
    assert any("+ srun --nodes=2 --ntasks=2 --ntasks-per-node=1 --cpus-per-task=3 " in line for line in lines)


def test_srun_for_mpi_leaves_the_nodes_to_the_programs_of_tasks(slurm, tmp_path):
    """Each copy starts a program over both nodes, while the others run: they wait for each other."""
    command = f"""\
touch "{tmp_path}/here.$SLURM_STEP_ID"
until [ "$(ls {tmp_path}/here.* | wc -l)" = 2 ]; do sleep 0.05; done
echo "$(hostname): $(srun --overlap --nodes=2 --ntasks=2 hostname | sort | tr '\\n' ' ')"
"""
    status, lines = in_job(
        slurm, tmp_path, SrunMPILauncher(debug=False, overrides="--unbuffered")(command, 1, 2, str(tmp_path))
    )
    assert status == 0
    assert lines == ["0: node1: node1 node2 ", "0: node2: node1 node2 "]


# ------------------------------------------------------------------ MPI libraries
@pytest.fixture(params=["openmpi", "mpich"])
def mpi(request, tmp_path, monkeypatch):
    """One of the libraries is what `mpiexec` and `mpirun` are; both stand beside each other in Debian."""
    (tmp_path / "bin").mkdir()
    for name in ("mpiexec", "mpirun"):
        program = require_command(f"{name}.{request.param}")
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\nexec {program} "$@"\n')
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return request.param


@pytest.fixture(autouse=True)
def _open_mpi(tmp_path, monkeypatch):
    """Its settings, and a folder for its files: when it is killed with its block it cannot remove them."""
    (tmp_path / "of mpi").mkdir()
    for name, value in {**OPEN_MPI, "OMPI_MCA_orte_tmpdir_base": f"{tmp_path}/of mpi"}.items():
        monkeypatch.setenv(name, value)
    yield
    shutil.rmtree(tmp_path / "of mpi")


#: As root, more processes than cores, and nothing outside this machine.
OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_plm_rsh_agent": "false",
    "OMPI_MCA_oob_tcp_if_include": "lo",
}


@pytest.mark.parametrize("launcher", [MpiExecLauncher, MpiRunLauncher])
def test_mpi_libraries_start_the_copies(mpi, launcher, tmp_path):
    (tmp_path / "hosts").write_text("localhost\nlocalhost\n")
    rank = 'echo "${OMPI_COMM_WORLD_RANK-$PMI_RANK}"'
    for environment in ({}, {"PBS_NODEFILE": f"{tmp_path}/hosts"}):
        status, lines, errors = bash(launcher()(f"{HARD}\n{rank}", 3, 1, str(tmp_path)), **environment)
        assert (status, lines) == (0, "0\n1\n2\n" + SAID * 3), errors
    assert list(tmp_path.glob("command.*")) == []


def test_they_start_as_many_on_each_node_of_a_job(mpi, slurm, tmp_path):
    """Both libraries start what they need on the other node by themselves, as Slurm's jobs."""
    variables = "".join(f"export {name}={os.environ[name]!r}\n" for name in ("PATH", *OPEN_MPI) if "rsh" not in name)
    script = variables + "".join(
        launcher(debug=False)('echo "$(hostname) $GREETING"', 2, 2, str(tmp_path))
        for launcher in (MpiExecLauncher, MpiRunLauncher)
    )
    assert in_job(slurm, tmp_path, script, start=("sbatch", "--wait")) == (
        0,
        ["node1 hello $HOME"] * 4 + ["node2 hello $HOME"] * 4,
    )


@pytest.mark.parametrize("launcher", [MpiExecLauncher, MpiRunLauncher])
def test_a_copy_that_fails_does_not_take_the_others_with_it(mpi, launcher, tmp_path):
    """Open MPI would end them at once. The second copy goes on when the first has failed; the status of the whole is the first one's."""
    command = f"""\
if [ "${{OMPI_COMM_WORLD_RANK-$PMI_RANK}}" = 1 ]; then exit 7; fi
until [ -s "$0.failed" ]; do sleep 0.05; done
echo done > {tmp_path}/result"""
    assert bash(launcher(debug=False)(command, 2, 1, str(tmp_path)))[0] == 7
    assert (tmp_path / "result").read_text() == "done\n"


# ------------------------------------------------------------------ GNU parallel
@pytest.fixture
def ssh_hosts(tmp_path, monkeypatch):
    """Two names of this machine that SSH reaches without a question; the file that lists them."""
    require_commands("sshd", "ssh", "ssh-keygen", "parallel")
    sshd = str(shutil.which("sshd", path=PATH))
    (port,) = free_ports(1)
    folder = tmp_path / "ssh"
    folder.mkdir(mode=0o700)
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\nPidFile none\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
    )
    (folder / "config").write_text(
        f"Host node1 node2\n HostName 127.0.0.1\n Port {port}\n IdentityFile {folder}/user\n IdentitiesOnly yes\n"
        " StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n LogLevel ERROR\n"
    )
    (tmp_path / "hosts").write_text("node1\nnode1\nnode2\nnode2\n")
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # Debian's sshd wants it, and only its service makes it
    monkeypatch.setenv("PARALLEL_HOME", str(tmp_path / "parallel"))
    monkeypatch.setenv("PARALLEL_SSH", f"ssh -F {folder}/config")
    monkeypatch.setenv("PBS_NODEFILE", f"{tmp_path}/hosts")
    with subprocess.Popen(
        [sshd, "-D", "-e", "-f", folder / "sshd_config"], stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert "listening" in server.stderr.readline()
            yield
        finally:
            server.send_signal(signal.SIGTERM)


@pytest.mark.usefixtures("ssh_hosts")
def test_parallel_starts_a_copy_on_each_host(tmp_path):
    """With the job's variables and folder, which SSH leaves behind."""
    where = 'pwd; [ -n "$SSH_CONNECTION" ] && echo by ssh'
    status, lines, errors = bash(GnuParallelLauncher()(f"{HARD}\n{where}", 1, 2, str(tmp_path)))
    assert (status, lines) == (0, f"{tmp_path}\n" * 2 + "by ssh\n" * 2 + SAID * 2), errors


@pytest.mark.usefixtures("ssh_hosts")
def test_a_host_on_which_nothing_starts_does_not_draw_the_copies_of_others(tmp_path):
    """And the status of the whole is the highest of the copies."""
    command = f"mkdir {tmp_path}/first 2>/dev/null && exit 9; echo here"
    assert bash(GnuParallelLauncher(debug=False)(command, 1, 2, str(tmp_path)))[:2] == (9, "here\n")


def test_parallel_on_this_host_alone(tmp_path, monkeypatch):
    require_command("parallel")
    monkeypatch.delenv("PBS_NODEFILE", raising=False)
    assert bash(GnuParallelLauncher(debug=False)("echo it", 3, 1, str(tmp_path))) == (0, "it\n" * 3, "")


# ------------------------------------------------------------------ managers
@plait.python_app
def meet(folder, name, others):
    """Where it runs, once the others run too."""
    import os
    import threading

    open(os.path.join(folder, name), "w").close()
    while len(os.listdir(folder)) < others:
        threading.Event().wait(0.01)
    return os.environ["PARSL_WORKER_POOL_ID"]


@pytest.mark.parametrize(
    "launcher", [MpiExecLauncher(debug=False), MpiRunLauncher(), GnuParallelLauncher(), SingleNodeLauncher()], ids=repr
)
def test_copies_are_managers_of_a_block(launcher, tmp_path):
    """A block of two nodes, which are this machine twice: each has a manager of its own, and they go with the block."""
    if isinstance(launcher, GnuParallelLauncher):
        require_command("parallel")
    elif not isinstance(launcher, SingleNodeLauncher):
        require_command("mpiexec.openmpi")
    (tmp_path / "met").mkdir()
    nodes, copies = (1, 1) if isinstance(launcher, GnuParallelLauncher) else (2, 2)
    executor = plait.HighThroughputExecutor(
        label="pilots",
        address="127.0.0.1",
        max_workers_per_node=1,
        provider=LocalProvider(nodes_per_block=nodes, launcher=launcher, worker_init="export PLAIT_CORES=1"),
    )
    with plait.load(plait.Config(executors=[executor], run_dir=str(tmp_path / "runs"), progress=False)):
        futures = [meet(str(tmp_path / "met"), str(n), copies) for n in range(copies)]
        assert len({future.result(timeout=60) for future in futures}) == copies
