from __future__ import annotations

import subprocess

import pytest

from plait.errors import ConfigurationError
from plait.launchers import SimpleLauncher, SingleNodeLauncher, WrappedLauncher


def bash(script):
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=False)


def test_simple_leaves_the_command_as_it_is():
    assert SimpleLauncher()("run me | tee log", 4, 1) == "run me | tee log"


def test_wrapped_puts_its_prefix_before_it():
    assert WrappedLauncher("container exec image")("run me", 1, 1) == "container exec image run me"


@pytest.mark.parametrize(
    ("launcher", "wrong"), [(WrappedLauncher, {"prepend": 5}), (SingleNodeLauncher, {"fail_on_any": "no"})]
)
def test_wrong_values_are_named(launcher, wrong):
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=rf"{launcher.__name__}\({name}="):
        launcher(**wrong)


@pytest.mark.parametrize("launcher", [SimpleLauncher(), WrappedLauncher("nice")])
def test_both_say_when_nodes_would_stay_empty(launcher, caplog):
    launcher("run", 1, 1)
    assert not caplog.records
    launcher("run", 1, 3)
    assert "first of the block's 3 nodes" in caplog.text


@pytest.mark.parametrize(("tasks", "nodes"), [(1, 1), (3, 1), (2, 2)])
def test_single_node_runs_all_copies(tasks, nodes):
    done = bash(SingleNodeLauncher(debug=False)("echo it", tasks, nodes))
    assert done.stdout == "it\n" * tasks * nodes
    assert (done.returncode, done.stderr) == (0, "")


def test_single_node_takes_any_command():
    """Quotes, several lines, a comment at the end."""
    done = bash(SingleNodeLauncher(debug=False)("x='a b'\necho \"$x\" && echo 'c'; # that is all", 1, 1))
    assert done.stdout == "a b\nc\n"


def test_copies_run_at_the_same_time(tmp_path):
    """Each waits for the other through a pipe."""
    pipe = tmp_path / "pipe"
    command = (
        f'if mkdir {tmp_path}/first 2>/dev/null; then echo hello >{pipe}; else read line <{pipe}; echo "$line"; fi'
    )
    done = bash(f"mkfifo {pipe}\n" + SingleNodeLauncher(debug=False)(command, 2, 1))
    pipe.unlink()
    assert done.stdout == "hello\n"


def some_fail(tmp_path, failing):
    """A command of which so many copies fail, with exit code 7."""
    alternatives = " || ".join(f"mkdir {tmp_path}/{n} 2>/dev/null" for n in range(failing)) or "false"
    return f"if {alternatives}; then exit 7; fi"


@pytest.mark.parametrize(
    ("failing", "on_any", "code"),
    [(0, False, 0), (0, True, 0), (1, False, 0), (1, True, 7), (3, False, 7), (3, True, 7)],
)
def test_the_job_fails_when_all_copies_fail_or_any(tmp_path, failing, on_any, code):
    done = bash(SingleNodeLauncher(debug=False, fail_on_any=on_any)(some_fail(tmp_path, failing), 3, 1))
    assert done.returncode == code
    assert (f"{failing} of 3 failed" in done.stderr) == (failing > 0)


def test_debug_says_what_is_started():
    assert "starting 2 on" in bash(SingleNodeLauncher()("true", 2, 1)).stdout
    assert "starting" not in bash(SingleNodeLauncher(debug=False)("true", 2, 1)).stdout


def test_single_node_refuses_numbers_that_are_none():
    with pytest.raises(ConfigurationError, match="SingleNodeLauncher: tasks_per_node=0"):
        SingleNodeLauncher()("true", 0, 1)
