from __future__ import annotations

import pytest

from plait.launchers.hosts import HOSTS_FILE, some_hosts
from tests.unit.launchers.fake import Fake

LISTS = {
    "PBS_NODEFILE": "n1\nn1\nn2.site\nn2.site\nn3\n",
    "COBALT_NODEFILE": "n1\nn2.site\nn3\n",
    "LSB_DJOB_HOSTFILE": "n1\nn1\n\nn2.site\nn3\n",
    "PE_HOSTFILE": "n1 2 all.q@n1 <NULL>\nn2.site 2 all.q@n2.site UNDEFINED\nn3 1 all.q@n3 UNDEFINED\n",
}


@pytest.fixture
def job(tmp_path):
    """A job that is called for its hosts: the list, or None when there is none."""
    fake = Fake(tmp_path, "srun")

    def run(nodes, times, **environment):
        fake.environment.update(environment)
        script = f'set -eu\nplait_script={tmp_path}/script; touch "$plait_script"\n{some_hosts(nodes, times)}\n[ ! -e {HOSTS_FILE} ] || cat {HOSTS_FILE}'
        done = fake.bash(script)
        if done.returncode:
            assert list(tmp_path.glob("script*")) == []
            return done.stderr
        hosts = tmp_path / "script.hosts"
        return done.stdout.split() if hosts.exists() else None

    return run


@pytest.mark.parametrize("variable", LISTS)
def test_hosts_are_those_of_the_batch_system_each_once(job, tmp_path, variable):
    (tmp_path / "list of hosts").write_text(LISTS[variable])
    assert job(3, 1, **{variable: f"{tmp_path}/list of hosts"}) == ["n1", "n2.site", "n3"]


def test_slurm_is_asked(job, tmp_path):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text('#!/bin/sh\n[ "$*" = "show hostnames n[1-2]" ] && printf "n1\\nn2\\n"\n')
    scontrol.chmod(0o755)
    assert job(2, 1, SLURM_JOB_NODELIST="n[1-2]") == ["n1", "n2"]


def test_each_as_often_as_it_has_copies(job, tmp_path):
    (tmp_path / "list").write_text("n1\nn2\n")
    assert job(2, 3, PBS_NODEFILE=f"{tmp_path}/list") == ["n1", "n1", "n1", "n2", "n2", "n2"]


def test_a_job_may_have_more_nodes_than_are_wanted(job, tmp_path):
    (tmp_path / "list").write_text("n1\nn2\nn3\n")
    assert job(2, 1, PBS_NODEFILE=f"{tmp_path}/list") == ["n1", "n2"]


def test_a_job_with_too_few_ends_and_says_so(job, tmp_path):
    (tmp_path / "list").write_text("n1\nn1\n")
    assert job(2, 1, PBS_NODEFILE=f"{tmp_path}/list") == "plait: 2 nodes are wanted, and the job has 1\n"


def test_without_a_batch_system_there_is_no_list(job):
    assert job(2, 1) is None
