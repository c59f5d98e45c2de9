"""`SlurmProvider` with a Slurm that answers as it is told; the real one is in tests/cluster/."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import ConfigurationError, SubmitException
from plait.model.jobs import JobState
from plait.providers import SlurmProvider, cluster, judge
from plait.providers.script import Script
from plait.providers.shell import CommandFailed, Finished, LocalShell
from plait.providers.tickets import recall

HEAD = "JOBID|STATE|REASON|NAME|COMMENT\n"
DOWN = "Unable to contact slurm controller (connect failure)\n"


class FakeSlurm(LocalShell):
    """Commands answer with what the attribute of their name says; files are real."""

    def __init__(self):
        self.ran = []
        self.sbatch = "42\n"
        self.squeue = HEAD
        self.sacct = Finished((), 1, "", "Slurm accounting storage is disabled\n")
        self.scancel = ""

    def run(self, argv, *, timeout_s, stdin="", env=None, max_bytes=0):
        self.ran.append(list(argv))
        command = next(word for word in argv if word in {"sbatch", "squeue", "sacct", "scancel"})
        answer = getattr(self, command)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Finished) else Finished(tuple(argv), 0, answer, "")

    def of(self, command):
        """What this command was called with."""
        return [argv for argv in self.ran if command in argv]


@pytest.fixture
def slurm():
    return FakeSlurm()


@pytest.fixture
def make(slurm, tmp_path):
    def made(**parameters):
        provider = SlurmProvider(**{"shell": slurm, "max_blocks": 200, **parameters})
        provider.script_dir = str(tmp_path / "jobs")
        return provider

    return made


@pytest.fixture
def now(monkeypatch):
    class Clock:
        s = 1000.0

        def monotonic(self):
            return self.s

    clock = Clock()
    monkeypatch.setattr(cluster, "time", clock)
    return clock


def script_of(provider, id_):
    return text_of(f"{provider.resources[id_].path}.sh")


def text_of(path):
    return Path(path).read_text(encoding="utf-8")


def comment_of(path):
    """The comment that an array is submitted with."""
    (comment,) = (word for word in directives(text_of(path)) if word.startswith("--comment"))
    return comment.partition("=")[2].strip('"')


def directives(text):
    return [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")]


def line(provider, id_, state, reason="None", *, number=None):
    """What squeue says of a job."""
    return f"{number or id_}|{state}|{reason}|{provider.resources[id_].name}|(null)\n"


def state(provider, id_):
    return provider.status([id_])[0].state


# ------------------------------------------------------------------ scripts
def test_what_is_always_asked_for(make):
    """Upstream's directives, with upstream's defaults."""
    provider = make()
    id_ = provider.submit("the command", 1, "plait.block-0")
    path = provider.resources[id_].path
    assert directives(script_of(provider, id_)) == [
        f"--job-name={provider.resources[id_].name}",
        f"--output={path}.out",
        f"--error={path}.err",
        "--nodes=1",
        "--time=10",
        "--ntasks-per-node=1",
        "--exclusive",
    ]


def test_everything_that_can_be_asked_for(make):
    provider = make(
        partition="gpu", account="m42", qos="high", constraint="a100&nvme", clusters="big", nodes_per_block=2, cores_per_node=8,
        mem_per_node=16, gpus_per_node=4, gres="gpu:a100:4", walltime="01:30:30", exclusive=False,
        scheduler_options="#SBATCH --reservation=r1\n#SBATCH --mail-type=END", worker_init="module load python",
    )  # fmt: skip
    text = script_of(provider, provider.submit("the command", 2, "plait.block-0"))
    assert directives(text)[3:] == [
        "--nodes=2", "--time=91", "--ntasks-per-node=2", "--partition=gpu", "--account=m42", "--qos=high", "--constraint=a100&nvme",
        "--clusters=big", "--gpus-per-node=4", "--gres=gpu:a100:4", "--mem=16g", "--cpus-per-task=4", "--reservation=r1",
        "--mail-type=END",
    ]  # fmt: skip
    body = text[text.rindex("#SBATCH") :]
    assert "export PARSL_MEMORY_GB=16\n" in body
    assert "export PARSL_CORES=4\n" in body
    assert body.index("PARSL_CORES") < body.index("module load python") < body.index("the command")


def test_memory_may_be_a_fraction(make):
    provider = make(mem_per_node=1.5)
    text = script_of(provider, provider.submit("x", 1))
    assert "--mem=1536m" in directives(text)
    assert "export PARSL_MEMORY_GB=1.5\n" in text


def test_more_tasks_than_cores(make):
    provider = make(cores_per_node=2)
    assert "--cpus-per-task=1" in directives(script_of(provider, provider.submit("x", 8)))


def test_paths_may_have_blanks_and_percents(make, tmp_path):
    """Slurm ends a word at a blank, and puts numbers for ``%j``."""
    provider = make()
    provider.script_dir = str(tmp_path / "50 %j jobs")
    text = script_of(provider, provider.submit("x", 1))
    assert f'--output="{tmp_path}/50 %%j jobs/' in text


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("partition", "a\n#SBATCH --account=other"),
        ("partition", "a b"),
        ("account", "a'b"),
        ("qos", ""),
        ("constraint", "-x"),
        ("clusters", "a;b"),
        ("gres", "gpu:1 --account=other"),
        ("cores_per_node", 0),
        ("cores_per_node", 1.5),
        ("mem_per_node", -1),
        ("mem_per_node", "16g"),
        ("gpus_per_node", True),
        ("exclusive", "yes"),
        ("status_batch_size", 0),
        ("regex_job_id", "no group"),
        ("regex_job_id", "("),
        ("walltime", "soon"),
    ],
)
def test_values_that_could_do_something_else_are_refused_with_their_names(parameter, value):
    with pytest.raises(ConfigurationError) as info:
        SlurmProvider(**{parameter: value})
    assert f"SlurmProvider({parameter}={value!r})" in str(info.value)


@given(
    parameter=st.sampled_from(["partition", "account", "qos", "constraint", "clusters", "gres"]),
    value=st.text(max_size=20) | st.from_regex(r"[a-z]{1,3}[\n\r\x0b\x85\u2028 ]#SBATCH --account=x", fullmatch=True),
)
def test_no_value_adds_a_line_or_a_word(parameter, value):
    """Either it is refused, or it is the one word of the one directive."""
    try:
        provider = SlurmProvider(**{parameter: value})
    except ConfigurationError:
        return
    script = Script("#SBATCH")
    provider._options_of_all(script, 1)
    others = Script("#SBATCH")
    SlurmProvider()._options_of_all(others, 1)
    (added,) = set(script.text().splitlines()) - set(others.text().splitlines())
    assert added == f"#SBATCH --{parameter}={value}"
    assert len(added.split()) == 2
    assert len(script.text().splitlines()) == len(others.text().splitlines()) + 1


def test_a_constructor_does_nothing(make, slurm, tmp_path):
    """Upstream's asks for accounting there."""
    make()
    assert slurm.ran == []
    assert list(tmp_path.iterdir()) == []


def test_it_shows_what_it_was_given():
    shown = repr(SlurmProvider(partition="debug", exclusive=False))
    assert "partition='debug'" in shown
    assert "exclusive=False" in shown
    assert "account" not in shown


# ------------------------------------------------------------------ submitting
def test_sbatch_is_asked_for_the_id_alone(make, slurm):
    provider = make()
    slurm.sbatch = "77;big\n"
    assert provider.submit("x", 1) == "77;big"
    assert slurm.ran == [["sbatch", "--parsable", f"{provider.resources['77;big'].path}.sh"]]


def test_a_sites_own_sbatch_is_read_with_the_pattern(make, slurm):
    provider = make(regex_job_id=r"your job: (?P<id>\d+)")
    slurm.sbatch = "your job: 7\n"
    assert provider.submit("x", 1) == "7"
    assert "--parsable" not in slurm.ran[0]


def test_inside_a_job_its_variables_are_taken_away(make, slurm, monkeypatch):
    """A block would take the memory and cores of the driver's job for its own; where the controller is it must know."""
    for name in ("SLURM_JOB_ID", "SLURM_MEM_PER_NODE", "SLURM_CONF", "SLURMD_NODENAME", "SBATCH_ACCOUNT"):
        monkeypatch.setenv(name, "x")
    make().submit("x", 1)
    argv = slurm.ran[0]
    assert argv[0] == "env"
    unset = {word.removeprefix("--unset=") for word in argv[1 : argv.index("sbatch")]}
    assert {"SLURM_JOB_ID", "SLURM_MEM_PER_NODE", "SLURMD_NODENAME"} <= unset
    assert not unset & {"SLURM_CONF", "SBATCH_ACCOUNT"}


def test_variables_that_would_hide_jobs_are_taken_away(make, slurm, monkeypatch):
    """On another host, behind a shell of its own, nobody knows which there are."""
    for name in ("SQUEUE_PARTITION", "SCANCEL_STATE", "SBATCH_JOB_NAME", "SBATCH_ACCOUNT"):
        monkeypatch.setenv(name, "x")
    provider = make()
    id_ = provider.submit("x", 1)
    slurm.squeue = HEAD + line(provider, id_, "RUNNING")
    assert state(provider, id_) == JobState.RUNNING
    provider.cancel([id_])
    unset = ["env", "--unset=SBATCH_JOB_NAME", "--unset=SCANCEL_STATE", "--unset=SQUEUE_PARTITION"]
    assert [argv[:4] for argv in slurm.ran] == [unset] * 3
    assert [argv[4] for argv in slurm.ran] == ["sbatch", "squeue", "scancel"]


@pytest.mark.parametrize("options", ["#SBATCH -J mine", "#SBATCH --job-name=mine"])
def test_a_name_among_the_users_directives_does_not_count(make, slurm, options):
    provider = make(scheduler_options=options)
    id_ = provider.submit("x", 1)
    assert slurm.ran[0][2] == f"--job-name={provider.resources[id_].name}"


def test_no_array_where_jobs_have_a_comment_of_the_user(make, slurm, monkeypatch):
    requests = [("x", 1, f"plait.block-{number}") for number in range(2)]
    make(scheduler_options="#SBATCH --comment=mine").submit_many(requests)
    monkeypatch.setenv("SBATCH_COMMENT", "mine")
    make().submit_many(requests)
    assert len(slurm.of("sbatch")) == 4


def test_a_job_that_was_accepted_although_sbatch_failed_is_adopted(make, slurm):
    provider = make()

    class Both(FakeSlurm):
        def run(self, argv, **others):
            if "sbatch" in argv:
                name = next(text for text in text_of(argv[-1]).split() if text.startswith("--job-name="))
                self.squeue = f"{HEAD}99|PENDING|Priority|{name.partition('=')[2]}|(null)\n"
                self.ran.append(list(argv))
                return Finished(tuple(argv), 1, "", "slurm_receive_msg: Socket timed out\n")
            return super().run(argv, **others)

    provider.shell = slurm = Both()
    assert provider.submit("x", 1) == "99"
    assert len(slurm.of("sbatch")) == 1


def test_what_a_refused_submission_left_behind_is_not_its_job(make, slurm):
    """Slurm keeps a failed job for a request that no node can fulfil, and refuses it."""
    provider = make()
    slurm.sbatch = Finished((), 1, "", "sbatch: error: Requested node configuration is not available\n")
    provider._final_name = lambda name: name
    slurm.squeue = f"{HEAD}6|FAILED|BadConstraints|plait.x|(null)\n"
    with pytest.raises(SubmitException, match="Requested node configuration is not available"):
        provider.submit("x", 1, "plait.x")


# ------------------------------------------------------------------ arrays
def test_several_blocks_are_one_job_array(make, slurm):
    provider = make(partition="debug")
    ids = provider.submit_many([(f"command {n}", 1, f"plait.0123abcd.cpu.block-{n}") for n in range(3)])
    assert ids == ["42_0", "42_1", "42_2"]
    (argv,) = slurm.ran
    head = directives(text_of(argv[-1]))
    array = next(iter(provider.resources.values())).path.removesuffix(".0")
    assert {
        "--array=0-2",
        f"--output={array}.%a.out",
        f"--error={array}.%a.err",
        "--partition=debug",
        "--exclusive",
    } <= set(head)
    for number, id_ in enumerate(ids):
        assert f"command {number}" in script_of(provider, id_)
        assert provider.resources[id_].path == f"{array}.{number}"
        assert provider.status([id_])[0].stdout_path == f"{array}.{number}.out"
        assert f"block-{number}." in provider.resources[id_].name


def test_jobs_of_an_array_are_told_apart(make, slurm):
    provider = make()
    one, two = provider.submit_many([("a", 1, "plait.block-1"), ("b", 1, "plait.block-2")])
    comment = comment_of(slurm.ran[0][-1])
    slurm.squeue = f"{HEAD}{one}|RUNNING|None|x|{comment}\n{two}|PENDING|JobHeldUser|x|{comment}\n"
    assert [status.state for status in provider.status([one, two])] == [JobState.RUNNING, JobState.HELD]
    names = [provider.resources[id_].name for id_ in (one, two)]
    assert provider._find(names) == dict(zip(names, (one, two), strict=True))


def test_where_there_are_no_arrays_they_are_submitted_one_by_one(make, slurm):
    provider = make()

    class NoArrays(FakeSlurm):
        def run(self, argv, **others):
            if "sbatch" in argv and "--array" in text_of(argv[-1]):
                self.ran.append(list(argv))
                return Finished(tuple(argv), 1, "", "sbatch: error: Invalid job array specification\n")
            self.sbatch = f"{len(self.ran)}\n"
            return super().run(argv, **others)

    provider.shell = NoArrays()
    assert provider.submit_many([("a", 1, "a"), ("b", 1, "b")]) == ["1", "2"]


def test_an_array_that_is_refused_is_refused_for_each(make, slurm):
    slurm.sbatch = Finished((), 1, "", "sbatch: error: Invalid partition name specified\n")
    answers = make(partition="nowhere").submit_many([("a", 1, "a"), ("b", 1, "b")])
    assert [type(answer) for answer in answers] == [SubmitException] * 2
    assert "Invalid partition name" in str(answers[1])
    assert len(slurm.of("sbatch")) == 1


def test_an_array_that_may_have_been_taken_is_found_later(make, slurm):
    """Nothing is submitted twice."""
    provider = make()
    slurm.sbatch = CommandFailed(["sbatch"], None, "", "", "it did not end within 10 s")
    slurm.squeue = Finished((), 1, "", DOWN)
    ids = provider.submit_many([("a", 1, "plait.block-1"), ("b", 1, "plait.block-2")])
    assert [state(provider, id_) for id_ in ids] == [JobState.UNKNOWN] * 2
    comment = comment_of(slurm.ran[0][-1])
    slurm.squeue = f"{HEAD}9_0|RUNNING|None|x|{comment}\n9_1|RUNNING|None|x|{comment}\n"
    assert [state(provider, id_) for id_ in ids] == [JobState.RUNNING] * 2
    assert len(slurm.of("sbatch")) == 1


def test_an_array_that_may_have_been_taken_is_no_refusal_of_arrays(make, slurm, tmp_path):
    """Whatever words are in the path of its script."""
    provider = make()
    provider.script_dir = str(tmp_path / "microarray")
    slurm.sbatch = Finished(("sbatch", f"{provider.script_dir}/x.sh"), 1, "", "Socket timed out on send/recv\n")
    slurm.squeue = Finished((), 1, "", DOWN)
    ids = provider.submit_many([("a", 1, "plait.block-1"), ("b", 1, "plait.block-2")])
    assert [state(provider, id_) for id_ in ids] == [JobState.UNKNOWN] * 2
    assert len(slurm.of("sbatch")) == 1


def test_one_block_is_no_array(make, slurm):
    assert make().submit_many([("a", 1, "a")]) == ["42"]
    assert make().submit_many([("a", 1, "a"), ("b", 2, "b")]) == ["42", "42"]  # nor are blocks of different shapes
    assert all("--array" not in text_of(argv[-1]) for argv in slurm.ran)


# ------------------------------------------------------------------ looking
def test_one_command_asks_for_all(make, slurm):
    provider = make(status_batch_size=3)
    ids = []
    for number in range(4):
        slurm.sbatch = f"{number + 1}\n"
        ids.append(provider.submit("x", 1, f"block-{number}"))
    slurm.squeue = HEAD + "".join(line(provider, id_, "RUNNING") for id_ in ids)
    assert [status.state for status in provider.status(ids[:2])] == [JobState.RUNNING] * 2
    assert [status.state for status in provider.status(ids)] == [JobState.RUNNING] * 4
    few, many = slurm.of("squeue")
    assert "--jobs=1,2" in few
    assert not [word for word in many if word.startswith("--jobs")]
    assert {"--me", "--states=all", "--array"} <= set(few) & set(many)


def test_a_cluster_that_does_not_answer_is_no_end_of_its_jobs(make, slurm, now):
    """Asked about several, squeue leaves out those that it cannot reach, and says nothing of it."""
    provider = make(clusters="big,small")
    slurm.sbatch = "7;big\n"
    big = provider.submit("x", 1, "block-1")
    slurm.sbatch = "7;small\n"
    small = provider.submit("x", 1, "block-2")
    answers = [f"CLUSTER: {id_[2:]}\n{HEAD}{line(provider, id_, 'RUNNING', number='7')}" for id_ in (big, small)]
    slurm.squeue = "\n".join(answers)
    assert [status.state for status in provider.status([big, small])] == [JobState.RUNNING] * 2
    slurm.squeue = answers[0]
    for _ in range(3):
        now.s += 40
        there, away = provider.status([big, small])
        assert there.state == JobState.RUNNING
        assert (away.state, away.message) == (JobState.UNKNOWN, "the cluster small does not answer")
    slurm.squeue = "\n".join([answers[0], f"CLUSTER: small\n{HEAD}"])
    assert provider.status([small])[0].state == JobState.UNKNOWN
    now.s += judge.ABSENT_S
    assert provider.status([small])[0].state == JobState.COMPLETED


def test_jobs_in_hidden_partitions_are_looked_at(make):
    """Slurm lists them for those who ask for all only, whosever they are: a job whose answer is lost would be submitted twice."""

    class Hidden(FakeSlurm):
        def run(self, argv, **others):
            answer = super().run(argv, **others)
            if "sbatch" in argv:
                name = next(text for text in text_of(argv[-1]).split() if text.startswith("--job-name="))
                self.squeue = f"{HEAD}99|RUNNING|None|{name.partition('=')[2]}|(null)\n"
                return Finished(tuple(argv), 1, "", "slurm_receive_msg: Socket timed out\n")
            listed = "--all" in argv or any(word.startswith("--jobs=") for word in argv)
            return answer if listed else Finished(tuple(argv), 0, HEAD, "")

    provider = make(shell=Hidden(), status_batch_size=1)
    assert provider.submit("x", 1) == "99"
    assert state(provider, "99") == JobState.RUNNING


def test_an_old_squeue_is_asked_for_everybodys_jobs(make, slurm):
    provider = make()
    id_ = provider.submit("x", 1)

    class Old(FakeSlurm):
        def run(self, argv, **others):
            answer = super().run(argv, **others)
            return Finished(tuple(argv), 1, "", "squeue: unrecognized option '--me'\n") if "--me" in argv else answer

    provider.shell = old = Old()
    old.squeue = HEAD + line(provider, id_, "RUNNING")
    assert [state(provider, id_) for _ in range(2)] == [JobState.RUNNING] * 2
    assert ["--me" in argv for argv in old.of("squeue")] == [True, False, False]


def test_another_job_with_the_same_number_is_not_ours(make, slurm, now):
    """A controller that lost its state counts from 1 again. Requeued jobs are ours, whatever time they were submitted."""
    provider = make()
    id_ = provider.submit("x", 1)
    slurm.squeue = HEAD + line(provider, id_, "RUNNING")
    assert state(provider, id_) == JobState.RUNNING
    slurm.squeue = f"{HEAD}42|RUNNING|None|another|(null)\n"
    state(provider, id_)
    now.s += judge.ABSENT_S
    assert state(provider, id_) == JobState.COMPLETED  # it left the queue
    assert provider.cancel([id_]) == [True]
    assert slurm.of("scancel") == []


def test_the_queue_knows_none_of_them(make, slurm):
    """Slurm says so with an error."""
    provider = make()
    id_ = provider.submit("x", 1)
    slurm.squeue = Finished((), 1, "", "slurm_load_jobs error: Invalid job id specified\n")
    assert state(provider, id_) == JobState.PENDING  # not for long enough
    assert provider.resources[id_].case.absent == 1


@pytest.mark.parametrize("answer", [Finished((), 1, "", DOWN), "", "JOBID|STATE|REA", HEAD[:-1]])
def test_no_answer_is_no_end(make, slurm, now, answer):
    provider = make()
    id_ = provider.submit("x", 1)
    slurm.squeue = HEAD + line(provider, id_, "RUNNING")
    state(provider, id_)
    slurm.squeue = answer
    for _ in range(5):
        now.s += judge.ABSENT_S / 4
        assert state(provider, id_) == JobState.RUNNING
    now.s += judge.SILENCE_S
    assert state(provider, id_) == JobState.UNKNOWN
    slurm.squeue = HEAD + line(provider, id_, "RUNNING")
    assert state(provider, id_) == JobState.RUNNING


def test_an_end_stays(make, slurm):
    """Upstream calls a job that failed COMPLETED once it has left the queue."""
    provider = make()
    id_ = provider.submit("x", 1)
    slurm.squeue = HEAD + line(provider, id_, "NODE_FAIL", "NodeDown")
    (first,) = provider.status([id_])
    slurm.squeue = HEAD
    assert provider.status([id_]) == [first]
    assert first.state == JobState.FAILED
    assert first.message == "one of its nodes failed (NodeDown)"


def test_accounting_is_asked_for_what_the_queue_forgot(make, slurm):
    provider = make()
    id_ = provider.submit("x", 1)
    slurm.sacct = f"42|big|TIMEOUT|0:0|{provider.resources[id_].name}\n"
    (status,) = provider.status([id_])
    assert (status.state, status.message) == (JobState.TIMEOUT, "its walltime was over")
    assert "--jobs=42" in slurm.of("sacct")[0]


def test_accounting_may_mean_another(make, slurm):
    provider = make()
    id_ = provider.submit("x", 1)
    slurm.sacct = "42|big|FAILED|1:0|another\n"
    assert state(provider, id_) == JobState.PENDING


def test_accounting_that_there_is_not_is_asked_once(make, slurm):
    provider = make()
    id_ = provider.submit("x", 1)
    for _ in range(3):
        assert state(provider, id_) == JobState.PENDING
    assert len(slurm.of("sacct")) == 1


def test_accounting_that_is_away_is_asked_again(make, slurm):
    provider = make()
    id_ = provider.submit("x", 1)
    slurm.sacct = Finished(
        (), 1, "", "sacct: error: slurm_persist_conn_open_without_init: failed to open persistent connection\n"
    )
    for _ in range(3):
        assert state(provider, id_) == JobState.PENDING
    assert len(slurm.of("sacct")) == 3


# ------------------------------------------------------------------ clusters
def test_jobs_of_several_clusters_are_asked_for_and_cancelled_there(make, slurm):
    provider = make(clusters="big,small")
    slurm.sbatch = "7;small\n"
    small = provider.submit("x", 1, "a")
    slurm.sbatch = "7;big\n"
    big = provider.submit("x", 1, "b")
    slurm.squeue = (
        f"CLUSTER: big\n{HEAD}{line(provider, big, 'RUNNING', number=7)}\n"
        f"CLUSTER: small\n{HEAD}{line(provider, small, 'PENDING', number=7)}"
    )
    assert [status.state for status in provider.status([small, big])] == [JobState.PENDING, JobState.RUNNING]
    assert "--clusters=big,small" in slurm.of("squeue")[0]
    assert provider.cancel([small, big]) == [True, True]
    assert slurm.of("scancel") == [["scancel", "--clusters=small", "7"], ["scancel", "--clusters=big", "7"]]


def test_a_ticket_leads_back_to_the_job(make, slurm):
    provider = make(clusters="big")
    slurm.sbatch = "7;big\n"
    ticket = provider.ticket(id_ := provider.submit("x", 1, "plait.block-0"))
    assert ticket == {"system": "slurm", "job": "7;big", "name": provider.resources[id_].name, "clusters": "big"}
    other, job = recall(ticket)
    other.shell = slurm
    slurm.squeue = f"CLUSTER: big\n{HEAD}{line(provider, id_, 'RUNNING', number=7)}"
    assert state(other, job) == JobState.RUNNING
    assert other.cancel([job]) == [True]
    assert slurm.of("scancel") == [["scancel", "--clusters=big", "7"]]


# ------------------------------------------------------------------ cancelling
def test_jobs_that_are_gone_count_as_cancelled(make, slurm):
    """Versions of Slurm differ in whether they complain."""
    provider = make()
    id_ = provider.submit("x", 1)
    slurm.scancel = Finished((), 1, "", "scancel: error: Kill job error on job id 42: Invalid job id specified\n")
    assert provider.cancel([id_]) == [True]


def test_a_controller_that_is_away_cancels_nothing(make, slurm):
    provider = make()
    id_ = provider.submit("x", 1)
    slurm.scancel = Finished((), 8, "", f"scancel: error: Kill job error on job id 42: {DOWN}")
    assert provider.cancel([id_]) == [False]
    slurm.scancel = ""
    assert provider.cancel([id_]) == [True]
