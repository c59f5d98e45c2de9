"""A site's own provider, launcher and strategy, written for Parsl's base classes, run a workload unchanged."""

from __future__ import annotations

import os
import threading

import plait.compat.parsl  # noqa: F401 - from here on `parsl` is it
from tests.support import wait_until

import parsl  # isort: skip
from parsl import python_app  # isort: skip
from parsl.config import Config  # isort: skip
from parsl.executors import HighThroughputExecutor  # isort: skip
from parsl.jobs.states import JobState, JobStatus  # isort: skip
from parsl.jobs.strategy import Strategy  # isort: skip
from parsl.launchers.base import Launcher  # isort: skip
from parsl.providers.cluster_provider import ClusterProvider  # isort: skip
from parsl.utils import RepresentationMixin  # isort: skip

TEMPLATE = """\
#!/bin/bash
#QUEUE -N ${jobname} -l walltime=${walltime}
export JOBNAME=${jobname}
${worker_init}
${user_script}
"""
STATES = {"R": JobState.RUNNING, "D": JobState.COMPLETED}


class SiteProvider(ClusterProvider, RepresentationMixin):
    """For a batch system whose `submit` is a shell in the background."""

    def __init__(self, launcher, walltime="00:10:00", worker_init="", init_blocks=1, min_blocks=0, max_blocks=1):
        super().__init__("site", 1, init_blocks, min_blocks, max_blocks, 1, walltime, launcher, cmd_timeout=30)
        self.worker_init = worker_init
        self.names = []

    def submit(self, command, tasks_per_node, job_name="parsl.site"):
        path = f"{self.script_dir}/{job_name}.{len(self.names)}.submit"
        configs = {
            "walltime": self.walltime,
            "worker_init": self.worker_init,
            "user_script": self.launcher(command, tasks_per_node, self.nodes_per_block),
        }
        self._write_submit_script(TEMPLATE, path, job_name, configs)
        code, out, err = self.execute_wait(
            f"setsid bash '{path}' >'{path}.out' 2>'{path}.err' </dev/null & echo job $!"
        )
        assert code == 0, err
        job_id = int(out.split()[1])
        self.names.append(job_name)
        self.resources[job_id] = {"job_id": job_id, "status": JobStatus(JobState.PENDING)}
        return job_id

    def _status(self):
        commands = "; ".join(
            f'case "$(ps -o stat= -p {job_id})" in ""|Z*) echo {job_id} D;; *) echo {job_id} R;; esac'
            for job_id in self.resources
        )
        _, out, _ = self.execute_wait(commands)
        for line in out.splitlines():
            job_id, state = line.split()
            self.resources[int(job_id)]["status"] = JobStatus(STATES[state])

    def cancel(self, job_ids):
        for job_id in job_ids:
            self.execute_wait(f"kill -TERM -{job_id}")
            self.resources[job_id]["status"] = JobStatus(JobState.CANCELLED)
        return [True for _ in job_ids]

    @property
    def status_polling_interval(self):
        return 0.2


class SiteLauncher(Launcher):
    """Written before launchers were told of a folder."""

    def __init__(self, mark):
        super().__init__(debug=False)
        self.mark = mark

    def __call__(self, command, tasks_per_node, nodes_per_block):
        return f"export SITE_MARK={self.mark}\n{command}"


class OneForEachTask(Strategy):
    """As many blocks as there are tasks; none without."""

    def __init__(self, **options):
        super().__init__(**options)
        self.threads = set()

    def strategize(self, executors):
        self.threads.add(threading.current_thread().name)
        for executor in executors:
            assert self.executors[executor.label]["first"]
            active = [s for s in executor.status_facade.values() if s.state in (JobState.PENDING, JobState.RUNNING)]
            wanted = min(executor.outstanding(), executor.provider.max_blocks)
            if wanted > len(active):
                executor.scale_out_facade(wanted - len(active))
            elif wanted < len(active):
                executor.scale_in_facade(len(active) - wanted, max_idletime=self.max_idletime)


@python_app
def who():
    import os

    return os.environ["SITE_MARK"], os.environ["SITE_INIT"], os.environ["PARSL_WORKER_BLOCK_ID"]


@python_app
def meet(folder, name, others):
    import os
    import threading

    open(os.path.join(folder, name), "w").close()
    while len(os.listdir(folder)) < others:
        threading.Event().wait(0.01)
    return os.environ["PARSL_WORKER_BLOCK_ID"]


def site(**options):
    provider = SiteProvider(SiteLauncher("ours"), worker_init="export SITE_INIT=done PLAIT_CORES=1", **options)
    return HighThroughputExecutor(label="site", address="127.0.0.1", provider=provider, max_workers_per_node=1)


def test_a_provider_and_a_launcher_of_a_site_run_tasks(tmp_path):
    executor = site()
    provider = executor.provider
    with parsl.load(Config(executors=[executor], run_dir=str(tmp_path), strategy_period=0.2)):
        assert {who().result(timeout=60) for _ in range(5)} == {("ours", "done", "0")}
        (script,) = [
            os.path.join(provider.script_dir, name)
            for name in os.listdir(provider.script_dir)
            if name.endswith(".submit")
        ]
        with open(script, encoding="utf-8") as file:
            assert "#QUEUE -N" in file.read()
    assert len(provider.names) == 1
    assert [job["status"].state for job in provider.resources.values()] == [JobState.CANCELLED]
    assert "SiteProvider(" in repr(provider)
    assert "walltime='00:10:00'" in repr(provider)


def test_a_strategy_of_a_site_decides_how_many_blocks_there_are(tmp_path):
    """Two tasks that wait for each other are done, because two blocks were requested; afterwards both are given back."""
    executor = site(init_blocks=0, max_blocks=2)
    strategy = OneForEachTask(strategy=None, max_idletime=0)
    with parsl.load(
        Config(executors=[executor], run_dir=str(tmp_path / "runs"), strategy=strategy, strategy_period=0.1)
    ) as kernel:
        assert kernel.job_status_poller.executors == [executor]
        (tmp_path / "met").mkdir()
        tasks = [meet(str(tmp_path / "met"), str(n), 2) for n in range(2)]
        assert len({task.result(timeout=60) for task in tasks}) == 2
        states = executor.provider.resources
        wait_until(
            lambda: all(job["status"].terminal for job in states.values()), 30, lambda: (states, executor.status_facade)
        )
        assert len(states) == 2
    assert strategy.threads == {"JobStatusPoller-Timer"}
