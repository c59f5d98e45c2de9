"""Blocks as instances of Google's Compute Engine, against a double of its REST interface."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import ConfigurationError, OptionalModuleMissing, SubmitException
from plait.executors.htex.executor import HighThroughputExecutor
from plait.model.jobs import JobState
from plait.providers import googlecloud, remote
from plait.providers.base import ExecutionProvider
from plait.providers.googlecloud import GoogleCloudProvider
from plait.providers.rest import Rest
from plait.providers.tickets import recall
from tests.fakes.compute_engine import LABEL, NAME, FakeComputeEngine

BLOCK = "plait.3f2a1b4c.cpu.block-7"
WHERE = ("lab-1", None, "us-central1", "debian-cloud", "debian-12")


@pytest.fixture
def engine():
    with FakeComputeEngine().running() as engine:
        yield engine


@pytest.fixture
def make(engine, tmp_path):
    def make(**parameters):
        provider = GoogleCloudProvider(*WHERE, **parameters)
        provider._rest = Rest(engine.url, lambda: "google-token", 5.0)
        provider.script_dir = str(tmp_path)
        return provider

    return make


@pytest.fixture
def provider(make):
    return make()


def state(provider, job):
    (status,) = provider.status([job])
    return status


def test_making_one_does_nothing(monkeypatch):
    monkeypatch.setattr(remote, "module", lambda *_: pytest.fail("a library was imported"))
    provider = GoogleCloudProvider(*WHERE)
    assert isinstance(provider, ExecutionProvider)
    assert (provider.google_version, provider.instance_type, provider.nodes_per_block) == ("v1", "n1-standard-1", 1)
    assert (provider.init_blocks, provider.min_blocks, provider.max_blocks, provider.parallelism) == (1, 0, 10, 1)
    assert (provider.label, provider.shares_files, provider._walltime_s) == ("googlecloud", False, math.inf)
    HighThroughputExecutor(provider=provider, address="10.0.0.1")  # upstream's is refused there


@pytest.mark.parametrize(
    "wrong",
    [
        {"project_id": ""},
        {"region": "a b"},
        {"os_project": 3},
        {"os_family": "a\n"},
        {"google_version": "/x"},
        {"instance_type": "'"},
        {"key_file": 3},
        {"network": "a b"},
    ],
)
def test_wrong_values_are_named(wrong):
    (name,) = wrong
    given_ = dict(zip(("project_id", "key_file", "region", "os_project", "os_family"), WHERE, strict=True))
    with pytest.raises(ConfigurationError, match=rf"GoogleCloudProvider\({name}="):
        GoogleCloudProvider(**{**given_, **wrong})


def test_without_the_library_the_extra_is_named(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name="google")

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(OptionalModuleMissing, match=r"pip install 'plait\[google\]'"):
        GoogleCloudProvider(*WHERE).rest


def test_a_key_file_that_is_none_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="key_file=.*it gives no credentials"):
        googlecloud._token(str(tmp_path / "none"))
    (tmp_path / "none").write_text("{}")
    with pytest.raises(ConfigurationError, match="key_file=.*it gives no credentials"):
        googlecloud._token(str(tmp_path / "none"))


# ------------------------------------------------------------------ what is made
def test_a_block_is_one_request_for_all_its_instances(make, engine):
    provider = make(nodes_per_block=3, worker_init="export A=1", walltime="01:00:00", instance_type="n2-standard-8")
    job = provider.submit("run the manager", 1, BLOCK)
    assert engine.count("bulkInsert") == 1
    assert sorted(engine.instances) == [f"{job}-{number}" for number in range(3)]
    instance = engine.instances[f"{job}-0"]
    assert instance["labels"] == {
        "plait-job": job,
        "plait-run": "3f2a1b4c",
        "plait-executor": "cpu",
        "plait-block": "7",
    }
    assert instance["machineType"] == "n2-standard-8"
    assert (
        instance["disks"][0]["initializeParams"]["sourceImage"]
        == "projects/debian-cloud/global/images/family/debian-12"
    )
    assert instance["disks"][0]["autoDelete"] is True
    assert instance["serviceAccounts"] == []
    assert instance["scheduling"]["maxRunDuration"] == {"seconds": "3660"}
    assert instance["scheduling"]["instanceTerminationAction"] == "DELETE"
    metadata = {item["key"]: item["value"] for item in instance["metadata"]["items"]}
    assert metadata["startup-script"].index("export A=1") < metadata["startup-script"].index("run the manager")
    assert metadata["block-project-ssh-keys"] == "TRUE"
    assert state(provider, job).state == JobState.RUNNING


def test_what_cannot_be_made_says_why_later(provider, engine):
    engine.broken = "The zone does not have enough resources"
    job = provider.submit("x", 1, BLOCK)
    status = state(provider, job)
    assert status.state == JobState.FAILED
    assert status.message == "ZONE_RESOURCE_POOL_EXHAUSTED: The zone does not have enough resources"


def test_while_instances_are_made_it_waits(provider, engine):
    engine.starts = False
    job = provider.submit("x", 1, BLOCK)
    assert (state(provider, job).state, state(provider, job).message) == (
        JobState.PENDING,
        "the instance is PROVISIONING",
    )
    engine.instances.clear()
    engine.operations["operation-0"]["status"] = "RUNNING"
    assert state(provider, job).message == "Google makes its instances"


# ------------------------------------------------------------------ how it is
def test_one_question_for_twenty(provider, engine):
    jobs = [provider.submit("x", 1, BLOCK) for _ in range(25)]
    engine.asked.clear()
    engine.page = 7
    assert {status.state for status in provider.status(jobs)} == {JobState.RUNNING}
    assert len({asked.query["filter"] for asked in engine.asked}) == 2


def test_an_end_has_its_output_and_leaves_nothing(provider, engine):
    job = provider.submit("x", 1, BLOCK)
    engine.off(job, 3, "it wrote this")
    status = state(provider, job)
    assert (status.state, status.exit_code, status.stdout) == (JobState.FAILED, 3, "it wrote this\n")
    assert engine.instances == {}, "an instance that is off still has a disk that costs"


def test_without_a_console_an_end_is_an_end(provider, engine):
    job = provider.submit("x", 1, BLOCK)
    engine.off(job)
    assert state(provider, job).state == JobState.COMPLETED


def test_instances_may_stay(make, engine):
    provider = make(linger=True, walltime="01:00:00")
    job = provider.submit("x", 1, BLOCK)
    assert "maxRunDuration" not in engine.instances[f"{job}-0"]["scheduling"]
    engine.off(job, 0)
    assert state(provider, job).state == JobState.COMPLETED
    assert len(engine.instances) == 1


@pytest.mark.parametrize(
    ("name", "expected"), [("REPAIRING", JobState.RUNNING), ("SUSPENDED", JobState.HELD), ("NEW", JobState.UNKNOWN)]
)
def test_states_of_instances(provider, engine, name, expected):
    job = provider.submit("x", 1, BLOCK)
    engine.instances[f"{job}-0"]["status"] = name
    assert state(provider, job).state == expected


# ------------------------------------------------------------------ never twice
@pytest.mark.parametrize("accepted", [True, False])
@pytest.mark.parametrize("status", [0, 503])
def test_a_lost_answer_makes_no_second_block(provider, engine, accepted, status):
    engine.cut("bulkInsert", accepted=accepted) if status == 0 else engine.fail("bulkInsert", status, accepted=accepted)
    job = provider.submit("x", 1, BLOCK)
    assert list(engine.instances) == [f"{job}-0"]
    assert len({asked.query["requestId"] for asked in engine.asked if "bulkInsert" in asked.path}) == 1
    assert state(provider, job).state == JobState.RUNNING


def test_google_forgets_request_ids_and_then_there_are_names(provider, engine):
    engine.cut("bulkInsert", times=2)
    job = provider.submit("x", 1, BLOCK)
    assert provider.resources[job].case.status.state == JobState.UNKNOWN
    engine.requests.clear()
    assert state(provider, job).state == JobState.RUNNING
    assert len(engine.instances) == 1


def too_many(engine, monkeypatch):
    """The service says so from now on, as often as it is asked to fail."""
    monkeypatch.setattr(
        engine, "refusal", lambda error: {"error": {"message": "slower", "errors": [{"reason": "rateLimitExceeded"}]}}
    )
    engine.fail("bulkInsert", 403)


def test_too_many_requests_are_said_at_once(provider, engine, monkeypatch):
    too_many(engine, monkeypatch)
    with pytest.raises(SubmitException, match="rateLimitExceeded"):
        provider.submit("x", 1, BLOCK)
    assert engine.count("bulkInsert") == 1


def test_too_many_requests_say_nothing_of_the_one_before(provider, engine, monkeypatch):
    """Its instances may not be in lists yet."""
    monkeypatch.setattr(type(provider), "_end", lambda self, jobs: None)
    engine.cut("bulkInsert", accepted=True)
    too_many(engine, monkeypatch)
    job = provider.submit("x", 1, BLOCK)
    assert state(provider, job).state == JobState.RUNNING
    assert list(engine.instances) == [f"{job}-0"]


def test_a_refusal_says_why(make, engine):
    with pytest.raises(SubmitException, match="machineType"):
        make(instance_type="n0-nothing").submit("x", 1, BLOCK)
    assert engine.instances == {}


def test_a_wrong_token_is_said_at_once(provider, engine):
    provider._rest = Rest(engine.url, lambda: "other", 5.0)
    with pytest.raises(SubmitException, match="Invalid Credentials"):
        provider.submit("x", 1, BLOCK)


def test_credentials_that_are_no_more_are_an_error_at_once(provider, engine):
    """They fail before anything is sent."""

    def token():
        raise RuntimeError("invalid_grant: Token has been expired or revoked")

    provider._rest = Rest(engine.url, token, 5.0)
    with pytest.raises(SubmitException, match="no credentials: invalid_grant"):
        provider.submit("x", 1, BLOCK)
    assert provider.resources == {}


# ------------------------------------------------------------------ the end
def test_cancel_deletes_everything(make, engine):
    provider = make(nodes_per_block=2)
    jobs = [provider.submit("x", 1, BLOCK) for _ in range(2)]
    assert provider.cancel([*jobs, "other"]) == [True, True, False]
    assert engine.instances == {}
    assert [status.state for status in provider.status(jobs)] == [JobState.CANCELLED] * 2


def test_another_process_finds_it_by_its_ticket(provider, engine):
    before = provider.ticket("", BLOCK)
    job = provider.submit("x", 1, BLOCK)
    assert provider.ticket(job) == before
    other, id_ = recall(before)
    other._rest = provider.rest
    assert state(other, id_).state == JobState.RUNNING
    assert other.cancel([id_]) == [True]
    assert engine.instances == {}


# ------------------------------------------------------------------ S13, S14
@given(name=st.text(max_size=100))
@settings(max_examples=60)
def test_names_are_valid_whatever_they_are_made_of(name):
    provider = GoogleCloudProvider(*WHERE, nodes_per_block=12)
    body = provider._request(provider._known(provider._next_id(name), name), "script")
    for instance in body["perInstanceProperties"]:
        assert NAME.fullmatch(instance)
    for value in body["instanceProperties"]["labels"].values():
        assert LABEL.fullmatch(value)
