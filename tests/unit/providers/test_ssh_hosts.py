"""Blocks on hosts that are this machine, and which break off when a test says so."""

from __future__ import annotations

import errno

import pytest

from plait.errors import SubmitException
from plait.launchers import SimpleLauncher
from plait.model.jobs import JobState
from plait.providers.shell import CommandFailed
from plait.providers.ssh_hosts import HostList, Place, judge
from plait.providers.ssh_jobs import Look
from tests.support import require_linux, wait_until
from tests.unit.providers.near import Near

NOW = 1000.0


def place(host="a", how=None, code=None, *, over=False, why="", heard_s=NOW):
    return Place(host, f"/there/{host}", heard_s, None if how is None else Look(how, code), over, why)


# ------------------------------------------------------------------ how a job is
@pytest.mark.parametrize(
    ("places", "state", "message"),
    [
        ([place()], JobState.PENDING, None),
        ([place(how="starting")], JobState.RUNNING, None),
        ([place(how="runs")], JobState.RUNNING, None),
        ([place(how="runs"), place("b", "ended", 0, over=True)], JobState.RUNNING, None),
        ([place(how="runs", why="gone")], JobState.RUNNING, "a does not answer: gone"),
        ([place(how="runs"), place("b", "runs", why="gone", heard_s=0)], JobState.RUNNING, "b does not answer: gone"),
        ([place(how="runs", why="gone", heard_s=NOW - 59)], JobState.RUNNING, "a does not answer: gone"),
        ([place(how="runs", why="gone", heard_s=NOW - 61)], JobState.UNKNOWN, "a does not answer: gone"),
        ([place(how="ended", code=0, over=True)], JobState.COMPLETED, None),
        ([place(how="ended", code=0, over=True), place("b", "ended", 3, over=True)], JobState.FAILED, "its script ended with exit code 3 on b"),
        ([place(how="killed", over=True)], JobState.FAILED, "its script was killed on a"),
        ([place(how="absent", over=True)], JobState.FAILED, "it was not begun on a"),
    ],
)  # fmt: skip
def test_judgement(places, state, message):
    report = judge(places, cancelled=False, adopted=False, now_s=NOW)
    assert (report.state, report.message) == (state, message)


def test_what_was_cancelled_is_cancelled_however_it_ended():
    for how in ("ended", "killed", "absent"):
        report = judge([place(how=how, code=143, over=True)], cancelled=True, adopted=False, now_s=NOW)
        assert report.state == JobState.CANCELLED


def test_a_job_that_was_adopted_is_on_some_of_the_hosts():
    both = [place(how="absent", over=True), place("b", "ended", 2, over=True)]
    assert judge(both, cancelled=False, adopted=True, now_s=NOW).exit_code == 2
    assert judge(both[:1], cancelled=False, adopted=True, now_s=NOW).state == JobState.COMPLETED


# ------------------------------------------------------------------ on hosts
@pytest.fixture
def make(tmp_path):
    require_linux("jobs are found in /proc")
    made = []

    def make(*hosts, nodes=1):
        provider = HostList(
            [Near(host) for host in hosts], nodes_per_block=nodes, launcher=SimpleLauncher(), worker_init="", cmd_timeout=10, shares_files=False,
            folder=str(tmp_path / "there"),
        )  # fmt: skip
        provider.script_dir = str(tmp_path / "here")
        made.append(provider)
        return provider

    yield make
    for provider in made:
        for shell in provider.shells.values():
            shell.connection.broken, shell.connection.loses = "", 0
        assert all(provider.cancel(list(provider.resources)))


def near(provider, host):
    return provider.shells[host].connection


def test_a_block_takes_free_hosts_and_gives_them_back(make):
    provider = make("a", "b", "c", nodes=2)
    job = provider.submit("exit 3", 1, "x")
    with pytest.raises(SubmitException, match="2 of 3 hosts are wanted, 1 can be had"):
        provider.submit("true", 1, "x")
    wait_until(lambda: provider.status([job])[0].terminal)
    (status,) = provider.status([job])
    assert (status.state, status.exit_code) == (JobState.FAILED, 3)
    provider.submit("true", 1, "x")


def test_names_of_jobs_to_come_do_not_depend_on_others(make):
    """They are written down for several jobs before the first of these is begun, so that they are found when the driver is killed meanwhile."""
    provider = make("a", "b")
    names = [provider.final_name(f"block-{number}") for number in range(2)]
    assert [provider.submit("true", 1, f"block-{number}") for number in range(2)] == names
    assert provider.final_name("block-0") not in names


def test_what_was_begun_for_too_small_a_block_is_ended(make, tmp_path):
    provider = make("a", "b", nodes=2)
    near(provider, "b").broken = "Connection refused"
    with pytest.raises(SubmitException, match="b: Connection refused"):
        provider.submit("sleep 600", 1, "x")
    assert provider.resources == {}  # and the check for leaks finds no process


def test_what_cannot_be_ended_then_is_ended_later_and_its_host_is_not_free(make, monkeypatch):
    provider = make("a", "b", nodes=2)
    end = provider._end
    monkeypatch.setattr(provider, "_end", lost)
    near(provider, "b").broken = "Connection refused"
    with pytest.raises(SubmitException, match="b: Connection refused"):
        provider.submit("sleep 600", 1, "x")
    assert provider._free() == ["b"]
    monkeypatch.setattr(provider, "_end", end)
    provider.status([])
    assert sorted(provider._free()) == ["a", "b"]  # and the check for leaks finds no process


def test_no_file_for_a_connection_forgets_nothing_that_has_begun(make, monkeypatch):
    def run(command, **options):
        raise OSError(errno.EMFILE, "Too many open files")

    provider = make("a", "b", nodes=2)
    monkeypatch.setattr(near(provider, "b"), "run", run)
    with pytest.raises(SubmitException, match="b: .*Too many open files"):
        provider.submit("sleep 600", 1, "x")  # and the check for leaks finds no process
    assert sorted(provider._free()) == ["a", "b"]


def lost(shell, mine):
    raise CommandFailed(("ssh",), None, "", "", "the connection broke")


def test_a_host_that_made_trouble_comes_last(make):
    provider = make("a", "b")
    near(provider, "a").broken = "Connection refused"
    first = provider.submit("true", 1, "x")
    near(provider, "a").broken = ""
    wait_until(lambda: provider.status([first])[0].terminal)
    again = provider.submit("true", 1, "x")
    assert [provider.resources[job].places[0].host for job in (first, again)] == ["b", "b"]


def test_a_start_whose_answer_is_lost_is_found_by_the_next_look(make):
    provider = make("a")
    provider.shells["a"].folder("/x")
    near(provider, "a").loses = 1
    job = provider.submit("sleep 600", 1, "x")
    (status,) = provider.status([job])
    assert status.state == JobState.RUNNING


def test_a_host_that_is_cut_off_keeps_its_job(make):
    provider = make("a")
    job = provider.submit("sleep 600", 1, "x")
    provider.status([job])
    near(provider, "a").broken = "Connection timed out"
    (status,) = provider.status([job])
    assert (status.state, status.message) == (JobState.RUNNING, "a does not answer: Connection timed out")
    assert provider.cancel([job]) == [False]
    provider.resources[job].places[0].heard_s -= 61
    assert provider.status([job])[0].state == JobState.UNKNOWN
    near(provider, "a").broken = ""
    assert provider.cancel([job]) == [True]
    assert provider.status([job])[0].state == JobState.CANCELLED


def test_one_command_looks_at_all_jobs_of_a_host_and_all_hosts_are_asked(make):
    provider = make("a", "b")
    jobs = [provider.submit("sleep 600", 1, "x") for _ in range(2)]
    before = [len(near(provider, host).lines) for host in "ab"]
    assert [status.state for status in provider.status(jobs)] == [JobState.RUNNING] * 2
    assert [len(near(provider, host).lines) for host in "ab"] == [count + 1 for count in before]


def test_output_of_several_hosts_is_brought_and_nothing_stays(make, tmp_path):
    provider = make("a", "me@b.example", nodes=2)
    job = provider.submit("echo out; echo err >&2", 1, "x")
    wait_until(lambda: provider.status([job])[0].terminal)
    (status,) = provider.status([job])
    assert status.stdout == "==> a <==\nout\n==> me@b.example <==\nout\n"
    assert "err" in status.stderr
    assert not any((tmp_path / "there").iterdir())


def test_the_way_back_is_the_same_port_everywhere(make):
    provider = make("a", "b", "c")
    near(provider, "a").broken = "Connection refused"
    there = provider.way_back("127.0.0.1", 54000)
    assert near(provider, "b").forwards == [("127.0.0.1", 54000, there)]
    near(provider, "a").broken = ""
    near(provider, "a").refuses.add(there)
    jobs = [provider.submit("true", 1, "x") for _ in range(2)]
    assert {provider.resources[job].places[0].host for job in jobs} == {"b", "c"}  # the first does not lend it
    assert near(provider, "c").forwards == [("127.0.0.1", 54000, there)]
