"""What tests of the driver's side share: tasks without a kernel, an executor on the scripted interchange."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path

import plait
from plait.clock import SystemClock
from plait.executors.base import ExecutorContext
from plait.executors.htex.driver import DriverLink
from plait.executors.htex.hearing import Hooks
from plait.executors.htex.settings import InterchangeSettings
from plait.executors.pool.prepare import prepare
from plait.model.jobs import JobState, JobStatus
from plait.model.resources import Resources
from plait.model.task import LAUNCHED, AppSpec, Task
from plait.providers import LocalProvider
from plait.providers.base import ExecutionProvider
from plait.testing import tasks as bodies
from tests.support import wait_until

FAKE = [sys.executable, str(Path(__file__).with_name("fake.py"))]
SETTINGS = InterchangeSettings(
    label="htex", run_id="run", bind=["127.0.0.1"], port=None, port_range=(54000, 55000), server_public="", server_secret="",
    heartbeat_period_s=1.0, heartbeat_threshold_s=3.0, cores_per_worker=1.0, memory_per_worker=0, policy=b"", packs=False, expected=[], epoch="",
)  # fmt: skip
ECHO = AppSpec(bodies.echo, "echo")


def make_task(number, *args, spec=ECHO, attempt=1, state=LAUNCHED, **wants):
    """A task as the kernel gives it to an executor, prepared."""
    task = Task(spec, args, {}, None, 0.0, id=number, state=state, attempt=attempt, launch_s=1.0)
    if wants:
        task.more().walltime_s = wants.pop("walltime_s", None)
        task.more().resources = Resources(**wants)
    prepare(task)
    return task


class Recorder:
    """What an executor delivered and emitted."""

    def __init__(self):
        self.outcomes = []
        self.events = []
        self.context = ExecutorContext(self.deliver, self.events.append, None, SystemClock())

    def deliver(self, outcomes):
        for task, *_ in outcomes:
            task.state = 3
        self.outcomes += outcomes

    def by_number(self):
        return {outcome[0].id: outcome for outcome in self.outcomes}

    def wait(self, count, timeout_s=20.0):
        wait_until(lambda: len(self.outcomes) >= count, timeout_s)
        return self.outcomes


class Told(Hooks):
    """What a link tells."""

    def __init__(self):
        self.said = []
        self.up = threading.Event()

    def listening(self, addresses, port):
        self.said.append(("listening", addresses, port))

    def manager_up(self, manager):
        self.said.append(("up", manager.manager))
        self.up.set()

    def manager_gone(self, manager):
        self.said.append(("gone", manager.manager, manager.how))

    def broken(self, error):
        self.said.append(("broken", error))


@contextlib.contextmanager
def link(*modes, settings=SETTINGS, command=None):
    """A link to the scripted interchange: (link, recorder, what it told)."""
    recorder, told = Recorder(), Told()
    made = DriverLink(lambda: settings, [*FAKE, *modes] if command is None else command, "htex", recorder.context, told)
    try:
        yield made, recorder, told
    finally:
        made.shutdown(10.0)


def executor(*modes, **options):
    """An executor on the scripted interchange, without blocks."""
    options.setdefault("provider", LocalProvider(init_blocks=0, max_blocks=1))
    return plait.HighThroughputExecutor("htex", interchange_launch_cmd=[*FAKE, *modes], **options)


def load(made, **config):
    """A run on it."""
    settings = {"initialize_logging": False, "progress": False, "strategy": "none", **config}
    return plait.load(plait.Config(executors=[made], **settings))


def lives(what, count):
    """Lets the scripted interchange misbehave so many times."""
    for number in range(count):
        Path(f"{what}-{number}").touch()


def log():
    """The lines that the scripted interchange wrote."""
    return Path("fake.log").read_text().splitlines() if os.path.exists("fake.log") else []


def submit(made, count, first=0):
    made_tasks = [make_task(number, number) for number in range(first, first + count)]
    for task in made_tasks:
        made.submit(task)
    return made_tasks


def events(recorder, kind):
    return [event for event in recorder.events if event[0] == kind]


class Remote(ExecutionProvider):
    """Blocks that are only written down."""

    label = "remote"
    status_polling_interval = 0.01

    def __init__(self, *, state=JobState.RUNNING, **options):
        self.commands = []
        self.cancelled = []
        self.state = state
        for name, value in options.items():
            setattr(self, name, value)

    def submit(self, command, tasks_per_node, job_name="x"):
        self.commands.append(command)
        return str(len(self.commands))

    def status(self, job_ids):
        return [JobStatus(JobState.CANCELLED if job in self.cancelled else self.state, "as written") for job in job_ids]

    def cancel(self, job_ids):
        self.cancelled += job_ids
        return [True] * len(job_ids)
