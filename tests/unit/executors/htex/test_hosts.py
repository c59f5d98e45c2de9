from __future__ import annotations

import pytest

from plait.errors import ConfigurationError
from plait.executors.htex.hosts import block_hosts, node_name


@pytest.mark.parametrize(
    ("env", "hosts"),
    [
        ({"PLAIT_NODELIST": "a,b c,a", "LSB_HOSTS": "x"}, ["a", "b", "c"]),
        ({"LSB_HOSTS": "a a b b"}, ["a", "b"]),
        ({"PLAIT_NODELIST": "10.0.0.1,fe80::1%eth0,n-1.site.org"}, ["10.0.0.1", "fe80::1%eth0", "n-1.site.org"]),
    ],
)
def test_from_the_environment(env, hosts):
    assert block_hosts(env) == hosts


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PBS_NODEFILE", "a\na\n\nb\n"),
        ("PE_HOSTFILE", "a 4 all.q@a UNDEFINED\nb 4 all.q@b UNDEFINED\n"),
        ("COBALT_NODEFILE", "a\nb\n"),
    ],
)
def test_from_a_file(tmp_path, variable, text):
    (tmp_path / "nodes").write_text(text)
    assert block_hosts({variable: str(tmp_path / "nodes")}) == ["a", "b"]


def test_from_slurm(tmp_path, monkeypatch):
    fake = tmp_path / "scontrol"
    fake.write_text(
        '#!/bin/sh\n[ "$*" = "show hostnames n[1-2]" ] || { echo "no such thing" >&2; exit 3; }\necho n1; echo n2\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert block_hosts({"SLURM_JOB_NODELIST": "n[1-2]", "PBS_NODEFILE": "/none"}) == ["n1", "n2"]
    assert block_hosts({"SLURM_NODELIST": "n[1-2]"}) == ["n1", "n2"]
    with pytest.raises(ConfigurationError, match="exit status 3.*no such thing"):
        block_hosts({"SLURM_NODELIST": "m[1-2]"})


def test_without_scontrol(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="scontrol show hostnames 'n1' failed"):
        block_hosts({"SLURM_NODELIST": "n1"})


@pytest.mark.parametrize(
    ("env", "text"),
    [
        ({}, "expected one of PLAIT_NODELIST, SLURM_JOB_NODELIST"),
        ({"PLAIT_NODELIST": " , "}, "expected one of PLAIT_NODELIST"),
        ({"PLAIT_NODELIST": "a;rm"}, "PLAIT_NODELIST in the environment: 'a;rm' is no name of a host"),
        ({"PLAIT_NODELIST": "-x"}, "'-x' is no name"),
        ({"PBS_NODEFILE": "/nonexistent/file"}, "PBS_NODEFILE='/nonexistent/file' in the environment cannot be read"),
        ({"PBS_NODEFILE": "/dev/null"}, "PBS_NODEFILE in the environment: it names no host"),
    ],
)
def test_what_cannot_be_read_is_named(env, text):
    with pytest.raises(ConfigurationError) as caught:
        block_hosts(env)
    assert text in str(caught.value)


def test_what_launchers_call_this_node():
    assert node_name({}) == ""
    assert node_name({"SLURMD_NODENAME": "n1"}) == "n1"
    assert node_name({"SLURMD_NODENAME": "n1", "PLAIT_NODE_NAME": "mine"}) == "mine"
    with pytest.raises(ConfigurationError, match="PLAIT_NODE_NAME"):
        node_name({"PLAIT_NODE_NAME": "a b"})
