"""Blocks as virtual machines of Azure, against a double of its REST interface."""

from __future__ import annotations

import base64
import copy
import json
import logging
import pickle
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait._util.given import given_to
from plait.errors import ConfigurationError, OptionalModuleMissing, SubmitException
from plait.model.jobs import JobState
from plait.providers import azure, remote
from plait.providers.azure import AzureProvider
from plait.providers.azure_network import Place
from plait.providers.rest import Rest
from plait.providers.tickets import recall
from tests.fakes.azure_arm import NAME, FakeAzure

BLOCK = "plait.3f2a1b4c.cpu.block-7"
PASSWORD = "Very-secret-1"
MACHINE = {
    "publisher": "Canonical", "offer": "ubuntu-24_04-lts", "sku": "server", "version": "latest", "vm_size": "Standard_D2s_v5", "disk_size_gb": 64,
    "admin_username": "me", "password": PASSWORD,
}  # fmt: skip


@pytest.fixture
def arm():
    with FakeAzure().running() as arm:
        yield arm


@pytest.fixture
def make(arm, tmp_path):
    made = []

    def make(machine=MACHINE, **parameters):
        provider = AzureProvider(machine, **parameters)
        provider._where = Place(
            Rest(arm.url, lambda: "azure-token", 5.0),
            "sub-1",
            provider.location,
            provider.group_name,
            provider.vnet_name,
        )
        provider._where.remove_s, provider._where.pause_s = 0.0, 0.01
        provider.script_dir = str(tmp_path)
        made.append(provider)
        return provider

    yield make
    arm.faults.clear()
    for provider in made:
        provider.linger = False
        provider.close()
        provider.close()


@pytest.fixture
def provider(make):
    return make()


def state(provider, job):
    (status,) = provider.status([job])
    return status


def test_making_one_does_nothing(monkeypatch):
    monkeypatch.setattr(remote, "module", lambda *_: pytest.fail("a library was imported"))
    provider = AzureProvider(MACHINE)
    assert (provider.location, provider.group_name, provider.vnet_name, provider.linger) == (
        "westus",
        "parsl.group",
        "parsl.vnet",
        False,
    )
    assert (provider.init_blocks, provider.min_blocks, provider.max_blocks, provider.nodes_per_block) == (1, 0, 10, 1)
    assert (provider.label, provider.shares_files) == ("azure", False)


@pytest.mark.parametrize(
    "machine",
    [
        None,
        [],
        {},
        {**MACHINE, "vm_size": 3},
        {**MACHINE, "offer": "a b"},
        {**MACHINE, "admin_username": "Root!"},
        {**MACHINE, "disk_size_gb": "64"},
        {**MACHINE, "password": 5},
    ],
)
def test_a_wrong_machine_is_refused_without_its_password(machine):
    with pytest.raises(ConfigurationError, match=r"AzureProvider\(vm_reference") as info:
        AzureProvider(machine)
    assert PASSWORD not in str(info.value)


@pytest.mark.parametrize(
    "wrong",
    [{"location": ""}, {"group_name": "a b"}, {"vnet_name": "a\n"}, {"key_name": 3}, {"key_file": 3}, {"linger": 0}],
)
def test_wrong_values_are_named(wrong):
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=rf"AzureProvider\({name}="):
        AzureProvider(MACHINE, **wrong)


def test_without_the_library_the_extra_is_named(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name="azure")

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(OptionalModuleMissing, match=r"pip install 'plait\[azure\]'"):
        AzureProvider(MACHINE).place


class Credential:
    """Stands for those of Azure's library, which look around on the machine."""

    def __init__(self, *who):
        self.who = who

    def get_token(self, scope):
        assert scope == "https://management.azure.com/.default"
        return SimpleNamespace(token=f"token of {self.who}")


def test_who_one_is_comes_from_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.setattr("azure.identity.ClientSecretCredential", Credential)
    monkeypatch.setattr("azure.identity.DefaultAzureCredential", Credential)
    names = ("AZURE_SUBSCRIPTION_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError, match="expected AZURE_SUBSCRIPTION_ID"):
        azure._login(None)
    (tmp_path / "keys").write_text(json.dumps(dict(zip(names, ("sub-2", "tenant", "client", "secret"), strict=True))))
    subscription, token = azure._login(str(tmp_path / "keys"))
    assert (subscription, token()) == ("sub-2", "token of ('tenant', 'client', 'secret')")
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", "sub-3")
    subscription, token = azure._login(None)
    assert (subscription, token()) == ("sub-3", "token of ()")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        azure._login(str(tmp_path / "none"))


# ------------------------------------------------------------------ the password
def test_nobody_sees_the_password(make, arm, caplog):
    caplog.set_level(logging.DEBUG)
    provider = make()
    job = provider.submit("x", 1, BLOCK)
    (asked,) = [asked for asked in arm.asked if asked.method == "PUT" and "virtualMachines" in asked.path]
    assert asked.body["properties"]["osProfile"]["adminPassword"] == PASSWORD
    script = base64.b64decode(asked.body["properties"]["osProfile"]["customData"]).decode()
    arm.fail("PUT", 400)
    with pytest.raises(SubmitException) as info:
        provider.submit("x", 1, BLOCK)
    shown = [
        repr(provider),
        str(vars(provider)),
        script,
        str(provider.ticket(job)),
        str(provider.status([job])),
        caplog.text,
        str(info.value),
        repr(info.value),
    ]
    assert not [text for text in shown if PASSWORD in text]
    assert PASSWORD.encode() not in pickle.dumps(provider._password)


def test_without_one_there_is_one_that_nobody_knows(make, arm):
    provider = make({key: value for key, value in MACHINE.items() if key != "password"})
    for _ in range(2):
        provider.submit("x", 1, BLOCK)
    passwords = {thing["properties"]["osProfile"]["adminPassword"] for thing in arm.machines().values()}
    assert len(passwords) == 2


def test_a_key_stands_in_its_place(make, arm):
    arm.groups["parsl.group"] = {"location": "westus"}
    arm.things["/providers/Microsoft.Compute/sshPublicKeys/mine"] = {
        "name": "mine",
        "properties": {"publicKey": "ssh-rsa AAA"},
    }
    make(key_name="mine").submit("x", 1, BLOCK)
    (machine,) = arm.machines().values()
    access = machine["properties"]["osProfile"]
    assert "adminPassword" not in access
    assert access["linuxConfiguration"]["ssh"]["publicKeys"] == [
        {"path": "/home/me/.ssh/authorized_keys", "keyData": "ssh-rsa AAA"}
    ]
    assert access["linuxConfiguration"]["disablePasswordAuthentication"] is True


@pytest.mark.parametrize("given_", [((MACHINE,), {"max_blocks": 2}), ((), {"vm_reference": MACHINE})])
def test_what_is_written_into_files_has_no_password(given_):
    positional, named = given_
    provider = AzureProvider(*positional, **named)
    assert given_to(provider)["vm_reference"] == provider.vm_reference
    assert PASSWORD not in str(vars(provider))
    assert MACHINE["password"] == PASSWORD, "what the user has stays as it is"


# ------------------------------------------------------------------ what is made
def test_a_block_is_machines_in_the_group(make, arm):
    provider = make(nodes_per_block=2, worker_init="export A=1", walltime="00:30:00")
    job = provider.submit("run the manager", 1, BLOCK)
    assert sorted(arm.machines()) == [f"{job}-0", f"{job}-1"]
    machine = arm.machines()[f"{job}-1"]
    assert machine["tags"] == {"plait-job": job, "plait-run": "3f2a1b4c", "plait-executor": "cpu", "plait-block": "7"}
    properties = machine["properties"]
    assert properties["hardwareProfile"] == {"vmSize": "Standard_D2s_v5"}
    assert properties["storageProfile"]["imageReference"] == {
        key: MACHINE[key] for key in ("publisher", "offer", "sku", "version")
    }
    assert properties["storageProfile"]["osDisk"]["diskSizeGB"] == 64
    script = base64.b64decode(properties["osProfile"]["customData"]).decode()
    assert script.index("export A=1") < script.index("run the manager")
    assert "shutdown -P +30" in script
    assert state(provider, job).state == JobState.RUNNING
    assert list(arm.groups) == ["parsl.group"]


def test_a_machine_that_cannot_be_made_says_why(provider, arm):
    job = provider.submit("x", 1, BLOCK)
    thing = arm.machines()[f"{job}-0"]
    thing["properties"]["provisioningState"] = "Failed"
    arm.power[f"{job}-0"] = {
        "code": "ProvisioningState/failed/AllocationFailed",
        "level": "Error",
        "displayStatus": "Allocation failed",
        "message": "no room",
    }
    status = state(provider, job)
    assert (status.state, status.message) == (JobState.FAILED, "Allocation failed: no room")
    assert arm.machines() == {}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({}, JobState.PENDING),
        ({"provisioningState": "Creating"}, JobState.PENDING),
        (
            {"provisioningState": "Updating", "instanceView": {"statuses": [{"code": "PowerState/starting"}]}},
            JobState.PENDING,
        ),
        ({"instanceView": {"statuses": [{"code": "PowerState/deallocated"}]}}, JobState.COMPLETED),
        ({"instanceView": {"statuses": [{"code": "PowerState/new"}]}}, JobState.UNKNOWN),
        ({"provisioningState": "Failed"}, JobState.FAILED),
    ],
)
def test_states_of_machines(item, expected):
    assert azure._machine("m", {"properties": item}).state == expected


def test_an_end_has_its_output_and_leaves_nothing(provider, arm):
    job = provider.submit("x", 1, BLOCK)
    arm.off(job, 3, "it wrote this")
    status = state(provider, job)
    assert (status.state, status.exit_code, status.stdout) == (JobState.FAILED, 3, "it wrote this\n")
    assert arm.machines() == {}, "a machine that is off costs as much as one that runs"


def test_machines_may_stay(make, arm):
    provider = make(linger=True)
    job = provider.submit("x", 1, BLOCK)
    arm.off(job, 0)
    assert state(provider, job).state == JobState.COMPLETED
    provider.close()
    assert len(arm.machines()) == 1


# ------------------------------------------------------------------ never twice
@pytest.mark.parametrize("accepted", [True, False])
@pytest.mark.parametrize("status", [0, 500])
def test_a_lost_answer_makes_no_second_machine(make, arm, accepted, status):
    provider = make(nodes_per_block=2)
    (arm.cut if status == 0 else lambda where, accepted: arm.fail(where, status, accepted=accepted))(
        "PUT /subscriptions/sub-1/resourceGroups/parsl.group/providers/Microsoft.Compute", accepted=accepted
    )
    job = provider.submit("x", 1, BLOCK)
    assert sorted(arm.machines()) == [f"{job}-0", f"{job}-1"]
    assert state(provider, job).state == JobState.RUNNING


def test_a_password_that_nobody_knows_makes_no_second_request_another_one(make, arm):
    arm.cut("virtualMachines")
    job = make({key: value for key, value in MACHINE.items() if key != "password"}).submit("x", 1, BLOCK)
    assert list(arm.machines()) == [f"{job}-0"]


def test_a_refusal_says_why_and_leaves_no_half_block(make, arm):
    with pytest.raises(SubmitException, match="The requested size is not available"):
        make({**MACHINE, "vm_size": "Standard_Nothing"}).submit("x", 1, BLOCK)
    assert arm.machines() == {}


# ------------------------------------------------------------------ the end
def test_the_end_leaves_nothing(make, arm):
    provider = make(nodes_per_block=2)
    jobs = [provider.submit("x", 1, BLOCK) for _ in range(2)]
    assert provider.cancel([*jobs, "other"]) == [True, True, False]
    assert [status.state for status in provider.status(jobs)] == [JobState.CANCELLED] * 2
    provider.submit("x", 1, BLOCK)
    provider.close()
    assert (arm.things, arm.groups) == ({}, {})


def test_what_was_made_before_it_was_refused_is_taken_away(make, arm):
    provider = make()
    arm.fail(
        "PUT /subscriptions/sub-1/resourceGroups/parsl.group/providers/Microsoft.Network/virtualNetworks", 403, times=9
    )
    with pytest.raises(SubmitException):
        provider.submit("x", 1, BLOCK)
    assert arm.groups
    provider.close()
    assert arm.groups == {}
    assert not provider._at_exit


def test_where_nothing_was_made_nothing_is_taken_away(make, arm):
    provider = make()
    arm.fail("GET", 403, times=9)
    with pytest.raises(SubmitException):
        provider.submit("x", 1, BLOCK)
    assert not provider._at_exit


def test_what_must_wait_is_done_when_the_program_ends(provider, arm, caplog):
    provider.submit("x", 1, BLOCK)
    arm.gone_slowly = 12
    provider.close()
    assert arm.groups, "its network is in use as long as the machine is there"
    provider.place.remove_s = 10.0
    provider._leave()
    assert (arm.things, arm.groups) == ({}, {})
    assert not provider._at_exit
    assert "this may take some minutes" in caplog.text


def test_a_machine_that_goes_slowly_was_cancelled(provider, arm):
    job = provider.submit("x", 1, BLOCK)
    arm.gone_slowly = 3
    assert provider.cancel([job]) == [True]
    assert state(provider, job).state == JobState.CANCELLED


def test_another_process_finds_it_by_its_ticket(make, arm):
    provider = make(nodes_per_block=2)
    before = provider.ticket("", BLOCK)
    job = provider.submit("x", 1, BLOCK)
    assert provider.ticket(job) == before
    other, id_ = recall(copy.deepcopy(before))
    other._where = provider.place
    assert state(other, id_).state == JobState.RUNNING
    assert other.cancel([id_]) == [True]
    assert arm.machines() == {}


def test_what_a_killed_driver_left_is_off_and_can_be_deleted(make, arm):
    provider = make()
    job = provider.submit("x", 1, BLOCK)
    arm.off(job, 0)
    other, id_ = recall(provider.ticket(job))
    other._where = provider.place
    status = state(other, id_)
    assert (status.state, status.message) == (
        JobState.HELD,
        "its machines are off, but they are there, and cost until they are deleted",
    )
    assert arm.machines(), "looking changes nothing: the driver may live"
    assert other.cancel([id_]) == [True]
    assert arm.machines() == {}
    assert state(other, id_).state == JobState.CANCELLED


# ------------------------------------------------------------------ S13, S14
@given(name=st.text(max_size=100))
@settings(max_examples=60)
def test_names_are_valid_whatever_they_are_made_of(name):
    provider = AzureProvider(MACHINE)
    job = provider._known(provider._next_id(name), name)
    assert NAME.fullmatch(f"{job.id}-11")
