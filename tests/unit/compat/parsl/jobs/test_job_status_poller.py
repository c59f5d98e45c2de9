from __future__ import annotations

from plait.compat import parsl
from plait.compat.parsl.config import Config
from plait.compat.parsl.executors import ThreadPoolExecutor
from plait.compat.parsl.jobs.job_status_poller import JobStatusPoller
from plait.compat.parsl.jobs.strategy import Strategy
from tests.support import wait_until
from tests.unit.compat.parsl.executors.test_status_handling import Numbers, Patient


def test_it_keeps_blocks_for_executors_without_a_kernel():
    executor = Patient(Numbers(init_blocks=2))
    executor.start()
    poller = JobStatusPoller(strategy="simple", max_idletime=60, strategy_period=0.05)
    poller.add_executors([executor])
    wait_until(lambda: len(executor.blocks_to_job_id) == 2)
    poller.poll()
    assert poller.executors == [executor]
    poller.close()
    assert executor.blocks_to_job_id == {}
    poller.close()


def test_a_strategy_of_ones_own_is_asked_by_a_thread():
    class Two(Strategy):
        def strategize(self, executors):
            for each in executors:
                each.scale_out_facade(2 - len(each.blocks_to_job_id))

    executor = Patient(Numbers(init_blocks=0))
    executor.start()
    poller = JobStatusPoller(strategy=Two(strategy=None, max_idletime=0), max_idletime=0, strategy_period=0.05)
    poller.add_executors([executor])
    wait_until(lambda: len(executor.blocks_to_job_id) == 2)
    poller.close()
    assert executor.blocks_to_job_id == {}


def test_that_of_a_run_shows_its_executors():
    executor = Patient(Numbers())
    with parsl.load(Config(executors=[executor, ThreadPoolExecutor()], initialize_logging=False)) as kernel:
        assert kernel.job_status_poller.executors == [executor]
        kernel.job_status_poller.poll()
        kernel.job_status_poller.close()
        wait_until(lambda: executor.blocks_to_job_id)
