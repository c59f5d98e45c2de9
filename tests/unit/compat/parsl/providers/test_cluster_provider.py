from __future__ import annotations

import stat
import subprocess

import pytest

import plait.providers.cluster
from plait.compat.parsl.launchers import SingleNodeLauncher
from plait.compat.parsl.launchers.errors import BadLauncher
from plait.compat.parsl.providers.cluster_provider import ClusterProvider
from plait.compat.parsl.providers.errors import SchedulerMissingArgs, ScriptPathError


class Mine(ClusterProvider):
    status_polling_interval = 1

    def __init__(self, launcher=None, **options):
        options = {
            "init_blocks": 1,
            "min_blocks": 0,
            "max_blocks": 1,
            "parallelism": 1,
            "walltime": "00:10:00",
            **options,
        }
        super().__init__("mine", 1, launcher=launcher or SingleNodeLauncher(), **options)
        self.asked = 0

    def submit(self, command, tasks_per_node, job_name="x"):
        return None

    def cancel(self, job_ids):
        return []

    def _status(self):
        self.asked += 1


def test_it_needs_its_four_methods():
    with pytest.raises(TypeError, match="_status.*cancel.*status_polling_interval.*submit"):
        ClusterProvider("x", 1, 1, 0, 1, 1, "1", SingleNodeLauncher())


def test_what_it_keeps():
    provider = Mine(walltime="01:00:00", cmd_timeout=3, max_blocks=4)
    assert (provider.label, provider.walltime, provider.cmd_timeout, provider.max_blocks) == ("mine", "01:00:00", 3, 4)
    assert (provider.resources, provider.script_dir, provider.cores_per_node) == ({}, None, None)


@pytest.mark.parametrize("launcher", ["srun", SingleNodeLauncher])
def test_a_launcher_is_one(launcher):
    with pytest.raises(BadLauncher):
        Mine(launcher)


def test_commands_have_an_end():
    assert Mine().execute_wait("echo a; echo b >&2; exit 3") == (3, "a\n", "b\n")
    for provider, limit in ((Mine(cmd_timeout=0.1), None), (Mine(), 0.1)):
        with pytest.raises(subprocess.TimeoutExpired):
            provider.execute_wait("sleep 60", limit)


def test_scripts_are_private_and_filled_in(tmp_path):
    path = tmp_path / "script"
    Mine()._write_submit_script("#X -N ${jobname} -t $time $$HOME\n", str(path), "block-1", {"time": 3, "more": 1})
    assert path.read_text() == "#X -N block-1 -t 3 $HOME\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(SchedulerMissingArgs, match="queue.*mine"):
        Mine()._write_submit_script("${queue}", str(tmp_path / "script"), "x", {})
    with pytest.raises(ScriptPathError, match="no/script"):
        Mine()._write_submit_script("", str(tmp_path / "no" / "script"), "x", {})


def test_the_system_is_asked_once_for_all_jobs():
    provider = Mine()
    assert provider.status([]) == []
    provider.resources = {1: {"status": "one"}, "2": {"status": "two"}}
    assert provider.status(["2", 1]) == ["two", "one"]
    assert provider.asked == 1


def test_a_launcher_of_three_parameters():
    class Old(SingleNodeLauncher):
        def __call__(self, command, tasks_per_node, nodes_per_block):
            return f"old {command}"

    assert Mine(Old()).launcher("x", 1, 1, "folder") == "old x"


def test_more_blocks_at_the_start_than_there_may_be():
    with pytest.warns(UserWarning, match="max_blocks=3"):
        assert Mine(init_blocks=3).max_blocks == 3


def test_plaits_own_are_such_providers_too():
    assert issubclass(plait.providers.cluster.ClusterProvider, ClusterProvider)
