from __future__ import annotations

import plait
from plait.cli import trial
from plait.cli.dry_run import submission
from plait.configfile import system
from plait.providers import LocalProvider, SlurmProvider, SSHProvider


def config(tmp_path, *executors):
    return plait.Config(list(executors), run_dir=str(tmp_path / "runs"), retries=3)


def test_one_block_of_each_executor_and_one_task_in_it(tmp_path):
    said = []
    provider = LocalProvider(init_blocks=0, max_blocks=5)
    trials = trial.try_out(
        config(
            tmp_path,
            plait.HighThroughputExecutor("pilot", provider=provider, max_workers_per_node=1),
            plait.ThreadPoolExecutor(),
        ),
        60,
        said.append,
    )
    assert [(each.executor, each.worked) for each in trials] == [("pilot", True), ("threads", True)]
    assert trials[0].node["python"].startswith("3.")
    assert trials[0].text in "\n".join(said)
    assert any("block 0 is running" in line for line in said)
    assert said[-1] == "Everything of the try was ended."
    assert len(provider.resources) == 1


def test_what_does_not_come_is_said(tmp_path):
    said = []
    trials = trial.try_out(
        config(tmp_path, plait.HighThroughputExecutor("pilot", provider=LocalProvider(worker_init="exec sleep 600"))),
        0.3,
        said.append,
    )
    assert not trials[0].worked
    assert "it had not run: " in trials[0].text
    assert said[-1] == "Everything of the try was ended."


def test_a_block_that_fails_is_said(tmp_path):
    trials = trial.try_out(
        config(
            tmp_path,
            plait.HighThroughputExecutor(
                "pilot", provider=LocalProvider(worker_init="echo no such module >&2; exit 3")
            ),
        ),
        60,
        print,
    )
    assert not trials[0].worked
    assert "the task failed after" in trials[0].text
    assert "no such module" in trials[0].text


def test_a_small_block_is_enough():
    provider = SlurmProvider(walltime="24:00:00", init_blocks=3, min_blocks=2, max_blocks=9, nodes_per_block=2)
    given = plait.Config([plait.HighThroughputExecutor(provider=provider, address="127.0.0.1")], retries=3)
    made = trial.one_block(given)
    assert (provider.init_blocks, provider.min_blocks, provider.max_blocks, provider.nodes_per_block) == (1, 0, 1, 2)
    assert provider.walltime_s == 600
    assert (made.strategy, made.retries, made.progress) == ("none", 0, False)
    short = SlurmProvider(walltime="00:05:00")
    trial.one_block(plait.Config([plait.HighThroughputExecutor(provider=short, address="127.0.0.1")]))
    assert short.walltime == "00:05:00"


def test_a_batch_system_behind_ssh_is_asked_for_no_more():
    provider = SSHProvider(host="login", provider=SlurmProvider(walltime="24:00:00"))
    executor = plait.HighThroughputExecutor(provider=provider, address="127.0.0.1")
    trial.one_block(plait.Config([executor]))
    assert "#SBATCH --time=10\n" in submission(executor, "runinfo").script
    assert provider.walltime == "00:10:00"


def test_what_rules_pin_is_left_as_it_is(tmp_path, monkeypatch):
    rules = tmp_path / "rules.toml"
    rules.write_text(
        "[pinned.LocalProvider]\ninit_blocks = 0\nmax_blocks = 2\n[allowed.SlurmProvider]\nwalltime = ['24:00:00']\n"
    )
    monkeypatch.setattr(system, "tried", [str(rules)])
    slurm = SlurmProvider(walltime="24:00:00")
    given = config(
        tmp_path,
        plait.HighThroughputExecutor("pilot", max_workers_per_node=1),
        plait.HighThroughputExecutor("slurm", provider=slurm, address="127.0.0.1"),
    )
    assert trial.one_block(given).strategy == "simple"
    assert (slurm.walltime, slurm.max_blocks) == ("24:00:00", 1)
    given.executors = given.executors[:1]
    given.strategy_period = 0.1
    assert trial.try_out(given, 60, print)[0].worked
