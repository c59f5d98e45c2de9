"""A batch system that is not one: what the commands of the scripted fakes share.

```
test ──rules──▶ state folder ◀── qsub, qstat, bjobs …     each a process of its own, in the words of its dialect
                     ▲
                     └── keeper                            one for each job: runs its script, writes down how it ended
```

The commands run with ``python -IS``, and import little: json, re and signal would cost more than the rest of a command together. What they print is the
business of the dialects beside this file: one for each system, written from that system's public documentation.

Rules make the commands misbehave: see `scheduler.py`, through which tests use all this.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import select
import sys
import time

#: Seconds that a job has between SIGTERM and SIGKILL when it is cancelled.
GRACE_S = 1.0
#: Seconds that a command hangs: longer than any time-out of a test.
HANG_S = 600.0
SIGKILL, SIGTERM = 9, 15


def idle(seconds):
    """Lets time pass. No test does that; here slowness is what is played."""
    select.select([], [], [], seconds)


class Machine:
    """The state of the batch system, in a folder. Use it within ``with``, which locks it."""

    def __init__(self, folder):
        self.folder = folder
        self.state = {}
        self._lock = -1

    def __enter__(self):
        self._lock = os.open(f"{self.folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        with open(f"{self.folder}/state", "rb") as file:
            self.state = marshal.load(file)
        return self

    def __exit__(self, *_):
        with open(f"{self.folder}/state.new", "wb") as file:
            marshal.dump(self.state, file)
        os.replace(f"{self.folder}/state.new", f"{self.folder}/state")
        os.close(self._lock)

    # ------------------------------------------------------------------ jobs
    @property
    def jobs(self):
        return self.state["jobs"]

    @property
    def number(self):
        """Of the next job."""
        return self.state["repeat"] or self.state["next"]

    def submit(self, name, script, out, err, limit_s, **more):
        """Takes a job; it begins to run at once unless the test said otherwise. Its number."""
        number = self.number
        self.state["repeat"] = None
        self.state["next"] = max(self.state["next"], number) + 1
        old = self.jobs.pop(str(number), None)
        if old is not None:  # ids that are given again: the old job goes on, but nobody can name it any more
            self.jobs[f"old-{number}"] = old
        self.jobs[str(number)] = {
            "number": number, "name": name, "script": script, "out": out, "err": err, "limit_s": limit_s, "folder": os.getcwd(),
            "state": "queued", "pid": 0, "keeper": 0, "code": None, "why": "", "submitted_s": time.time(), "began_s": None, "ended_s": None,
            "used_s": None, "forgotten": False, "lie": None, "stuck": False, **more,
        }  # fmt: skip
        if self.state["starts"]:
            self.start(number)
        return number

    def start(self, number):
        """Begins to run a job: a keeper takes it over."""
        job = self.jobs[str(number)]
        job["state"], job["began_s"] = "running", time.time()
        keeper = os.fork()
        if keeper == 0:
            try:
                _keep(self.folder, number, job.get("variables") or {})
            finally:
                os._exit(0)
        job["keeper"] = keeper

    def end(self, number, why):
        """Ends a job: it is cancelled, or its time is over. One that has ended stays as it is; whether it had not."""
        job = self.jobs.get(str(number))
        if job is None or job["state"] == "ended":
            return False
        if why == "cancelled" and job["stuck"] and job["stuck"] != "forced":
            job["state"] = "removed"
            return True
        if why and not job["why"]:
            job["why"] = why
        if job["keeper"] == 0:
            job.update(state="ended", ended_s=time.time(), code=None)
        elif job["pid"]:
            with open(f"{self.folder}/kill-{number}", "w", encoding="utf-8"):
                pass
            _signal(job["pid"], SIGTERM)
        return True

    def known(self, number):
        """A job as the commands see it; None when there is none, or it was forgotten."""
        job = self.jobs.get(str(number))
        return None if job is None or job["forgotten"] else job

    def listed(self):
        """All jobs that commands see."""
        return [job for key, job in self.jobs.items() if not key.startswith("old-") and not job["forgotten"]]


def used_s(job):
    """Seconds that it has run, or that the test said."""
    if job["used_s"] is not None:
        return job["used_s"]
    if job["began_s"] is None:
        return 0
    return int((job["ended_s"] or time.time()) - job["began_s"])


def clock(seconds):
    """`hours:minutes:seconds`."""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def to_json(value, indent=4, level=0):
    """A value as JSON with so many blanks for each level."""
    inner, outer = "\n" + " " * indent * (level + 1), "\n" + " " * indent * level
    if isinstance(value, dict) and value:
        pairs = (f"{to_json(name)}:{to_json(each, indent, level + 1)}" for name, each in value.items())
        return "{" + inner + f",{inner}".join(pairs) + outer + "}"
    if isinstance(value, list) and value:
        return "[" + inner + f",{inner}".join(to_json(each, indent, level + 1) for each in value) + outer + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    return (
        {True: "true", False: "false", None: "null"}[value] if value is None or isinstance(value, bool) else repr(value)
    )


# ------------------------------------------------------------------ running jobs
def _keep(folder, number, variables):
    """The keeper of a job: in a session of its own, with nothing of the command that it came from."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    os.closerange(3, 256)  # the lock among them: whoever began us holds it until our number is written down
    with Machine(folder) as machine:
        job = dict(machine.jobs[str(number)])
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            os.chdir(job["folder"])
            for fd, path in ((1, job["out"]), (2, job["err"])):
                if path:
                    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), fd)
            os.execvpe("bash", ["bash", job["script"]], {**os.environ, **variables})
        finally:
            os._exit(127)
    with Machine(folder) as machine:
        _mine(machine, number)["pid"] = pid
        early = _mine(machine, number)["why"]
    if early:
        _signal(pid, SIGTERM)
    killed_s = time.monotonic() if early else None
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        if killed_s is None and os.path.exists(f"{folder}/kill-{number}"):
            killed_s = time.monotonic()
        if killed_s is not None and time.monotonic() - killed_s > GRACE_S:
            _signal(pid, SIGKILL)
        idle(0.01)
    _signal(pid, SIGKILL)  # what the script left in its group
    with Machine(folder) as machine:
        _mine(machine, number).update(state="ended", ended_s=time.time(), code=os.waitstatus_to_exitcode(status))


def _mine(machine, number):
    """The record of a keeper's job, which may have lost its number to another."""
    for job in machine.jobs.values():
        if job["keeper"] == os.getpid():
            return job
    return machine.jobs[str(number)]


def _signal(group, number):
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass


# ------------------------------------------------------------------ commands
def directives(text, prefix):
    """The words of the directives at the head of a script, as shells split them."""
    import shlex

    words = []
    for line in text.splitlines()[1:]:
        if line.strip() and not line.startswith("#"):
            break
        if line.startswith(f"{prefix} "):
            words += shlex.split(line[len(prefix) :], comments=True)
    return words


def options(argv, valued, flags=()):
    """Options and the words behind them: ({name: [values]}, words). An option that the real command does not have ends in ValueError."""
    given, words, todo = {}, [], list(argv)
    while todo:
        word = todo.pop(0)
        name, equals, value = word.partition("=")
        if name in valued and name.startswith("--") and equals:
            given.setdefault(name, []).append(value)
        elif word in valued:
            given.setdefault(word, []).append(todo.pop(0))
        elif word in flags:
            given.setdefault(word, []).append("")
        elif word[:2] in valued and not word.startswith("--") and len(word) > 2:
            given.setdefault(word[:2], []).append(word[2:])
        elif word.startswith("-") and len(word) > 1 and not word[1:2].isdigit():
            raise ValueError(word)
        else:
            words.append(word)
    return given, words


def _rule(folder, system, kind, command, argv):
    """Writes the call down, and takes the first rule that is for it."""
    with Machine(folder) as machine:
        machine.state["calls"].append({"kind": kind, "argv": [command, *argv], "at_s": time.time()})
        for rule in machine.state["rules"]:
            if rule["times"] and rule["kind"] in {kind, "any"}:
                rule["times"] -= 1
                return rule
    return {}


def main(system, folder, command, argv):
    """A command of a system: what the rules make of it."""
    if command == "fake-control":  # the test's own
        with Machine(folder) as machine:
            getattr(machine, argv[0])(*argv[1:])
        return 0
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "dialects"))
    dialect = __import__(system)
    kind, act = dialect.command(command, argv)
    rule = _rule(folder, system, kind, command, argv)
    do = rule.get("do", "")
    idle(rule.get("slow_s", 0.0) + rule.get("slow_each_s", 0.0) * sum(not word.startswith("-") for word in argv))
    if do == "hang":
        idle(HANG_S)
    if do == "flood":
        while True:
            os.write(1, b"x" * 65536)
    out, err, code = "", rule.get("err", ""), rule.get("code", 1)
    if do not in {"fail", "say"}:
        with Machine(folder) as machine:
            if do == "forget":  # in this answer only
                kept, machine.state["jobs"] = machine.state["jobs"], {}
                out, err, code = act(machine)
                machine.state["jobs"] = kept
            else:
                said = act(machine)
                out, err, code = said if do in {"", "half", "other"} else (out, err, code)
    if do == "accept and hang":
        idle(HANG_S)
    if do == "half":
        out = out[: max(1, len(out) // 2)]
    if do in {"say", "other"}:
        out, code = rule["out"], rule.get("code", 0)
    if do == "accept and say nothing":
        out, err, code = "", "", 0
    sys.stdout.write(out)
    sys.stderr.write(err)
    sys.stdout.flush()
    return code
