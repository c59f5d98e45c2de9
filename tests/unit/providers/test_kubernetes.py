"""Blocks as Jobs of Kubernetes: the official client against a double of the API server."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait._util.procs import look
from plait.errors import BadLauncher, ConfigurationError, OptionalModuleMissing, SubmitException
from plait.launchers import SingleNodeLauncher, WrappedLauncher
from plait.model.jobs import JobState
from plait.providers import remote
from plait.providers.kubernetes import Cluster, KubernetesProvider
from plait.providers.tickets import recall
from tests.fakes.cluster_api import NAME, VALUE, FakeCluster
from tests.support import wait_until

BLOCK = "plait.3f2a1b4c.cpu.block-7"


@pytest.fixture
def api():
    with FakeCluster().running() as cluster:
        yield cluster


@pytest.fixture
def make(api, tmp_path):
    made = []

    def make(**parameters):
        provider = KubernetesProvider("ghcr.io/lab/plait:1", "lab", **parameters)
        provider._cluster = Cluster("lab", 5.0, api.url)
        provider.script_dir = str(tmp_path)
        made.append(provider)
        return provider

    yield make
    for provider in made:
        provider.cluster.close()


@pytest.fixture
def provider(make):
    return make()


def state(provider, job):
    (status,) = provider.status([job])
    return status


def test_making_one_does_nothing(monkeypatch):
    monkeypatch.setattr(remote, "module", lambda *_: pytest.fail("a library was imported"))
    provider = KubernetesProvider("image")
    assert (provider.namespace, provider.init_blocks, provider.min_blocks, provider.max_blocks) == ("default", 4, 0, 10)
    assert (provider.max_cpu, provider.max_mem, provider.init_cpu, provider.init_mem) == (2, "500Mi", 1, "250Mi")
    assert (provider.label, provider.shares_files, provider.python) == ("kubernetes", False, "python3")
    again = eval(repr(provider), {"KubernetesProvider": KubernetesProvider, "SingleNodeLauncher": SingleNodeLauncher})
    assert repr(again) == repr(provider)


def test_fewer_blocks_than_four_may_be_all():
    assert KubernetesProvider("image", max_blocks=2).init_blocks == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"image": "a b"}, {"image": ""}, {"namespace": "Upper"}, {"max_cpu": 0}, {"init_cpu": True}, {"max_mem": 5}, {"init_mem": "5 GB"},
        {"extra_limits": {"x": "y"}}, {"extra_requests": 3}, {"pod_name": "a b"}, {"user_id": "root"}, {"group_id": -1}, {"run_as_non_root": "yes"},
        {"secret": "a\nb"}, {"persistent_volumes": [("claim", "relative")]}, {"persistent_volumes": 3}, {"persistent_volumes": [("a b", "/x")]},
        {"service_account_name": "-x"}, {"annotations": {"a": 1}}, {"worker_init": ["a"]}, {"walltime": "soon"}, {"cmd_timeout": 0},
    ],
)  # fmt: skip
def test_wrong_values_are_named(wrong):
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=rf"KubernetesProvider\({name}"):
        KubernetesProvider(**{"image": "image", **wrong})


def test_what_is_no_launcher_is_refused():
    with pytest.raises(BadLauncher):
        KubernetesProvider("image", launcher="srun")


def test_without_the_library_the_extra_is_named(monkeypatch, tmp_path):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name="kubernetes")

    monkeypatch.setattr("importlib.import_module", missing)
    provider = KubernetesProvider("image")
    provider.script_dir = str(tmp_path)
    with pytest.raises(OptionalModuleMissing, match=r"pip install 'plait\[kubernetes\]'"):
        provider.submit("true", 1)


def test_without_a_cluster_it_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="set KUBECONFIG"):
        Cluster("default", 5.0)


def test_the_cluster_is_that_of_kubectl(monkeypatch, tmp_path, api):
    config = tmp_path / "config"
    config.write_text(f"""
apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: lab, user: me}}}}]
clusters: [{{name: lab, cluster: {{server: "{api.url}"}}}}]
users: [{{name: me, user: {{token: secret-token}}}}]
""")
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(config))
    cluster = Cluster("lab", 5.0)
    assert cluster.jobs("a=b") == {}
    assert api.asked[-1].headers["Authorization"] == "Bearer secret-token"
    cluster.close()


# ------------------------------------------------------------------ what is made
def test_a_block_is_a_job_that_the_client_knows(make, api):
    from kubernetes import client

    provider = make(
        nodes_per_block=3, walltime="01:00:00", extra_requests={"nvidia.com/gpu": "1"}, extra_limits={"nvidia.com/gpu": "1"}, user_id="1000",
        group_id=100, run_as_non_root=True, secret="pull", persistent_volumes=[("data", "/data")], service_account_name="worker",
        annotations={"note": "it's\nme"}, pod_name="My_Workers", worker_init="export A=1",
    )  # fmt: skip
    job = provider.submit("echo hello", 1, BLOCK)
    body = next(asked.body for asked in api.asked if str(asked).startswith("POST") and asked.path.endswith("jobs"))
    api_client = client.ApiClient()
    model = api_client._ApiClient__deserialize(body, client.V1Job)
    assert api_client.sanitize_for_serialization(model) == body, "fields that the API does not have"
    api_client.close()
    spec = body["spec"]
    assert (spec["parallelism"], spec["completions"], spec["backoffLimit"]) == (3, 3, 0)
    assert (spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (3600, 3600)
    labels = spec["template"]["metadata"]["labels"]
    assert labels == {"plait-job": job, "plait-run": "3f2a1b4c", "plait-executor": "cpu", "plait-block": "7"}
    assert labels.items() <= body["metadata"]["labels"].items()
    assert job.startswith("my-workers-plait-3f2a1b4c-cpu-block-7-")
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "1", "memory": "250Mi", "nvidia.com/gpu": "1"},
        "limits": {"cpu": "2", "memory": "500Mi", "nvidia.com/gpu": "1"},
    }
    assert container["securityContext"] == {
        "runAsNonRoot": True, "allowPrivilegeEscalation": False, "runAsUser": 1000, "runAsGroup": 100,
    }  # fmt: skip
    assert (pod["restartPolicy"], pod["serviceAccountName"], pod["imagePullSecrets"]) == (
        "Never",
        "worker",
        [{"name": "pull"}],
    )
    assert pod["automountServiceAccountToken"] is True
    assert {"name": "volume-0", "mountPath": "/data"} in container["volumeMounts"]
    assert "env" not in container


def test_without_an_account_pods_get_no_token(provider, api):
    job = provider.submit("true", 1)
    spec = api.jobs[job]["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert "activeDeadlineSeconds" not in api.jobs[job]["spec"]


def test_the_command_with_its_keys_is_in_a_secret_only(make, api):
    provider = make(worker_init="export A=1", launcher=WrappedLauncher("env B=2"))
    job = provider.submit("bash -c 'cat; echo $A$B' <<'END'\nkey-of-the-block\nEND", 1, BLOCK)
    secret = api.secrets[job]
    assert secret["metadata"]["ownerReferences"][0]["uid"] == api.jobs[job]["metadata"]["uid"]
    assert "key-of-the-block" not in str(api.jobs) + str(api.pods)
    done = subprocess.run(["bash"], input=secret["stringData"]["run.sh"], capture_output=True, text=True, check=True)
    assert done.stdout == "key-of-the-block\n12\n"
    provider.cancel([job])
    assert (api.jobs, api.pods, api.secrets) == ({}, {}, {})


def test_deleting_a_pod_ends_all_of_its_command(provider, api, tmp_path):
    job = provider.submit(
        f"trap 'echo ended >>{tmp_path}/said; exit 5' TERM; (sleep 600 & echo $! >{tmp_path}/pid; wait) & wait",
        1,
        BLOCK,
    )
    pod = subprocess.Popen(["bash", "-c", api.secrets[job]["stringData"]["run.sh"]], start_new_session=True)
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    pod.terminate()
    assert pod.wait(20) == 5
    assert (tmp_path / "said").read_text() == "ended\n"
    sleeper = int((tmp_path / "pid").read_text())
    wait_until(lambda: not (process := look(sleeper)) or not process.is_alive)


@pytest.mark.parametrize("code", [0, 3])
def test_a_pod_ends_as_its_command(provider, api, code):
    job = provider.submit(f"sleep 0; exit {code}", 1, BLOCK)
    assert subprocess.run(["bash", "-c", api.secrets[job]["stringData"]["run.sh"]], check=False).returncode == code


# ------------------------------------------------------------------ how it is
def test_a_pod_that_finds_no_room_says_so(make, api):
    api.starts, provider = False, make(nodes_per_block=2)
    job = provider.submit("true", 1, BLOCK)
    assert (state(provider, job).state, state(provider, job).message) == (JobState.PENDING, None)
    for pod in api.pods_of(job):
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient cpu.",
        }
        api.say(pod, "Pending", conditions=[condition])
    status = state(provider, job)
    assert (status.state, status.message) == (
        JobState.PENDING,
        "Unschedulable: 0/3 nodes are available: 3 Insufficient cpu.",
    )


def test_a_quota_says_so(provider, api, monkeypatch):
    api.quota = 0
    job = provider.submit("x", 1, BLOCK)
    assert state(provider, job).message is None
    submitted_s = provider.resources[job].case.submitted_s
    monkeypatch.setattr(provider, "_clock", lambda: submitted_s + 11)
    status = state(provider, job)
    assert (status.state, status.message) == (
        JobState.PENDING, "FailedCreate: pods is forbidden: exceeded quota: lab, requested: cpu=1, used: cpu=8, limited: cpu=8",
    )  # fmt: skip
    api.forbidden.add("GET events")
    assert state(provider, job).message == "it has no pods yet"


def test_an_image_that_is_not_there_says_so(provider, api):
    api.starts = False
    job = provider.submit("true", 1, BLOCK)
    (pod,) = api.pods_of(job)
    api.say(pod, "Pending", {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}})
    assert state(provider, job).message == 'ImagePullBackOff: Back-off pulling image "x"'


def test_one_question_for_all(make, api):
    provider = make()
    jobs = [provider.submit("true", 1, BLOCK) for _ in range(5)]
    asked = len(api.asked)
    assert [status.state for status in provider.status(jobs)] == [JobState.RUNNING] * 5
    assert [f"{one.method} {one.path.rpartition('/')[2]}" for one in api.asked[asked:]] == ["GET jobs", "GET pods"]
    asked = len(api.asked)
    provider.status([])
    assert len(api.asked) == asked


def test_an_end_has_its_output_and_leaves_nothing(provider, api):
    job = provider.submit("x", 1, BLOCK)
    api.end(job, 7, "it wrote this\n")
    status = state(provider, job)
    assert (status.state, status.exit_code, status.message) == (
        JobState.FAILED,
        7,
        "its command ended with exit code 7",
    )
    assert status.stdout == "it wrote this\n"
    assert (api.jobs, api.pods, api.secrets) == ({}, {}, {})


def test_memory_that_was_too_little_says_so(provider, api):
    job = provider.submit("x", 1, BLOCK)
    api.end(job, 137, reason="OOMKilled")
    assert state(provider, job).message == "its command ended with exit code 137 (OOMKilled)"


def test_a_job_that_somebody_deleted_is_noticed(provider, api, monkeypatch):
    job = provider.submit("x", 1, BLOCK)
    assert state(provider, job).state == JobState.RUNNING
    api.delete(job, "Background")
    now = [1000.0]
    monkeypatch.setattr(provider, "_clock", lambda: now[0])
    assert state(provider, job).state == JobState.RUNNING, "one answer is not believed"
    now[0] += 31
    status = state(provider, job)
    assert (status.state, status.message) == (JobState.CANCELLED, "it is gone: somebody else deleted it")


def test_no_answer_is_no_end(provider, api, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(provider, "_clock", lambda: now[0])
    job = provider.submit("x", 1, BLOCK)
    api.fail("GET", 500, times=2)
    assert state(provider, job).state == JobState.PENDING
    now[0] += 61
    status = state(provider, job)
    assert status.state == JobState.UNKNOWN
    assert "nothing has been heard of it for 61 s" in status.message
    assert state(provider, job).state == JobState.RUNNING


# ------------------------------------------------------------------ never twice
@pytest.mark.parametrize("where", ["POST /apis/batch/v1/namespaces/lab/jobs", "POST /api/v1/namespaces/lab/secrets"])
@pytest.mark.parametrize("status", [0, 500, 504])
@pytest.mark.parametrize("accepted", [True, False])
def test_a_lost_answer_makes_no_second_job(provider, api, where, status, accepted):
    api.faults.clear()
    (api.cut(where, accepted=accepted) if status == 0 else api.fail(where, status, accepted=accepted))
    job = provider.submit("x", 1, BLOCK)
    assert list(api.jobs) == [job]
    assert list(api.secrets) == [job]
    assert state(provider, job).state == JobState.RUNNING


def test_while_nobody_knows_it_is_kept_and_completed_later(provider, api):
    api.cut("POST /api/v1/namespaces/lab/secrets", times=2, accepted=False)
    job = provider.submit("x", 1, BLOCK)
    assert provider.resources[job].case.status.state == JobState.UNKNOWN
    assert list(api.jobs) == [job]
    assert api.secrets == {}
    assert state(provider, job).state == JobState.RUNNING or state(provider, job).state == JobState.RUNNING
    assert list(api.secrets) == [job]


def test_what_never_was_is_a_failed_block(provider, api, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(provider, "_clock", lambda: now[0])
    api.cut("POST", times=2, accepted=False)
    job = provider.submit("x", 1, BLOCK)
    assert state(provider, job).state == JobState.UNKNOWN
    now[0] += 31
    status = state(provider, job)
    assert status.state == JobState.FAILED
    assert "the service never had it" in status.message


def test_a_refusal_says_why_and_leaves_nothing(provider, api):
    api.forbidden.add("POST secrets")
    with pytest.raises(SubmitException, match="secrets is forbidden"):
        provider.submit("x", 1, BLOCK)
    assert (api.jobs, api.pods) == ({}, {})
    assert provider.resources == {}


@pytest.mark.parametrize("kind", ["jobs", "secrets"])
def test_a_quota_that_others_change_meanwhile_is_asked_again(provider, api, kind):
    """It has the status of a thing that is there already: the pods waited for a Secret that nobody had made."""
    api.conflicts[kind] = 2
    job = provider.submit("x", 1, BLOCK)
    assert list(api.jobs) == list(api.secrets) == [job]
    assert state(provider, job).state == JobState.RUNNING


@pytest.mark.parametrize("kind", ["jobs", "secrets"])
def test_a_quota_that_others_change_all_the_time_says_so(provider, api, kind):
    api.conflicts[kind] = 1000
    with pytest.raises(SubmitException, match="cannot be fulfilled on resourcequotas"):
        provider.submit("x", 1, BLOCK)
    assert (api.jobs, api.pods, api.secrets) == ({}, {}, {})


def test_a_server_that_is_not_there_is_an_error_at_once(make):
    provider = make()
    provider.cluster.close()
    provider._cluster = Cluster("lab", 5.0, "http://127.0.0.1:1")
    with pytest.raises(SubmitException, match=r"refused"):
        provider.submit("x", 1, BLOCK)


# ------------------------------------------------------------------ the end
def test_cancel_ends_what_is_there_and_what_is_not(provider, api):
    jobs = [provider.submit("x", 1, BLOCK) for _ in range(3)]
    api.delete(jobs[1], "Background")
    assert provider.cancel([*jobs, "other"]) == [True, True, True, False]
    assert [status.state for status in provider.status(jobs)] == [JobState.CANCELLED] * 3
    assert (api.jobs, api.pods, api.secrets) == ({}, {}, {})


def test_another_process_finds_it_by_its_ticket(make, api):
    provider = make()
    before = provider.ticket("", BLOCK)
    job = provider.submit("x", 1, BLOCK)
    assert provider.ticket(job) == before, "what is written down before the submission is right"
    other, id_ = recall(before)
    other._cluster = provider.cluster
    assert id_ == job
    assert state(other, job).state == JobState.RUNNING
    assert other.cancel([job]) == [True]
    assert api.jobs == {}


# ------------------------------------------------------------------ S13, S14
TEXTS = st.text(min_size=1, max_size=80)


@given(name=TEXTS, pod_name=st.none() | TEXTS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_names_are_valid_whatever_they_are_made_of(name, pod_name):
    try:
        provider = KubernetesProvider("image", pod_name=pod_name)
    except ConfigurationError:
        return
    job = provider._known(provider._next_id(name), name)
    body = provider._job(job)
    assert NAME.fullmatch(job.id)
    assert len(job.id) <= 57
    for value in {**body["metadata"]["labels"], **body["spec"]["template"]["metadata"]["labels"]}.values():
        assert VALUE.fullmatch(value)


@given(run=st.from_regex(r"[0-9a-f]{8}", fullmatch=True), label=TEXTS, block=st.integers(0, 99999))
@settings(max_examples=40)
def test_run_and_block_stay_in_the_name(run, label, block):
    id_ = KubernetesProvider("image")._next_id(f"plait.{run}.{label}.block-{block}")
    assert id_.startswith(f"plait-{run}") or run[0].isdigit()
    assert f"block-{block}-" in id_
