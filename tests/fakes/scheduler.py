"""What tests do with a fake batch system: look at its jobs, make it misbehave, and end all that it started.

The commands are put on PATH by the fixture ``fake`` of ``tests/fakes/fixtures.py``.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.fakes.machine import Machine
from tests.support import wait_until

HERE = Path(__file__).resolve().parent

COMMANDS = {
    "pbspro": ("qsub", "qstat", "qdel", "qselect"),
    "torque": ("qsub", "qstat", "qdel", "qselect"),
    "lsf": ("bsub", "bjobs", "bkill"),
    "condor": ("condor_submit", "condor_q", "condor_history", "condor_rm"),
    "flux": ("flux",),
}

_COMMAND = """\
#!{python} -IS
import sys
sys.path.insert(0, {here!r})
from machine import main
sys.exit(main({system!r}, {folder!r}, {name!r}, sys.argv[1:]))
"""


class FakeScheduler:
    """A batch system in a folder, with its commands in ``bin`` below it."""

    def __init__(self, system, folder):
        self.system = system
        self.folder = Path(folder)
        self.bin = self.folder / "bin"
        self.bin.mkdir(parents=True)
        self._known = None
        self._again_s = 0.0
        state = {"next": 1001, "jobs": {}, "rules": [], "calls": [], "starts": True, "repeat": None}
        (self.folder / "state").write_bytes(marshal.dumps(state))
        for name in (*COMMANDS[system], "fake-control"):
            path = self.bin / name
            path.write_text(
                _COMMAND.format(
                    python=sys.executable, here=str(HERE), system=system, folder=str(self.folder), name=name
                )
            )
            path.chmod(0o755)

    # ------------------------------------------------------------------ looking
    def jobs(self):
        """All jobs that it ever took, whether their numbers are theirs any more or not."""
        return list(self._state()["jobs"].values())

    def _state(self):
        """Without the lock: the file is replaced as a whole."""
        return marshal.loads((self.folder / "state").read_bytes())

    def job(self, name=""):
        """The last job whose name has this in it."""
        return [job for job in self.jobs() if name in job["name"]][-1]

    def news(self):
        """Whether something has happened to its jobs since this was last asked, or a while has gone by: asking each time would be what takes the time."""
        jobs, now_s = self.jobs(), time.monotonic()
        if jobs == self._known and now_s < self._again_s:
            return False
        self._known, self._again_s = jobs, now_s + 0.25
        return True

    def running(self):
        """Numbers of the jobs that have not ended."""
        return [job["number"] for job in self.jobs() if job["state"] != "ended"]

    def calls(self, kind):
        """The commands of a kind (``submit``, ``status``, ``history``, ``find``, ``cancel``) that were run, as lists of words."""
        return [call["argv"] for call in self._state()["calls"] if call["kind"] == kind]

    # ------------------------------------------------------------------ jobs
    def queue(self):
        """From now on jobs wait until they are started."""
        with Machine(self.folder) as machine:
            machine.state["starts"] = False

    def start(self, number):
        """A waiting job begins to run."""
        subprocess.run([self.bin / "fake-control", "start", str(number)], check=True)

    def set(self, number, **facts):
        """Makes something true of a job: ``state="held"``, ``forgotten=True``, ``lie="Z"``, ``stuck=True`` …"""
        with Machine(self.folder) as machine:
            assert facts.keys() <= machine.jobs[str(number)].keys()
            machine.jobs[str(number)].update(facts)

    def end(self, number, why):
        """Ends a job as the system would: ``walltime``, ``administrator``, ``preempted``, ``node``."""
        with Machine(self.folder) as machine:
            machine.end(number, why)
        self.ended(number)

    def kill(self, number):
        """Its node dies: its script has no time to write anything."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(next(job["pid"] for job in self.jobs() if job["number"] == number), signal.SIGKILL)
        self.ended(number)

    def ended(self, number):
        """Waits for the end of a job."""
        wait_until(lambda: number not in self.running(), 10, self.jobs)

    def give_again(self, number):
        """The next job gets the number of an old one."""
        with Machine(self.folder) as machine:
            machine.state["repeat"] = number

    # ------------------------------------------------------------------ misbehaving
    def rule(self, kind, do="", times=1, **how):
        """The next commands of a kind, or of ``any``, misbehave.

        ``do``: ``fail`` (nothing is done; ``err``, ``code``), ``say`` (nothing is done; ``out``), ``other`` (it is done; ``out``), ``half`` of its text,
        ``flood`` (text without end), ``hang`` before or ``accept and hang`` after it is done, ``accept and fail`` (``err``, ``code``), ``accept and say nothing``, ``forget`` all jobs in
        this answer. With ``slow_s`` or ``slow_each_s`` it takes its time.
        """
        with Machine(self.folder) as machine:
            machine.state["rules"].append({"kind": kind, "do": do, "times": times, **how})

    def behave(self):
        """All rules are over."""
        with Machine(self.folder) as machine:
            machine.state["rules"] = []

    # ------------------------------------------------------------------ the end
    def close(self):
        """Ends everything that it started."""
        for job in self.jobs():
            for group in (job["pid"], job["keeper"]):
                if group:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(group, signal.SIGKILL)
