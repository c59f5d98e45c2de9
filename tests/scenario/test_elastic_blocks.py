"""Blocks that come and go with what real tasks ask for, on this machine and through the commands of a batch system."""

from __future__ import annotations

import pytest

import plait
from plait.executors import HighThroughputExecutor
from plait.launchers import SimpleLauncher
from plait.model.jobs import JobState
from plait.monitoring.runs import read_run
from plait.monitoring.usage import usage_of
from plait.providers import LocalProvider, PBSProProvider
from plait.scaling.policy import Demand
from plait.testing import tasks
from tests.blocks import Owner
from tests.fakes.fixtures import fake_of  # noqa: F401 - a fixture
from tests.support import require_command, require_linux, wait_until


def states(executor):
    return [status.state for status in executor.block_status().values()]


def test_demand_follows_shapes_and_drains_what_is_not_needed(tmp_path):
    """Three tasks of a node each call for three blocks; when two of them have ended, two blocks go, and the third task is not touched."""
    require_linux("blocks of managers")
    executor = HighThroughputExecutor(
        "htex", LocalProvider(init_blocks=0, max_blocks=3), address="127.0.0.1", encrypted=False, max_workers_per_node=2, cores_per_worker=1
    )  # fmt: skip
    config = plait.Config(
        executors=[executor], strategy=Demand(hold_down=0.5), strategy_period=0.1, max_idletime=0.2, run_dir=str(tmp_path / "runs"), progress=False,
        max_losses=0,
    )  # fmt: skip
    hold = plait.python_app(tasks.hold)
    gates = [tmp_path / f"gate{number}" for number in range(3)]
    with plait.load(config) as kernel:
        held = [
            hold.options(cores=2)(str(tmp_path / "notes"), f"t{number}", str(gate), 60.0) for number, gate in enumerate(gates)
        ]  # fmt: skip
        wait_until(
            lambda: len(tasks.notes(str(tmp_path / "notes"))) == 3,
            30,
            executor._keeper.explain if executor._keeper else None,
        )
        wait_until(lambda: states(executor) == [JobState.RUNNING] * 3)
        wait_until(lambda: executor._load().used == dict.fromkeys("012", 1.0))  # places are looked at a moment later
        for gate in gates[:2]:
            gate.touch()
        wait_until(lambda: states(executor).count(JobState.SCALED_IN) == 2, 20, executor._keeper.explain)
        assert not held[2].done()
        gates[2].touch()
        assert [future.exception() for future in held] == [None] * 3
        run_dir = kernel.run_dir
    run = read_run(run_dir)
    whys = [event.why for event in run.blocks.decisions]
    assert any("3 tasks want 3 nodes" in why for why in whys) or sum("want" in why for why in whys) > 1
    assert any(why.startswith("gives back") and "were needed for the tasks" in why for why in whys)
    (usage,) = usage_of(run)
    assert 0 < usage.part < 1
    assert str(usage).split(" were")[0].split("of ")[1].split(" in")[0] in run.ended.sentence


@pytest.mark.parametrize("concurrent", [True, False])
def test_a_slow_submission_and_the_end_of_another_job(fake_of, concurrent):  # noqa: F811
    """Where a provider takes calls from two threads, the end of a job is seen while another is being submitted; else right after that."""
    require_command("bash")
    fake = fake_of("pbspro")
    provider = PBSProProvider(init_blocks=1, max_blocks=2, launcher=SimpleLauncher())
    provider.concurrent = concurrent
    owner = Owner(provider, strategy="none", period_s=0.1, run_id="0123abcd")
    owner.keeper.start()
    try:
        wait_until(lambda: owner.states() == {"0": JobState.RUNNING}, 20)
        owner.up("0")
        fake.rule("submit", slow_s=4.0 if concurrent else 1.0)
        owner.keeper.scale_out(1)
        wait_until(lambda: len(owner.launched) == 2, 10)
        fake.end(fake.running()[0], "administrator")
        owner.lost("0")
        wait_until(lambda: owner.gone == ["0"], 20)
        assert owner.keeper._submitter.under_way == ({"1"} if concurrent else set())
        wait_until(lambda: len(fake.running()) == 1, 20)
    finally:
        owner.keeper.shutdown(10.0)
    wait_until(lambda: fake.running() == [], 10)
