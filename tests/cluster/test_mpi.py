"""Tasks over whole nodes with real MPI programs, on this machine in the place of several nodes: see tests/testbed/mpi_here.py."""

from __future__ import annotations

import os
import re
import signal

import pytest

import plait
from plait.errors import AppTimeout, InvalidResourceSpecification
from plait.launchers import SimpleLauncher, SingleNodeLauncher
from plait.providers import LocalProvider
from tests.fault.pilot import interchanges
from tests.support import wait_until
from tests.testbed.mpi_here import mpich, openmpi, require_mpi4py

__all__ = ["mpich", "openmpi"]

VARIABLES = (
    "MPI_PREFIX",
    "MPIEXEC_PREFIX",
    "SRUN_PREFIX",
    "APRUN_PREFIX",
    "NUM_NODES",
    "NUM_RANKS",
    "RANKS_PER_NODE",
    "MPI_NODELIST",
)


@plait.bash_app
def program(path, stdout=None, stderr=None, parsl_resource_specification=None):
    return f"$PLAIT_MPI_PREFIX {path}"


@plait.bash_app
def program_as_users_know_it(path, stdout=None, parsl_resource_specification=None):
    return f"$PARSL_MPI_PREFIX {path}"


@plait.bash_app
def stays(mark, seconds, ready="", parsl_resource_specification=None, walltime=None):
    return f"$PLAIT_MPI_PREFIX bash -c 'touch {ready}.$$; exec -a {mark} sleep {seconds}'"


@plait.bash_app
def note(folder, name, parsl_resource_specification=None):
    return f'echo "+ {name} $PLAIT_MPI_NODELIST" >>{folder}/notes; sleep 0.05; echo "- {name} $PLAIT_MPI_NODELIST" >>{folder}/notes'


@plait.bash_app
def holds(began, go):
    return f"echo x >>{began}; until [ -e {go} ]; do sleep 0.02; done"


@plait.python_app
def environment(parsl_resource_specification=None):
    import os

    return {name: value for name, value in os.environ.items() if name.startswith(("PARSL_", "PLAIT_"))}


@plait.python_app
def add(x):
    return x + 1


def mpi_executor(nodes, env=None, **more):
    """One manager that gives out nodes of these names."""
    lines = "".join(f"export {name}='{value}'\n" for name, value in (env or {}).items())
    provider = LocalProvider(
        nodes_per_block=len(nodes),
        launcher=SimpleLauncher(),
        worker_init=f"export PLAIT_NODELIST={','.join(nodes)}\n{lines}",
    )
    return plait.MPIExecutor(provider=provider, **more)


def cluster(nodes, env=None, **more):
    """A manager for each node of a block, which is told that it is called something else than this machine."""
    lines = "".join(f"export {name}='{value}'\n" for name, value in (env or {}).items())
    provider = LocalProvider(nodes_per_block=nodes, launcher=SingleNodeLauncher(debug=False), worker_init=lines)
    return plait.HighThroughputExecutor(
        provider=provider, max_workers_per_node=2, cores_per_worker=0.25, heartbeat_period=0.5,
        launch_cmd="PLAIT_NODE_NAME=node$BASHPID PLAIT_CORES=4 {python} -m plait.executors.htex.manager {config}",
        **{"heartbeat_threshold": 3.0, **more},
    )  # fmt: skip


def loaded(executor, tmp_path, **more):
    return plait.load(
        plait.Config(executors=[executor], run_dir=str(tmp_path / "runs"), progress=False, strategy="none", **more)
    )


def marked(mark):
    """Processes that are called so."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if file.read().startswith(mark.encode()):
                    found.append(int(pid))
        except OSError:
            pass
    return found


def ranks(path):
    """What the ranks of `ring` said."""
    return sorted(re.findall(r"rank (\d+) of (\d+) on \S+ sum (\d+)", path.read_text().replace(":", "")))


FOUR = [(str(rank), "4", "6") for rank in range(4)]


@pytest.mark.parametrize("library", ["mpich", "openmpi"])
def test_programs_in_c_and_in_python_find_their_ranks(library, request, tmp_path):
    require_mpi4py()
    mpi = request.getfixturevalue(library)
    spec = {"num_nodes": 2, "ranks_per_node": 2}
    with loaded(mpi_executor(["node1", "node2"], mpi.env, mpi_launcher=mpi.launcher), tmp_path):
        first = program(mpi.ring, stdout=str(tmp_path / "c"), parsl_resource_specification=spec)
        second = program_as_users_know_it(mpi.python, stdout=str(tmp_path / "py"), parsl_resource_specification=spec)
        assert (first.result(timeout=30), second.result(timeout=30)) == (0, 0)
    assert ranks(tmp_path / "c") == ranks(tmp_path / "py") == FOUR


def test_a_program_on_nodes_with_a_manager_each_beside_small_tasks(mpich, tmp_path):
    with loaded(cluster(3, mpich.env), tmp_path):
        small = [add(number) for number in range(50)]
        large = program.options(nodes=2, ranks_per_node=2)(mpich.ring, stdout=str(tmp_path / "out"))
        more = [add(number) for number in range(50)]
        assert large.result(timeout=30) == 0
        assert [future.result(timeout=30) for future in small + more] == [*range(1, 51)] * 2
    assert ranks(tmp_path / "out") == FOUR


def test_no_node_has_two_tasks_and_none_starves(tmp_path):
    """Small ones come all the time; the large one, which needs all nodes, has its turn all the same."""
    with loaded(mpi_executor(["n1", "n2", "n3"], max_workers_per_block=3), tmp_path):
        futures = [note(str(tmp_path), f"small{n}", parsl_resource_specification={"num_nodes": 1}) for n in range(6)]
        futures.append(note(str(tmp_path), "large", parsl_resource_specification={"num_nodes": 3}))
        futures += [note(str(tmp_path), f"two{n}", parsl_resource_specification={"num_nodes": 2}) for n in range(3)]
        futures += [note(str(tmp_path), f"late{n}", parsl_resource_specification={"num_nodes": 1}) for n in range(20)]
        assert [future.result(timeout=40) for future in futures] == [0] * 30
    busy: dict[str, str] = {}
    order = []
    for line in (tmp_path / "notes").read_text().splitlines():
        sign, name, nodes = line.split()
        for node in nodes.split(","):
            if sign == "+":
                assert node not in busy, f"{name} and {busy[node]} on {node}"
                busy[node] = name
            else:
                del busy[node]
        if sign == "+":
            order.append(name)
    assert not busy
    assert order.index("large") < 20


def test_the_environment_of_a_task_is_its_own(tmp_path):
    with loaded(mpi_executor(["n1", "n2"], mpi_launcher="srun"), tmp_path):
        two = environment(
            parsl_resource_specification={"num_nodes": 2, "num_ranks": 6, "launcher_options": "--mpi=pmi2"}
        ).result(timeout=20)
        one = environment(parsl_resource_specification={"num_nodes": 1}).result(timeout=20)
        with pytest.raises(InvalidResourceSpecification, match="expected nodes"):
            environment(parsl_resource_specification={}).result(timeout=20)
        with pytest.raises(InvalidResourceSpecification, match="num_node"):
            environment(parsl_resource_specification={"num_node": 1}).result(timeout=20)
        with pytest.raises(
            InvalidResourceSpecification, match="3 nodes of one block asked, a block of executor 'MPIExecutor' has 2"
        ):
            environment(parsl_resource_specification={"num_nodes": 3}).result(timeout=20)
    for brand in ("PARSL", "PLAIT"):
        assert {f"{brand}_{name}" for name in VARIABLES} <= two.keys() & one.keys()
        assert two[f"{brand}_MPI_PREFIX"] == "srun --ntasks 6 --ntasks-per-node 3 --nodelist n1,n2 --nodes 2 --mpi=pmi2"
        assert [two[f"{brand}_{name}"] for name in VARIABLES[4:]] == ["2", "6", "3", "n1,n2"]
        assert [one[f"{brand}_{name}"] for name in VARIABLES[4:]] == ["1", "1", "1", "n1"]
        assert one[f"{brand}_MPIEXEC_PREFIX"] == "mpiexec -n 1 -ppn 1 -hosts n1"
        assert one[f"{brand}_APRUN_PREFIX"] == "aprun -n 1 -N 1 -node-list n1"


def test_nothing_of_it_is_left_for_the_next_task_of_a_worker(tmp_path):
    with loaded(cluster(1), tmp_path):
        whole = environment.options(nodes=1, ranks_per_node=2)().result(timeout=20)
        plain = environment().result(timeout=20)
        assert whole["PLAIT_NUM_RANKS"] == "2"
        assert whole["PLAIT_MPI_NODELIST"].startswith("node")
        assert not [name for name in plain if "MPI" in name or "RANKS" in name or "NUM_NODES" in name]


def test_all_its_processes_end_with_a_task(mpich, tmp_path):
    spec = {"num_nodes": 2, "ranks_per_node": 2}
    ready = str(tmp_path / "ready")
    with loaded(mpi_executor(["n1", "n2"], mpich.env), tmp_path):
        late = stays("plait-mpi-late", 600, ready, parsl_resource_specification=spec, walltime=1.0)
        with pytest.raises(AppTimeout):
            late.result(timeout=20)
        wait_until(lambda: not marked("plait-mpi-late"))
        cancelled = stays("plait-mpi-cancelled", 600, ready, parsl_resource_specification=spec)
        wait_until(lambda: len(marked("plait-mpi-cancelled")) == 4)
        assert cancelled.cancel()
        wait_until(lambda: not marked("plait-mpi-cancelled"))
        assert note(str(tmp_path), "after", parsl_resource_specification=spec).result(timeout=20) == 0


def test_a_lost_node_ends_the_attempt_and_another_is_made(mpich, tmp_path):
    ready = str(tmp_path / "ready")
    executor = cluster(3, mpich.env)
    with loaded(executor, tmp_path):
        wait_until(lambda: len(executor.connected_managers()) == 3, 20)
        future = stays.options(nodes=2, max_losses=1)("plait-mpi-lost", 600, ready)
        wait_until(lambda: len(marked("plait-mpi-lost")) == 2, 20)
        first = set(marked("plait-mpi-lost"))
        managers = executor.connected_managers()
        assert sorted(each["kept_for_task"] is None for each in managers) == [False, False, True]
        member = next(
            each
            for each in managers
            if each["kept_for_task"] is not None and executor._link.offers.places[0] != each["manager"]
        )
        os.kill(member["pid"], signal.SIGKILL)
        wait_until(lambda: len(marked("plait-mpi-lost")) == 2 and not first & set(marked("plait-mpi-lost")), 20)
        assert future.cancel()
        wait_until(lambda: not marked("plait-mpi-lost"))


def test_a_task_over_nodes_outlives_the_interchange(tmp_path):
    """Another life of it hears from the managers who belongs to what: nobody else gets these nodes, and the task runs once."""
    go, began = tmp_path / "go", tmp_path / "began"
    executor = cluster(2, heartbeat_threshold=20.0)  # until then the managers may take to come back
    with loaded(executor, tmp_path):
        wait_until(lambda: len(executor.connected_managers()) == 2, 20)
        gang = holds.options(nodes=2)(str(began), str(go))
        wait_until(began.exists, 20)
        (old,) = interchanges()
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: interchanges() not in ([], [old]), 20)
        wait_until(lambda: [each.get("kept_for_task") for each in executor.connected_managers()] == [0, 0], 20)
        small = add(1)
        wait_until(lambda: "waits in executor" in small.explain(), 20)
        go.touch()
        assert gang.result(timeout=20) == 0
        assert small.result(timeout=20) == 2
    assert began.read_text() == "x\n"
