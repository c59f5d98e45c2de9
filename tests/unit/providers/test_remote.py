"""What providers share that talk to a service: the submission that is never made twice, and the judgement of its answers."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import ConfigurationError, OptionalModuleMissing, SubmitException
from plait.model.jobs import JobState
from plait.providers.judge import Report
from plait.providers.remote import RemoteProvider, batches, dns_name, labels_of, module


class Refused(Exception):
    pass


class Unreachable(Exception):
    pass


class Shop(RemoteProvider):
    """A service in memory, whose `script` says what the next calls raise, and whether they were carried out."""

    SYSTEM = "shop"

    def __init__(self, **numbers):
        super().__init__(**{"nodes_per_block": 1, "init_blocks": 1, "min_blocks": 0, "max_blocks": 9, "parallelism": 1, "worker_init": "",
                            "launcher": None, "walltime_s": 3600.0, "cmd_timeout": 5, **numbers})  # fmt: skip
        self.there, self.calls, self.script = {}, [], []
        self.text, self.removed, self.now = None, [], 1000.0
        self._clock = lambda: self.now

    def wrong(self, what, error, *, carried_out=False):
        self.script.append(((what, error), carried_out))

    def _step(self, what, effect):
        self.calls.append(what)
        for entry in self.script:
            (name, error), carried_out = entry
            if name == what:
                self.script.remove(entry)
                if carried_out:
                    effect()
                raise error
        effect()

    def _begin(self, job, command):
        self._step("begin", lambda: self.there.setdefault(job.id, Report(JobState.RUNNING)))

    def _look(self, jobs):
        self._step("look", lambda: None)
        return {job.id: self.there[job.id] for job in jobs if job.id in self.there}

    def _end(self, jobs):
        self._step("end", lambda: [self.there.pop(job.id, None) for job in jobs])

    def _remove(self, jobs):
        self._step("remove", lambda: self.removed.extend(job.id for job in jobs))

    def _output(self, job):
        self._step("output", lambda: None)
        return self.text

    def _refused(self, error):
        return isinstance(error, Refused)

    def _unsent(self, error):
        return isinstance(error, Unreachable)


@pytest.fixture
def shop(tmp_path):
    shop = Shop()
    shop.script_dir = str(tmp_path / "scripts")
    return shop


def state(shop, job):
    (status,) = shop.status([job])
    return status.state


# ------------------------------------------------------------------ submission
def test_it_is_begun_once_when_all_is_well(shop):
    job = shop.submit("x", 1, "plait.3f2a1b4c.cpu.block-7")
    assert shop.calls == ["begin"]
    assert list(shop.there) == [job]
    assert state(shop, job) == JobState.RUNNING


def test_what_was_refused_is_not_asked_again(shop):
    shop.wrong("begin", Refused("no money"))
    with pytest.raises(SubmitException, match="no money"):
        shop.submit("x", 1)
    assert shop.calls == ["begin", "end"]
    assert shop.resources == {}


def test_what_never_got_there_is_an_error_at_once(shop):
    shop.wrong("begin", Unreachable("no route"))
    shop.wrong("end", Unreachable("no route"))
    with pytest.raises(SubmitException, match="no route"):
        shop.submit("x", 1)


def test_a_lost_answer_is_asked_for_again_under_the_same_name(shop):
    shop.wrong("begin", TimeoutError("slow"), carried_out=True)
    job = shop.submit("x", 1)
    assert shop.calls == ["begin", "begin"]
    assert list(shop.there) == [job]


@pytest.mark.parametrize("second", [TimeoutError("slow"), Unreachable("no route")])
def test_as_long_as_nobody_knows_it_is_kept(shop, second):
    shop.wrong("begin", TimeoutError("slow"), carried_out=True)
    shop.wrong("begin", second)
    job = shop.submit("x", 1)
    assert shop.resources[job].case.status.state == JobState.UNKNOWN
    assert state(shop, job) == JobState.RUNNING
    assert list(shop.there) == [job]


def test_a_refusal_after_a_lost_answer_ends_what_may_be_there(shop):
    shop.wrong("begin", TimeoutError("slow"), carried_out=True)
    shop.wrong("begin", Refused("no money"))
    with pytest.raises(SubmitException):
        shop.submit("x", 1)
    assert shop.there == {}


def test_a_refusal_after_a_lost_answer_does_not_forget_what_may_be_there(shop):
    """As when credentials expire in between: the first request may have begun it, and nobody could end it."""
    shop.wrong("begin", TimeoutError("slow"), carried_out=True)
    shop.wrong("begin", Refused("your credentials have expired"))
    shop.wrong("end", Refused("your credentials have expired"))
    job = shop.submit("x", 1)
    assert shop.resources[job].case.status.state == JobState.UNKNOWN
    assert "expired" in shop.resources[job].case.status.message
    assert state(shop, job) == JobState.RUNNING
    assert shop.cancel([job]) == [True]
    assert shop.there == {}


def test_what_is_half_there_and_cannot_be_ended_is_kept(shop):
    def half(job, command):
        job.made = True
        shop.there[job.id] = Report(JobState.PENDING)
        raise Refused("no secrets for you")

    shop._begin = half
    shop.wrong("end", TimeoutError("slow"))
    job = shop.submit("x", 1)
    assert state(shop, job) == JobState.UNKNOWN, "its other half is not there"
    assert shop.cancel([job]) == [True]
    assert shop.there == {}


def test_what_the_service_never_had_is_a_failed_block(shop):
    for _ in range(2):
        shop.wrong("begin", TimeoutError("slow"))
    job = shop.submit("x", 1)
    assert state(shop, job) == JobState.UNKNOWN
    shop.now += 31
    assert state(shop, job) == JobState.FAILED


# ------------------------------------------------------------------ looking
def test_one_look_for_all_and_none_for_those_that_ended(shop):
    jobs = [shop.submit("x", 1) for _ in range(3)]
    shop.there[jobs[0]] = Report(JobState.COMPLETED, None, 0)
    shop.calls.clear()
    assert [status.state for status in shop.status(jobs)] == [JobState.COMPLETED, JobState.RUNNING, JobState.RUNNING]
    assert shop.calls == ["look", "output", "remove"]
    shop.calls.clear()
    shop.status([jobs[0]])
    assert shop.calls == []


def test_an_end_stays_an_end(shop):
    job = shop.submit("x", 1)
    shop.there[job] = Report(JobState.FAILED, "it failed", 3)
    assert state(shop, job) == JobState.FAILED
    shop.there[job] = Report(JobState.RUNNING)
    assert state(shop, job) == JobState.FAILED


def test_what_cannot_be_removed_now_is_removed_later(shop):
    job, other = shop.submit("x", 1), shop.submit("x", 1)
    shop.there[job] = Report(JobState.COMPLETED)
    shop.wrong("remove", TimeoutError("slow"))
    assert state(shop, job) == JobState.COMPLETED
    assert shop.removed == []
    shop.status([other])
    assert shop.removed == [job]
    shop.close()
    assert shop.removed == [job]


def test_output_is_kept_in_a_file(shop, tmp_path):
    job = shop.submit("x", 1)
    shop.text, shop.there[job] = "it wrote this", Report(JobState.FAILED, None, 1)
    (status,) = shop.status([job])
    assert (status.stdout, status.stderr) == ("it wrote this", "it wrote this")
    assert os.path.dirname(status.stdout_path) == str(tmp_path / "scripts")


def test_an_end_without_output_is_an_end(shop, tmp_path):
    job, other = shop.submit("x", 1), shop.submit("x", 1)
    shop.there[job] = shop.there[other] = Report(JobState.FAILED, None, 1)
    shop.wrong("output", TimeoutError("slow"))
    (tmp_path / "scripts").touch()  # no folder: nothing can be written
    shop.text = "x"
    assert [status.state for status in shop.status([job, other])] == [JobState.FAILED] * 2
    assert shop.resources[other].case.status.stdout is None


def test_what_is_gone_after_its_walltime_ended_by_it(shop):
    job = shop.submit("x", 1)
    assert state(shop, job) == JobState.RUNNING
    shop.there.clear()
    shop.now += 3600
    assert state(shop, job) == JobState.RUNNING
    shop.now += 31
    assert state(shop, job) == JobState.TIMEOUT


def test_a_walltime_that_is_assigned_counts(shop):
    shop.walltime = "10m"
    job = shop.submit("x", 1)
    assert state(shop, job) == JobState.RUNNING
    shop.there.clear()
    shop.now += 600
    assert state(shop, job) == JobState.RUNNING
    shop.now += 31
    assert state(shop, job) == JobState.TIMEOUT
    shop.walltime = None
    assert shop.walltime is None
    with pytest.raises(ConfigurationError, match="walltime='soon'"):
        shop.walltime = "soon"


def test_silence_is_no_end(shop):
    job = shop.submit("x", 1)
    assert state(shop, job) == JobState.RUNNING
    shop.there.clear()
    for _ in range(5):
        shop.wrong("look", TimeoutError("slow"))
        shop.now += 59
    assert state(shop, job) == JobState.UNKNOWN
    shop.there[job] = Report(JobState.RUNNING)
    shop.script.clear()
    assert state(shop, job) == JobState.RUNNING


# ------------------------------------------------------------------ cancelling
def test_what_could_not_be_cancelled_is_not_said_to_be(shop):
    job = shop.submit("x", 1)
    shop.wrong("end", TimeoutError("slow"))
    with pytest.raises(TimeoutError):
        shop.cancel([job])
    assert state(shop, job) == JobState.RUNNING
    assert shop.cancel([job]) == [True]
    assert state(shop, job) == JobState.CANCELLED


def test_what_is_refused_for_one_does_not_keep_the_others(shop):
    jobs, done = [shop._known(name, name) for name in "abc"], []

    def end(job):
        done.append(job.id)
        if job.id == "a":
            raise Refused("not yours")

    with pytest.raises(Refused):
        shop._each(jobs, end)
    assert done == ["a", "b", "c"]


def test_without_an_answer_the_others_are_not_tried_either(shop):
    done = []

    def end(job):
        done.append(job.id)
        raise TimeoutError("slow")

    with pytest.raises(TimeoutError):
        shop._each([shop._known(name, name) for name in "abc"], end)
    assert done == ["a"]


# ------------------------------------------------------------------ names
def test_a_ticket_is_right_before_the_submission(shop):
    before = shop.ticket("", "plait.3f2a1b4c.cpu.block-7")
    job = shop.submit("x", 1, "plait.3f2a1b4c.cpu.block-7")
    assert shop.ticket(job) == before == {"system": "shop", "job": job, "name": "plait.3f2a1b4c.cpu.block-7"}
    other = Shop()
    other.there = shop.there
    assert state(other, other.adopt(before)) == JobState.RUNNING


def test_looking_at_what_another_process_began_changes_nothing(shop):
    job = shop.submit("x", 1)
    other = Shop()
    other.there = shop.there
    other.adopt(shop.ticket(job))
    shop.there[job] = Report(JobState.COMPLETED, None, 0)
    assert state(other, job) == JobState.COMPLETED
    other.close()
    assert other.removed == []
    assert "remove" not in other.calls


def test_a_ticket_of_what_was_never_begun_ends(shop):
    job = shop.adopt(shop.ticket("", "plait.3f2a1b4c.cpu.block-8"))
    assert state(shop, job) == JobState.UNKNOWN
    shop.now += 31
    assert state(shop, job) == JobState.FAILED
    assert shop.cancel([job]) == [True]


@given(st.text(max_size=200), st.integers(4, 63))
def test_names_are_letters_digits_and_hyphens(text, most):
    import re

    assert re.fullmatch(rf"[a-z][a-z0-9-]{{0,{most - 1}}}", dns_name(text, most))


@given(st.text(max_size=100), st.from_regex(r"[a-z0-9-]{1,40}", fullmatch=True))
def test_labels_are_valid(name, id_):
    import re

    for key, value in labels_of(name, id_).items():
        assert re.fullmatch(r"plait-[a-z]+", key)
        assert value == id_ or re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", value)


def test_names_of_one_provider_are_different(shop):
    assert len({shop.submit("x", 1, "same") for _ in range(5)}) == 5
    assert Shop()._next_id("same") != Shop()._next_id("same")


def test_batches():
    assert [list(part) for part in batches([1, 2, 3], 2)] == [[1, 2], [3]]


def test_a_library_that_is_not_there():
    with pytest.raises(OptionalModuleMissing, match=r"plait\[cloud\]") as info:
        module("no_such_library.part", "cloud")
    assert info.value.module_names == ["no_such_library"]
