"""The providers of Kubernetes and of clouds keep the promises of the port: AWS's against moto's server, the others against doubles of their interfaces.

Nothing runs there, so what a job does is played by the tests.
"""

from __future__ import annotations

import atexit
import itertools

import pytest

from plait.model.jobs import JobState
from plait.providers import AWSProvider, AzureProvider, GoogleCloudProvider, KubernetesProvider
from plait.providers.aws_network import Network
from plait.providers.azure_network import Place
from plait.providers.kubernetes import Cluster
from plait.providers.rest import Rest
from tests.fakes import ec2 as moto
from tests.fakes.azure_arm import FakeAzure
from tests.fakes.cluster_api import FakeCluster
from tests.fakes.compute_engine import FakeComputeEngine

pytest.register_assert_rewrite("plait.testing.provider_contract")

from plait.testing.provider_contract import ProviderContract  # noqa: E402 - after its assertions were registered


class Played(ProviderContract):
    """One whose service is a double with `end_job`."""

    def end_job(self, provider, job_id, exit_code):
        raise NotImplementedError

    def begin_ending(self, provider, exit_code):
        job_id = super().begin_ending(provider, exit_code)
        self.end_job(provider, job_id, exit_code)
        return job_id


class TestKubernetes(Played):
    @pytest.fixture(autouse=True)
    def service(self):
        self.made = []
        with FakeCluster().running() as self.cluster:
            yield
            for provider in self.made:
                provider.cluster.close()
        assert (self.cluster.jobs, self.cluster.pods, self.cluster.secrets) == ({}, {}, {})

    def make(self, **numbers):
        provider = KubernetesProvider("image", "lab", **numbers)
        provider._cluster = Cluster("lab", 5.0, self.cluster.url)
        self.made.append(provider)
        return provider

    def end_job(self, provider, job_id, exit_code):
        self.cluster.end(job_id, exit_code, "out\nerr\n")


class TestGoogleCloud(Played):
    @pytest.fixture(autouse=True)
    def service(self):
        with FakeComputeEngine().running() as self.engine:
            yield
        assert self.engine.instances == {}

    def make(self, **numbers):
        provider = GoogleCloudProvider("lab-1", None, "us-central1", "debian-cloud", "debian-12", **numbers)
        provider._rest = Rest(self.engine.url, lambda: "google-token", 5.0)
        return provider

    def end_job(self, provider, job_id, exit_code):
        self.engine.off(job_id, exit_code, "out\nerr")


class TestAzure(Played):
    @pytest.fixture(autouse=True)
    def service(self):
        self.made = []
        with FakeAzure().running() as self.arm:
            yield
            for provider in self.made:
                provider.close()
        assert (self.arm.groups, self.arm.things) == ({}, {})

    def make(self, **numbers):
        words = ("publisher", "offer", "sku", "version", "vm_size", "admin_username")
        provider = AzureProvider(dict.fromkeys(words, "word"), **numbers)
        provider._where = Place(
            Rest(self.arm.url, lambda: "azure-token", 5.0), "sub-1", "westus", "parsl.group", "parsl.vnet"
        )
        provider._where.remove_s = 0.0
        self.made.append(provider)
        return provider

    def end_job(self, provider, job_id, exit_code):
        self.arm.off(job_id, exit_code, "out\nerr")


@pytest.fixture(scope="module")
def network():
    made = Network(moto.client("us-east-2"), None)
    made.subnets()
    return made


class TestAWS(Played):
    timeout_s = 30.0

    @pytest.fixture(autouse=True)
    def service(self, network, monkeypatch):
        """moto's instances write nothing: their consoles are ours."""
        self.network, self.made, self.consoles = network, [], {}
        monkeypatch.setattr(
            network._ec2, "get_console_output", lambda InstanceId: {"Output": self.consoles.get(InstanceId, "")}
        )
        yield
        for provider in self.made:
            provider.cancel(list(provider.resources))
            atexit.unregister(provider._leave)
        states = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        assert network._ec2.describe_instances(Filters=states)["Reservations"] == []

    def make(self, **numbers):
        provider = AWSProvider(moto.IMAGE, None, **numbers)
        provider._ec2, provider._network = self.network._ec2, self.network
        self.made.append(provider)
        return provider

    def end_job(self, provider, job_id, exit_code):
        for _, instance in provider._instances([provider.resources[job_id]]):
            self.consoles[instance["InstanceId"]] = f"plait-begin {job_id}\nout\nerr\nplait-end {job_id} {exit_code}\n"
            provider.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])


del Played  # is no suite of its own


def test_every_state_that_they_tell_is_one_of_ours():
    from plait.providers import aws, azure, googlecloud

    told = itertools.chain(aws._STATES.values(), azure._POWER.values(), googlecloud._STATES.values())
    assert set(told) <= {JobState.PENDING, JobState.RUNNING, JobState.HELD, JobState.COMPLETED}
