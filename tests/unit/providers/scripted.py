"""A shell whose commands answer as a test says, and providers whose scripts can be compared."""

from __future__ import annotations

import re
import time

from hypothesis import strategies as st

from plait.launchers import SimpleLauncher
from plait.model.jobs import JobState, JobStatus
from plait.providers import judge
from plait.providers.cluster import Job
from plait.providers.shell import CommandFailed, Finished, LocalShell
from tests.support import ROOT


class Scripted(LocalShell):
    """What was run is in ``ran``, what was written in ``files``; answers are texts, exceptions, or (out, err, code)."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.ran = []
        self.stdin = []
        self.files = {}

    def run(self, argv, *, timeout_s, stdin="", env=None, max_bytes=0):
        self.ran.append(list(argv))
        self.stdin.append(stdin)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        out, err, code = answer if isinstance(answer, tuple) else (answer, "", 0)
        return Finished(tuple(argv), code, out, err)

    def write(self, path, text, *, executable=False):
        self.files[path.rpartition(".")[2]] = text

    def read(self, path, max_bytes=0):
        return self.files.get(path.rpartition(".")[2])

    def make_folder(self, path):
        pass


def submitted(kind, answer, **options):
    """What a provider does for one job: (id, its words, its files), with what is different each time replaced by ``NAME``."""
    shell = Scripted(answer)
    provider = kind(shell=shell, **{"launcher": SimpleLauncher(), **options})
    provider.script_dir = "/scripts"
    job = provider.submit("the command", 2, "plait.1a2b3c4d.cpu.block-0")
    name = provider.resources[job].name
    files = {ending: plain(text, name) for ending, text in shell.files.items()}
    return job, [plain(word, name) for word in shell.ran[0]], files


def plain(text, name):
    return re.sub(r"NAME\.\d+-0", "NAME", text.replace(name, "NAME"))


def job(id_, name="n"):
    """A job that runs."""
    now_s = time.monotonic()
    return Job(
        id_,
        name,
        f"/scripts/{name}",
        f"/scripts/{name}",
        judge.Case(JobStatus(JobState.RUNNING), now_s, 600.0, heard_s=now_s),
    )


def down(code=1):
    """A command that failed."""
    return CommandFailed(["x"], code, "", "the server is down", "exit code 1")


#: The lines of a script that every system has.
BODY = """\
plait_ec=/scripts/NAME.ec
rm -f "$plait_ec"
trap 'plait_status=$?; echo "$plait_status" > "$plait_ec.new"; mv -f "$plait_ec.new" "$plait_ec"; exit "$plait_status"' EXIT
export JOBNAME=NAME
"""

#: Texts that somebody might hope to get a line, a directive or a command into a script with.
HOSTILE = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["x\n#PBS -A other", "x\r#BSUB -P other", "x\x0b#flux: -N9", "x\x85queue 9", "x\u2028queue 9", "a b", "-q", "$(id)", "`id`", "a'b", 'a"b', "x\\", ";id", "#x", ""]),
)  # fmt: skip


def directives(text, prefix):
    """Directives of a script as a batch system that splits lines in the widest sense would see them."""
    return [
        line for line in re.split(r"[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", text) if line.lstrip().startswith(prefix)
    ]


def on_its_page(page, answer):
    """The provider in the configuration of a page of docs/systems, and what it makes: (text of the page, words, files), alike as far as they agree."""
    text = (ROOT / "docs" / "systems" / page).read_text(encoding="utf-8")
    names = {}
    exec(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[0], names)
    (executor,) = names["config"].executors
    provider = executor.provider
    shell = provider.shell = Scripted(answer)
    provider.script_dir = "/scripts"
    id_ = provider.submit("the command", 1, "plait.1a2b3c4d.cpu.block-0")
    name = provider.resources[id_].name
    text = re.sub(r"/home/you/\S*/|(?<=[ =])…", "/scripts/", text)
    text = (
        text.replace("/scripts/.", "/scripts/NAME.")
        .replace("plait.1a2b3c4d.cpu.block-0.5e6f70", "NAME")
        .replace("NAME.1234-0", "NAME")
    )
    return (
        text,
        [plain(word, name) for word in shell.ran[0]],
        {ending: plain(text, name) for ending, text in shell.files.items()},
    )
