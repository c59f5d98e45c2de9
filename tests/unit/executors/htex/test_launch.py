"""Keys, settings and commands of blocks."""

from __future__ import annotations

import itertools
import os
import shlex
import stat
import subprocess
import sys

import msgspec
import pytest

from plait.errors import ConfigurationError
from plait.executors.htex.launch import DEFAULT_COMMAND, BlockLaunch, check_template, make_private, write_private
from plait.executors.htex.settings import ManagerSettings

SETTINGS = ManagerSettings(
    label="htex", run_id="run", block="", addresses=["127.0.0.1", "::1"], port=54001, server_public="S", public="", secret="",
    probe_timeout_s=30.0, max_workers=2, cores_per_worker=1.0, mem_per_worker_gb=None, cpu_affinity="none", accelerators=[], prefetch=0,
    drain_after_s=None, walltime_s=None, path=["/x"], cwd="", log_dir="/logs",
)  # fmt: skip


@pytest.fixture
def allowed():
    return []


@pytest.fixture
def make(tmp_path, allowed):
    made = []

    def launch(command=DEFAULT_COMMAND, directory="blocks", *, keys=True):
        numbers = itertools.count()
        pairs = (lambda: (f"public{next(numbers)}", "SECRET")) if keys else None
        path = str(tmp_path / directory) if directory else ""
        made.append(
            BlockLaunch(SETTINGS, path, command, {"max_workers_per_node": 2}, pairs, lambda *said: allowed.append(said))
        )
        return made[-1]

    yield launch
    for each in made:
        each.close()


def test_a_block_gets_a_key_a_private_file_and_a_command(make, allowed, tmp_path):
    path = tmp_path / "blocks" / "3.json"
    command = make().command("3")
    assert command == f"{shlex.quote(sys.executable)} -m plait.executors.htex.manager {shlex.quote(str(path))}"
    settings = msgspec.json.decode(path.read_bytes(), type=ManagerSettings)
    assert (settings.block, settings.public, settings.secret, settings.port) == ("3", "public0", "SECRET", 54001)
    assert allowed == [("3", "public0")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert "SECRET" not in command


def test_a_block_elsewhere_gets_its_settings_on_standard_input(tmp_path, allowed):
    """Nothing is written here, and what the command reads is what it would have found in the file."""
    command = "cat {config}"
    launch = BlockLaunch(
        SETTINGS, str(tmp_path / "blocks"), command, {}, lambda: ("p", "it's $SECRET"), lambda *said: allowed.append(said),
        embed=True, python="python3",
    )  # fmt: skip
    ran = subprocess.run(["bash", "-c", launch.command("3")], capture_output=True, check=True)
    settings = msgspec.json.decode(ran.stdout, type=ManagerSettings)
    assert (settings.block, settings.secret, settings.port) == ("3", "it's $SECRET", 54001)
    assert os.listdir(tmp_path / "blocks") == []
    launch.ended("3")
    assert allowed == [("3", "p"), ("3", "")]


def test_a_block_elsewhere_uses_the_python_that_is_there(tmp_path):
    launch = BlockLaunch(SETTINGS, str(tmp_path), DEFAULT_COMMAND, {}, None, print, embed=True, python="/opt/my python")
    assert launch.command("3").startswith("'/opt/my python' -m plait.executors.htex.manager - <<'")


def test_each_block_has_its_own_key(make, allowed):
    launch = make()
    launch.command("0")
    launch.command("1")
    assert allowed == [("0", "public0"), ("1", "public1")]


def test_an_ended_block_leaves_nothing(make, allowed, tmp_path):
    launch = make()
    launch.command("0")
    launch.ended("0")
    launch.ended("0")
    assert allowed[1] == ("0", "")
    assert list((tmp_path / "blocks").iterdir()) == []


def test_closing_removes_the_files_that_are_left(make, tmp_path):
    launch = make()
    launch.command("0")
    launch.close()
    assert list((tmp_path / "blocks").iterdir()) == []


def test_a_file_that_goes_meanwhile_keeps_no_other(make, tmp_path, monkeypatch):
    """The socket is removed by an interchange that ends at this moment."""
    launch = make()
    launch.command("0")
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: ["interchange.sock", *real(path)])
    launch.close()
    assert real(tmp_path / "blocks") == []


def test_without_a_run_folder_the_files_are_in_a_place_of_their_own(make):
    launch = make(directory="")
    path = shlex.split(launch.command("0"))[-1]
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
    launch.close()
    assert not os.path.exists(os.path.dirname(path))


def test_without_encryption_there_are_no_keys(make, allowed, tmp_path):
    make(keys=False).command("0")
    settings = msgspec.json.decode((tmp_path / "blocks" / "0.json").read_bytes(), type=ManagerSettings)
    assert (settings.public, settings.secret) == ("", "")
    assert allowed == []


def test_a_command_of_ones_own(make):
    command = make(
        "wrap {block_id} {task_port} {addresses} {max_workers_per_node} {{x}} {debug}-- {config} {logdir}"
    ).command("7")
    assert command.startswith("wrap 7 54001 127.0.0.1,::1 2 {x} -- /")
    assert command.endswith("7.json /logs")


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("run {config} {nothing}", r"no \{nothing\}; expected some of addresses, block_id"),
        ("run", r"expected \{config\}"),
        ("run {config", "written twice"),
        ("", "expected a command line"),
        (None, "expected a command line"),
    ],
)
def test_templates_that_cannot_work(command, text):
    with pytest.raises(ConfigurationError, match=text):
        check_template(command, {})


def test_a_command_that_starts_no_manager_is_for_those_who_ask_for_it():
    check_template("sleep {block_id}", {}, must_tell=False)
    with pytest.raises(ConfigurationError, match="there is no {zork}"):
        check_template("sleep {zork}", {}, must_tell=False)


def test_a_directory_that_others_may_enter_is_refused(tmp_path):
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch(mode=0o600)
    for name in ("open", "link", "file"):
        with pytest.raises(ConfigurationError, match="mode 0700"):
            make_private(str(tmp_path / name))
    with pytest.raises(ConfigurationError, match="cannot be made"):
        make_private(str(tmp_path / "file" / "below"))
    assert make_private(str(tmp_path / "new")) == make_private(str(tmp_path / "new"))


def test_a_private_file_is_never_written_through_a_link(tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (tmp_path / "0.json").symlink_to(target)
    before = os.umask(0)
    try:
        write_private(str(tmp_path / "0.json"), b"secret")
    finally:
        os.umask(before)
    assert target.read_bytes() == b"precious"
    assert (tmp_path / "0.json").read_bytes() == b"secret"
    assert stat.S_IMODE((tmp_path / "0.json").stat().st_mode) == 0o600
