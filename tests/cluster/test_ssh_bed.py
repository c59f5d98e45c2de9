"""The hosts of the test beds are what tests take them for."""

from __future__ import annotations

import os
import tempfile

import pytest

from tests.testbed.common import BedError


def hears(host, other):
    """Whether a host gets an answer from another."""
    return ", 0% packet loss" in host.run("ping", "-c1", "-W1", other.name, check=False)


def test_hosts_are_machines_of_their_own(ssh_bed, tmp_path):
    one, other, _ = ssh_bed.hosts
    (tmp_path / "file").touch()
    assert one.run("hostname").strip() == one.name
    assert one.run("ls", str(tmp_path.parent), check=False) == ""  # what tests write is not there
    assert len(one.run("ls", "/proc").split()) < len(os.listdir("/proc"))
    assert hears(one, other)
    assert ssh_bed.bed.run(["ssh", "-F", ssh_bed.config, other.name, "hostname"]).strip() == other.name
    assert os.path.exists(tempfile.gettempdir())


def test_cables_are_cut_and_mended(ssh_bed):
    one, other, third = ssh_bed.hosts
    for fault in (other.cut, lambda: other.drop(100)):
        fault()
        try:
            assert not hears(one, other)
            assert hears(one, third)
        finally:
            other.mend()
        ssh_bed.bed.until(lambda: hears(one, other), "the cable is mended")


def test_a_crash_ends_all_that_ran_there(ssh_bed):
    """And the host comes back empty."""
    host = ssh_bed.hosts[2]
    host.start("sleeper", ["sleep", "1000"])
    host.crash()
    ssh_bed.bed.until(lambda: not ssh_bed.bed.alive("sleeper"), "the daemon is gone")
    with pytest.raises(BedError):
        host.run("true")
    host.boot()
    ssh_bed.start_daemon(host)
    assert "sleep 1000" not in ssh_bed.processes(host)
    assert hears(ssh_bed.hosts[0], host)
