"""Pilot jobs on services that see none of the driver's files: the doubles run what they were given, as a pod or a machine would, on this machine.

So these are real managers, and what is shown is that everything they need is in the Secret, or in the machine's script.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys

import plait
from plait.providers import GoogleCloudProvider, KubernetesProvider, machines
from plait.providers.kubernetes import Cluster
from plait.providers.rest import Rest
from tests.fakes.cluster_api import FakeCluster
from tests.fakes.compute_engine import FakeComputeEngine


class Processes:
    """What runs instead of pods and machines."""

    def __init__(self, folder):
        self.folder = folder
        self.running = {}

    def start(self, name, script):
        home = self.folder / name
        home.mkdir(parents=True)
        # nothing of this process's environment or folder: there it would not be either
        environ = {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "HOME": str(home), "TMPDIR": str(self.folder)}
        with (home / "out").open("wb") as out:
            self.running[name] = subprocess.Popen(
                ["bash", "-c", script],
                cwd=home,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def code(self, name):
        return self.running[name].poll() if name in self.running else None

    def end(self, *names):
        for name in names or list(self.running):
            process = self.running.pop(name, None)
            if process is not None:
                process.terminate()
                process.wait(20)


class Kubelet(FakeCluster):
    """Runs the pods of its cluster."""

    def move(self):
        super().move()
        for name, pod in self.pods.items():
            job = pod["metadata"]["labels"]["job-name"]
            if pod["status"]["phase"] == "Running" and name not in self.processes.running:
                self.processes.start(name, self.secrets[job]["stringData"]["run.sh"])
            code = self.processes.code(name)
            if code is not None:
                self.end(job, code, (self.processes.folder / name / "out").read_text())

    def delete(self, name, policy):
        self.processes.end(*(pod["metadata"]["name"] for pod in self.pods_of(name)))
        super().delete(name, policy)


class Zone(FakeComputeEngine):
    """Runs the scripts of its instances."""

    def list(self, asked):
        answer = super().list(asked)
        for name, item in self.instances.items():
            if item["status"] == "RUNNING" and name not in self.processes.running:
                (script,) = [entry["value"] for entry in item["metadata"]["items"] if entry["key"] == "startup-script"]
                self.processes.start(name, script)
            if self.processes.code(name) is not None:
                item["status"] = "TERMINATED"
        return answer

    def handle(self, asked):
        if asked.method == "DELETE":
            self.processes.end(asked.path.rpartition("/")[2])
        return super().handle(asked)


def asked_often(provider):
    """The provider, which is asked more often than once a minute."""
    provider.__class__ = type(type(provider).__name__, (type(provider),), {"status_polling_interval": 0.05})
    return provider


def run_on(provider):
    """Some tasks; where they ran."""

    @plait.python_app  # in here, so that it is sent as a whole: there is no module to import it from
    def where(n):
        return n, os.environ["JOBNAME"], os.getcwd()

    provider.python = sys.executable
    executor = plait.HighThroughputExecutor(
        label="there",
        provider=provider,
        address="127.0.0.1",
        max_workers_per_node=1,
        heartbeat_period=0.2,
        heartbeat_threshold=5,
    )
    with plait.load(plait.Config(executors=[executor], initialize_logging=False, progress=False, strategy_period=0.1)):
        answers = [future.result(60) for future in [where(n) for n in range(20)]]
    assert [answer[0] for answer in answers] == list(range(20))
    return {answer[1:] for answer in answers}


def test_on_kubernetes(tmp_path):
    cluster = Kubelet()
    cluster.processes = Processes(tmp_path / "nodes")
    with cluster.running():
        provider = KubernetesProvider(
            "image", "lab", init_blocks=1, max_blocks=1, nodes_per_block=2, worker_init="export FROM=worker_init"
        )
        provider._cluster = Cluster("lab", 5.0, cluster.url)
        try:
            places = run_on(asked_often(provider))
        finally:
            cluster.processes.end()
            provider.cluster.close()
    assert len({name for name, _ in places}) == 1, "one block"
    assert (cluster.jobs, cluster.pods, cluster.secrets) == ({}, {}, {})


def test_on_machines_of_a_cloud(tmp_path, monkeypatch):
    engine = Zone()
    engine.processes = Processes(tmp_path / "nodes")
    tools = tmp_path / "nodes" / "bin"
    tools.mkdir(parents=True)
    (tools / "shutdown").write_text(f'#!/bin/bash\necho "$@" >>{tmp_path}/off\n')
    (tools / "shutdown").chmod(0o755)
    script = functools.partial(
        machines.startup_script, console=str(tmp_path / "console"), log=str(tmp_path / "log"), version=""
    )
    monkeypatch.setattr(machines, "startup_script", script)
    with engine.running():
        provider = GoogleCloudProvider(
            "lab-1", None, "us-central1", "debian-cloud", "debian-12", max_blocks=1, walltime="00:10:00"
        )
        provider._rest = Rest(engine.url, lambda: "google-token", 5.0)
        try:
            places = run_on(asked_often(provider))
        finally:
            engine.processes.end()
    assert len(places) == 1
    assert engine.instances == {}
    assert (tmp_path / "off").read_text().splitlines() == ["-P +10", "-P now"]
    assert "plait-end" in (tmp_path / "console").read_text()
