"""A Slurm whose nodes are hosts of a network: one of them is cut off, while its job goes on there and begins anew elsewhere."""

from __future__ import annotations

import pytest

import plait
from plait.launchers import SrunLauncher
from plait.providers import SlurmProvider
from tests.support import wait_until
from tests.testbed.common import Bed
from tests.testbed.netns import Network
from tests.testbed.slurm import Slurm, require_slurm


@plait.python_app
def work(number):
    import time

    time.sleep(0.05)
    return number


@pytest.fixture(scope="module")
def network():
    """Three hosts."""
    require_slurm()
    with Bed("slurm-net") as bed:
        yield Network(bed, 3, "node")


@pytest.fixture(scope="module")
def cluster(network):
    """They are the nodes, and this machine the head."""
    nodes = [(host.address, ["nsenter", f"--net=/proc/{host.pid}/ns/net"]) for host in network.hosts]
    with Slurm(nodes=len(nodes), hosts=[*nodes, (network.here, [])]) as bed:
        yield bed


def test_a_node_that_is_cut_off_works_on_for_nobody(cluster, network, monkeypatch, tmp_path):
    """The node is given up, and Slurm begins the block's job on another; the tasks are done there, and both lives of the block end."""
    monkeypatch.setenv("SLURM_CONF", cluster.env["SLURM_CONF"])
    executor = plait.HighThroughputExecutor(
        label="pilots",
        address=network.here,
        max_workers_per_node=2,
        cores_per_worker=0.25,
        heartbeat_period=0.5,
        heartbeat_threshold=3,
        provider=SlurmProvider(
            init_blocks=1, max_blocks=1, launcher=SrunLauncher(), scheduler_options="#SBATCH --requeue"
        ),
    )
    with plait.load(plait.Config([executor], retries=5, progress=False, strategy_period=0.5, run_dir=str(tmp_path))):
        futures = [work(number) for number in range(80)]
        wait_until(futures[20].done, 30)
        (manager,) = executor.connected_managers()
        (node,) = cluster.run(["squeue", "-h", "-t", "R", "-o", "%N"]).split()
        host = network.hosts[int(node.removeprefix("node")) - 1]
        host.cut()
        cluster.update(nodename=node, state="down", reason="cut")  # Slurm would notice, ten seconds later

        def begun_elsewhere():
            return [other for other in executor.connected_managers() if other["manager"] != manager["manager"]]

        (second,) = wait_until(begun_elsewhere, 60, lambda: (cluster.queue(), executor.block_status()))
        assert second["block_id"] == manager["block_id"]
        assert second["hostname"] != manager["hostname"]
        host.mend()
        assert [future.result(timeout=60) for future in futures] == list(range(80))
    wait_until(lambda: not {job: state for job, state in cluster.queue().items() if state != "COMPLETING"}, 10)
    cluster.heal()
