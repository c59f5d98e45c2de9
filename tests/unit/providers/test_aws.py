"""Blocks as instances of EC2, against moto's server over HTTP. Its instances run nothing: what they would write is put in its place."""

from __future__ import annotations

import atexit
import base64
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait._util.version import plait_version
from plait.errors import ConfigurationError, OptionalModuleMissing, SubmitException
from plait.model.jobs import JobState
from plait.providers import aws, remote
from plait.providers.aws import AWSProvider
from plait.providers.aws_network import Network
from plait.providers.tickets import recall
from tests.fakes import ec2 as moto

BLOCK = "plait.3f2a1b4c.cpu.block-7"
IMAGE = moto.IMAGE


@pytest.fixture(scope="module")
def url():
    return moto.server()


@pytest.fixture(scope="module")
def network(url):
    """One for most tests, because making it takes a second."""
    network = Network(moto.client("us-east-2"), None)
    network.subnets()
    return network


@pytest.fixture
def make(url, network, tmp_path, monkeypatch):
    """Providers; those of another region than the usual make networks of their own. Two regions are enough: moto takes a second to think one up."""
    made = []

    def make(**parameters):
        provider = AWSProvider(**{"image_id": IMAGE, "key_name": None, "endpoint_url": url, **parameters})
        provider._ec2 = moto.client(provider.region)
        if provider.region == "us-east-2":
            provider._network = network
            monkeypatch.setattr(network, "remove", lambda *_: False)
        provider.script_dir = str(tmp_path)
        made.append(provider)
        return provider

    yield make
    monkeypatch.undo()
    for provider in made:
        if provider._network is network:
            provider.cancel(list(provider.resources))
            atexit.unregister(provider._leave)
        else:
            provider.linger = False
            provider.close()


@pytest.fixture
def provider(make):
    return make()


def state(provider, job):
    (status,) = provider.status([job])
    return status


def instances(provider, *alive):
    jobs = [job.id for job in provider.resources.values()] or ["none"]
    found = provider.ec2.describe_instances(Filters=[{"Name": "tag:plait-job", "Values": jobs}])["Reservations"]
    return [
        item
        for group in found
        for item in group["Instances"]
        if item["State"]["Name"] in (alive or ("pending", "running"))
    ]


def things(provider):
    """Everything of a network that is left, but for what belongs to the region."""
    ec2 = provider.ec2
    return {
        "vpcs": [vpc["VpcId"] for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]],
        "groups": [
            group["GroupName"]
            for group in ec2.describe_security_groups()["SecurityGroups"]
            if group["GroupName"] != "default"
        ],
        "gateways": [item["InternetGatewayId"] for item in ec2.describe_internet_gateways()["InternetGateways"]],
        "subnets": [item["SubnetId"] for item in ec2.describe_subnets()["Subnets"] if not item["DefaultForAz"]],
        "tables": [item["RouteTableId"] for item in ec2.describe_route_tables()["RouteTables"] if item.get("Tags")],
        "interfaces": [item["NetworkInterfaceId"] for item in ec2.describe_network_interfaces()["NetworkInterfaces"]],
        "volumes": [item["VolumeId"] for item in ec2.describe_volumes()["Volumes"]],
        "instances": instances(provider),
    }


def user_data(provider, instance):
    answer = provider.ec2.describe_instance_attribute(InstanceId=instance["InstanceId"], Attribute="userData")
    return base64.b64decode(answer["UserData"]["Value"]).decode()


# ------------------------------------------------------------------ making one
def test_making_one_does_nothing(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(remote, "module", lambda *_: pytest.fail("a library was imported"))
    provider = AWSProvider(IMAGE, "mine")
    assert (provider.instance_type, provider.region, provider.spot_max_bid) == ("t2.small", "us-east-2", 0)
    assert (provider.init_blocks, provider.min_blocks, provider.max_blocks, provider.nodes_per_block) == (1, 0, 10, 1)
    assert (provider.walltime, provider.linger, provider.state_file) == ("01:00:00", False, None)
    assert (provider.label, provider.shares_files) == ("aws", False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"image_id": "a b"}, {"instance_type": ""}, {"region": "us\n"}, {"spot_max_bid": -1}, {"spot_max_bid": True}, {"spot_max_bid": "1"},
        {"iam_instance_profile_arn": "a b"}, {"key_name": 3}, {"key_name": ["k"]}, {"key_file": 3}, {"profile": ""}, {"state_file": ["x"]}, {"endpoint_url": 3}, {"walltime": "soon"}, {"linger": 1}, {"worker_init": 3},
    ],
)  # fmt: skip
def test_wrong_values_are_named(wrong):
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=rf"AWSProvider\({name}="):
        AWSProvider(**{"image_id": IMAGE, "key_name": "k", **wrong})


def test_without_the_library_the_extra_is_named(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name="boto3")

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(OptionalModuleMissing, match=r"pip install 'plait\[aws\]'"):
        AWSProvider(IMAGE, None).ec2


def test_keys_are_read_from_a_file(tmp_path):
    (tmp_path / "keys").write_text('{"AWSAccessKeyId": "a", "AWSSecretKey": "b"}')
    assert aws._keys(str(tmp_path / "keys")) == {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    (tmp_path / "keys").write_text('{"AWSAccessKeyId": "a"}')
    with pytest.raises(ConfigurationError, match="expected a JSON file with AWSAccessKeyId and AWSSecretKey"):
        aws._keys(str(tmp_path / "keys"))


def test_a_profile_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="profile='nobody'"):
        AWSProvider(IMAGE, None, profile="nobody").ec2


# ------------------------------------------------------------------ what is made
def test_a_block_is_instances_of_its_own(make):
    provider = make(
        nodes_per_block=2, worker_init="export A=1", key_name="mine", walltime="00:30:00", iam_instance_profile_arn=""
    )
    provider.ec2.create_key_pair(KeyName="mine")
    job = provider.submit("run the manager", 1, BLOCK)
    both = instances(provider)
    assert len(both) == 2
    for instance in both:
        tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
        assert (
            tags.items()
            >= {
                "plait-job": job,
                "plait-run": "3f2a1b4c",
                "plait-block": "7",
                "plait-executor": "cpu",
                "Name": job,
            }.items()
        )
        assert (instance["ImageId"], instance["InstanceType"], instance["KeyName"]) == (IMAGE, "t2.small", "mine")
        assert instance["MetadataOptions"]["HttpTokens"] == "required"
        assert "InstanceLifecycle" not in instance
        script = user_data(provider, instance)
        assert script.index("export A=1") < script.index("run the manager")
        assert f"plait=={plait_version()}" in script
        assert "shutdown -P +30" in script
        answer = provider.ec2.describe_instance_attribute(
            InstanceId=instance["InstanceId"], Attribute="instanceInitiatedShutdownBehavior"
        )
        assert answer["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate", (
            "switching off must not leave it costing"
        )
    assert state(provider, job).state == JobState.RUNNING


def test_nobody_comes_in(provider):
    provider.submit("x", 1, BLOCK)
    (instance,) = instances(provider)
    (interface,) = instance["NetworkInterfaces"]
    (group,) = interface["Groups"]
    assert group["GroupId"] == provider.network.security_group
    (rules,) = provider.ec2.describe_security_groups(GroupIds=[group["GroupId"]])["SecurityGroups"]
    assert rules["IpPermissions"] == []
    assert [rule["IpProtocol"] for rule in rules["IpPermissionsEgress"]] == ["-1"]


def test_spot_instances_are_asked_for_at_a_price(make):
    provider = make(spot_max_bid=0.05)
    job = provider.submit("x", 1, BLOCK)
    (instance,) = instances(provider)
    assert instance["InstanceLifecycle"] == "spot"
    request = provider._request(provider.resources[job], "", "subnet-1")
    assert request["InstanceMarketOptions"]["SpotOptions"]["MaxPrice"] == "0.05"


def test_instances_may_stay(make):
    provider = make(linger=True, region="us-west-1")
    provider.submit("x", 1, BLOCK)
    (instance,) = instances(provider)
    assert "shutdown" not in user_data(provider, instance)
    provider.close()
    assert len(instances(provider)) == 1
    assert things(provider)["vpcs"]


def test_each_zone_in_turn(provider):
    for _ in range(3):
        provider.submit("x", 1, BLOCK)
    assert len({instance["Placement"]["AvailabilityZone"] for instance in instances(provider)}) == 3


def test_another_zone_is_tried_where_there_is_no_room(provider, monkeypatch):
    from botocore.exceptions import ClientError

    real, asked = provider.ec2.run_instances, []

    def full(**request):
        asked.append(request)
        if len(asked) == 1:
            raise ClientError(
                {"Error": {"Code": "InsufficientInstanceCapacity"}, "ResponseMetadata": {"HTTPStatusCode": 500}},
                "RunInstances",
            )
        return real(**request)

    monkeypatch.setattr(provider.ec2, "run_instances", full)
    provider.submit("x", 1, BLOCK)
    assert len({request["ClientToken"] for request in asked}) == 2
    assert len(instances(provider)) == 1


def test_no_room_in_any_zone_is_a_refusal(provider, monkeypatch):
    from botocore.exceptions import ClientError

    def full(**_):
        raise ClientError(
            {
                "Error": {"Code": "InsufficientInstanceCapacity", "Message": "no room"},
                "ResponseMetadata": {"HTTPStatusCode": 500},
            },
            "RunInstances",
        )

    monkeypatch.setattr(provider.ec2, "run_instances", full)
    with pytest.raises(SubmitException, match="no room"):
        provider.submit("x", 1, BLOCK)


# ------------------------------------------------------------------ how it is
def test_one_question_for_all(provider):
    jobs = [provider.submit("x", 1, BLOCK) for _ in range(4)]
    asked = []

    def note(model, **_):
        asked.append(model.name)

    provider.ec2.meta.events.register("before-call.ec2", note)
    try:
        assert [status.state for status in provider.status(jobs)] == [JobState.RUNNING] * 4
    finally:
        provider.ec2.meta.events.unregister("before-call.ec2", note)
    assert asked == ["DescribeInstances"]


def test_an_instance_that_ended_itself_says_how(provider, monkeypatch):
    job = provider.submit("x", 1, BLOCK)
    (instance,) = instances(provider)
    provider.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    console = {"Output": f"boot\nplait-begin {job}\nit wrote this\nplait-end {job} 3\n"}
    monkeypatch.setattr(provider.ec2, "get_console_output", lambda InstanceId: console)
    status = state(provider, job)
    assert (status.state, status.exit_code, status.stdout) == (JobState.FAILED, 3, "it wrote this\n")


def test_the_console_of_the_service_is_read(provider):
    job = provider.submit("x", 1, BLOCK)
    provider.ec2.terminate_instances(InstanceIds=[instances(provider)[0]["InstanceId"]])
    status = state(provider, job)
    assert (status.state, status.exit_code) == (JobState.COMPLETED, None)
    assert "Linux version" in status.stdout


@pytest.mark.parametrize(
    ("name", "code", "expected"),
    [
        ("pending", "", JobState.PENDING),
        ("stopping", "", JobState.RUNNING),
        ("shutting-down", "Client.InstanceInitiatedShutdown", JobState.COMPLETED),
        ("terminated", "Server.SpotInstanceTermination", JobState.TIMEOUT),
        ("terminated", "Client.VolumeLimitExceeded", JobState.FAILED),
        ("terminated", "Server.InternalError", JobState.FAILED),
        ("something new", "", JobState.UNKNOWN),
    ],
)
def test_states_of_instances(name, code, expected):
    reason = {"StateReason": {"Code": code, "Message": f"{code}: because"}} if code else {}
    machine = aws._machine({"InstanceId": "i-1", "State": {"Name": name}, **reason})
    assert machine.state == expected
    if expected in {JobState.TIMEOUT, JobState.FAILED}:
        assert "because" in machine.message


def test_what_runs_too_long_is_ended(provider):
    job = provider.submit("x", 1, BLOCK)
    assert state(provider, job).state == JobState.RUNNING
    began_s = provider.resources[job].case.began_s
    provider._clock = lambda: began_s + 3600 + 301
    assert state(provider, job).state == JobState.TIMEOUT
    assert instances(provider) == []


# ------------------------------------------------------------------ never twice
def lose_answers(provider, monkeypatch, times, *, accepted):
    """The connection breaks behind the next requests for instances."""
    from botocore.exceptions import ReadTimeoutError

    real, left = provider.ec2.run_instances, [times]

    def run_instances(**request):
        if left[0] <= 0:
            return real(**request)
        left[0] -= 1
        if accepted:
            real(**request)
        raise ReadTimeoutError(endpoint_url="x")

    monkeypatch.setattr(provider.ec2, "run_instances", run_instances)


@pytest.mark.parametrize("accepted", [True, False])
def test_a_lost_answer_makes_no_second_block(provider, monkeypatch, accepted):
    lose_answers(provider, monkeypatch, 1, accepted=accepted)
    job = provider.submit("x", 1, BLOCK)
    assert len(instances(provider)) == 1
    assert state(provider, job).state == JobState.RUNNING


def test_the_same_request_has_the_same_token(provider, monkeypatch):
    tokens = []

    def run_instances(**request):
        tokens.append(str(request))
        raise TimeoutError("slow")

    monkeypatch.setattr(provider.ec2, "run_instances", run_instances)
    job = provider.submit("x", 1, BLOCK)
    assert provider.resources[job].case.status.state == JobState.UNKNOWN
    with pytest.raises(TimeoutError):
        provider._begin(provider.resources[job], provider.resources[job].notes["command"])
    assert len(tokens) == 3
    assert len(set(tokens)) == 1
    assert "ClientToken" in tokens[0]


def test_a_refusal_says_why(make):
    provider = make(image_id="ami-00000000")
    with pytest.raises(SubmitException, match="ami-00000000"):
        provider.submit("x", 1, BLOCK)
    assert instances(provider) == []
    assert provider.resources == {}


def test_a_service_that_is_not_there_is_an_error_at_once(monkeypatch, tmp_path):
    for name, value in moto.KEYS.items():
        monkeypatch.setenv(name, value)
    provider = AWSProvider(IMAGE, None, endpoint_url="http://127.0.0.1:1")
    provider.script_dir = str(tmp_path)
    with pytest.raises(SubmitException, match="Could not connect"):
        provider.submit("x", 1, BLOCK)
    provider.ec2.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            "sso_start_url = https://lab.example/start\nsso_region = us-east-1\nsso_account_id = 1\nsso_role_name = r",
            "SSO",
        ),
        ("credential_process = /bin/false", "retrieving credentials"),
    ],
)
def test_credentials_that_are_no_more_are_an_error_at_once(monkeypatch, tmp_path, settings, said):
    """They fail before anything is sent."""
    (tmp_path / "config").write_text(f"[profile lab]\n{settings}\n")
    for name in moto.KEYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    provider = AWSProvider(IMAGE, None, profile="lab", endpoint_url="http://127.0.0.1:1")
    provider.script_dir = str(tmp_path)
    with pytest.raises(SubmitException, match=said):
        provider.submit("x", 1, BLOCK)
    assert provider.resources == {}
    if provider._ec2 is not None:
        provider._ec2.close()


# ------------------------------------------------------------------ the end
def test_the_end_leaves_nothing(make):
    provider = make(region="us-west-1")
    before = things(provider)
    jobs = [provider.submit("x", 1, BLOCK) for _ in range(3)]
    assert things(provider) != before
    assert provider.cancel(jobs[:1]) == [True]
    assert state(provider, jobs[0]).state == JobState.CANCELLED
    provider.close()
    assert things(provider) == before == {name: [] for name in before}
    assert [status.state for status in provider.status(jobs)] == [JobState.CANCELLED] * 3
    job = provider.submit("another run", 1, BLOCK)
    assert state(provider, job).state == JobState.RUNNING


def test_a_network_that_a_killed_driver_left_is_taken_away_by_its_name(make):
    killed = make(region="us-west-1")
    killed.submit("x", 1, BLOCK)
    make(region="us-west-1").teardown(killed.network.tags["plait-network"])
    assert things(killed) == {name: [] for name in things(killed)}


def test_what_must_wait_is_done_when_the_program_ends(make, monkeypatch, caplog):
    provider = make(region="us-west-1")
    job = provider.submit("x", 1, BLOCK)

    def in_use(**_):
        raise TimeoutError("it is in use")

    with monkeypatch.context() as patch:
        patch.setattr(provider.ec2, "delete_vpc", in_use)
        provider.close()
    assert state(provider, job).state == JobState.CANCELLED
    assert things(provider)["vpcs"]
    assert provider._at_exit
    provider._leave()
    assert not provider._at_exit
    assert things(provider) == {name: [] for name in things(provider)}
    assert "this may take a minute or two" in caplog.text


def test_another_process_finds_it_by_its_ticket(provider):
    before = provider.ticket("", BLOCK)
    job = provider.submit("x", 1, BLOCK)
    assert provider.ticket(job) == before
    other, id_ = recall(before)
    other._ec2 = provider.ec2
    assert state(other, id_).state == JobState.RUNNING
    assert other.cancel([id_]) == [True]
    assert instances(provider) == []


def test_a_state_file_keeps_the_network_for_the_next_run(make, tmp_path):
    file = tmp_path / "state.json"
    first = make(state_file=str(file), region="us-west-1")
    first.submit("x", 1, BLOCK)
    first.close()
    assert instances(first) == []
    (vpc,) = things(first)["vpcs"]
    assert json.loads(file.read_text()).keys() == {"network"}
    second = make(state_file=str(file), region="us-west-1")
    second.submit("x", 1, BLOCK)
    assert things(second)["vpcs"] == [vpc]
    make(state_file=str(file), region="us-west-1").teardown()
    assert things(second) == {name: [] for name in things(second)}
    assert not file.exists()


# ------------------------------------------------------------------ S13, S14
@given(name=st.text(max_size=100), job=st.text(max_size=100))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_name_adds_a_line_to_user_data(name, job):
    provider = AWSProvider(IMAGE, None)
    made, plain = provider._known(provider._next_id(name), name), provider._known("j", "n")
    assert len(provider._script(made, "c").splitlines()) == len(provider._script(plain, "c").splitlines())
    for value in made.labels.values():
        assert len(value) <= 256
