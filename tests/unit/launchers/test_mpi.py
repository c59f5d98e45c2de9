from __future__ import annotations

import pytest

from plait.errors import ConfigurationError
from plait.launchers.mpi import MpiExecLauncher, MpiRunLauncher
from tests.unit.launchers.fake import Fake


@pytest.fixture
def mpiexec(tmp_path):
    return Fake(tmp_path, "mpiexec")


@pytest.fixture
def mpirun(tmp_path):
    return Fake(tmp_path, "mpirun")


def job_on(fake, *hosts):
    (fake.folder / "nodes").write_text("".join(f"{host}\n" for host in hosts))
    fake.environment["PBS_NODEFILE"] = str(fake.folder / "nodes")


def test_mpiexec_is_told_where(mpiexec):
    job_on(mpiexec, "n1", "n1", "n2")
    done = mpiexec.bash(MpiExecLauncher(overrides="--ppn 2 -x 'A B'")("echo it; exit 5", 2, 2, str(mpiexec.folder)))
    assert (done.returncode, done.stdout) == (5, "it\n")
    assert mpiexec.argv() == [
        *("--bind-to", "none", "--ppn", "2", "-x", "A B", "-n", "4", "--hostfile", "FILE.hosts", "/bin/bash", "FILE")
    ]
    assert mpiexec.hosts() == ["n1", "n1", "n2", "n2"]
    assert list(mpiexec.folder.glob("command.*")) == []


def test_mpiexec_without_a_list_of_hosts(mpiexec):
    assert mpiexec.bash("set -eu\n" + MpiExecLauncher()("true", 1, 3, str(mpiexec.folder))).returncode == 0
    assert mpiexec.argv() == ["--bind-to", "none", "-n", "3", "/bin/bash", "FILE"]


def test_its_option_for_binding_is_another_on_some_systems(mpiexec):
    mpiexec.bash(MpiExecLauncher(bind_cmd="--cpu-bind")("true", 1, 1, str(mpiexec.folder)))
    assert mpiexec.argv()[:2] == ["--cpu-bind", "none"]


def test_mpirun(mpirun):
    done = mpirun.bash(MpiRunLauncher(overrides="--quiet")("echo it; exit 5", 3, 1, str(mpirun.folder)))
    assert (done.returncode, done.stdout) == (5, "it\n")
    assert mpirun.argv() == ["-np", "3", "--quiet", "/bin/bash", "FILE"]


def test_mpirun_with_a_bash_of_its_own(mpirun):
    mpirun.bash(MpiRunLauncher(bash_location="/usr/bin/bash")("true", 1, 1, str(mpirun.folder)))
    assert mpirun.argv() == ["-np", "1", "/usr/bin/bash", "FILE"]


@pytest.mark.parametrize(
    ("nodes", "words"),
    [(1, ["-np", "1", "/bin/bash", "FILE"]), (2, ["-np", "2", "--hostfile", "FILE.hosts", "/bin/bash", "FILE"])],
)
def test_mpirun_is_told_where_when_there_are_several(mpirun, nodes, words):
    job_on(mpirun, "n1", "n2")
    mpirun.bash(MpiRunLauncher()("true", 1, nodes, str(mpirun.folder)))
    assert mpirun.argv() == words


def test_a_job_with_too_few_nodes_starts_nothing(mpiexec):
    job_on(mpiexec, "n1")
    done = mpiexec.bash(MpiExecLauncher()("echo never", 1, 2, str(mpiexec.folder)))
    assert (done.returncode, done.stdout) == (1, "")
    assert "2 nodes are wanted, and the job has 1" in done.stderr
    assert list(mpiexec.folder.glob("command.*")) == []


def test_the_library_does_not_hear_of_copies_that_fail(mpiexec):
    """It would end the others. The job fails all the same, with the highest status of the copies."""
    program = mpiexec.folder / "mpiexec"
    program.write_text('#!/bin/bash\nfor rank in 3 9 0; do RANK=$rank "${@: -2}"; echo "$?"; done\n')
    command = 'echo "${PLAIT_COPY-none}"; exit "$RANK"'
    done = mpiexec.bash(MpiExecLauncher(debug=False)(command, 3, 1, str(mpiexec.folder)))
    assert (done.returncode, done.stdout, done.stderr) == (9, "none\n0\n" * 3, "")
    assert list(mpiexec.folder.glob("command.*")) == []
    program.write_text("#!/bin/bash\nexit 4\n")
    assert mpiexec.bash(MpiExecLauncher(debug=False)(command, 3, 1, str(mpiexec.folder))).returncode == 4


def test_debug_shows_the_line(mpiexec):
    assert "+ mpiexec --bind-to none -n 1 /bin/bash " in mpiexec.bash(MpiExecLauncher()("", 1, 1, ".")).stderr
    assert mpiexec.bash(MpiExecLauncher(debug=False)("", 1, 1, ".")).stderr == ""


@pytest.mark.parametrize(("parameter", "value"), [("bash_location", " "), ("bash_location", None), ("overrides", 1)])
def test_what_cannot_work_is_refused(parameter, value):
    with pytest.raises(ConfigurationError, match=rf"MpiRunLauncher\({parameter}="):
        MpiRunLauncher(**{parameter: value})


def test_their_text_can_be_written_into_a_configuration():
    for launcher in (MpiExecLauncher(bind_cmd="--cpu-bind"), MpiRunLauncher(bash_location="/usr/bin/bash")):
        assert repr(eval(repr(launcher))) == repr(launcher)
