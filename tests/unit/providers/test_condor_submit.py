"""Submit descriptions, read by HTCondor's own library."""

from __future__ import annotations

import importlib.util
import os
import re

from hypothesis import given
from hypothesis import strategies as st

from plait.errors import PlaitError
from plait.providers import CondorProvider
from tests.support import require
from tests.unit.providers.scripted import HOSTILE, Scripted, on_its_page, submitted

OPTIONS = {
    "cores_per_slot": 4, "mem_per_slot": 1.5, "environment": {"A": "b 'c' \"d\"", "HOME_OF": "$HOME $(X)"}, "project": 'the "$(X)\\y" project',
    "transfer_input_files": ["/data/a b", "c"], "walltime": "1h", "requirements": 'regexp("^node", Machine) && Memory > 1024',
    "scheduler_options": "+WantFlocking = true\nrank = Memory\n",
}  # fmt: skip


def bindings():
    """HTCondor's library: (htcondor2, classad2). It names a configuration file in the environment when it is imported, so that is put back."""
    before = dict(os.environ)
    try:
        import classad2
        import htcondor2
    finally:
        os.environ.clear()
        os.environ.update(before)
    return htcondor2, classad2


HAS_BINDINGS = importlib.util.find_spec("htcondor2") is not None


def described(**options):
    return submitted(CondorProvider, "7.0 - 7.0\n", **options)[2]["sub"]


def test_the_whole():
    assert (
        described(**OPTIONS)
        == """\
universe = vanilla
executable = /scripts/NAME.sh
output = /scripts/NAME.out
error = /scripts/NAME.err
log = /scripts/NAME.log
batch_name = NAME
+PlaitJob = "NAME"
notification = never
should_transfer_files = YES
when_to_transfer_output = ON_EXIT
transfer_output_files = ""
transfer_input_files = /data/a b,c
request_cpus = 4
request_memory = 1536
requirements = regexp("^node", Machine) && Memory > 1024
+ProjectName = "the \\"$(DOLLAR)(X)\\\\y\\" project"
environment = "A='b ''c'' ""d""' HOME_OF='$(DOLLAR)HOME $(DOLLAR)(X)'"
leave_in_queue = (JobStatus == 4) && ((time() - EnteredCurrentStatus) < 3600)
periodic_remove = (JobStatus == 2) && ((time() - EnteredCurrentStatus) > 3600)
+WantFlocking = true
rank = Memory
queue 1
"""
    )


def test_without_options_little_is_asked_for():
    names = [line.partition(" = ")[0] for line in described().splitlines()]
    assert not {
        "request_cpus",
        "request_memory",
        "requirements",
        "+ProjectName",
        "environment",
        "periodic_remove",
        "transfer_input_files",
    } & set(names)
    assert len(names) == 13


def test_htcondor_reads_it():
    require(HAS_BINDINGS, "the Python package htcondor")
    htcondor, classad = bindings()
    submit = htcondor.Submit(described(**OPTIONS))
    assert submit.getQArgs() == "1"
    assert submit["universe"] == "vanilla"
    assert submit.expand("request_memory") == "1536"
    assert submit.expand("transfer_input_files") == "/data/a b,c"
    assert classad.ExprTree(submit.expand("MY.ProjectName")).eval() == 'the "$(X)\\y" project'
    assert classad.ExprTree(submit.expand("MY.PlaitJob")).eval() == "NAME"
    assert environment(submit.expand("environment")) == OPTIONS["environment"]
    assert submit["MY.WantFlocking"] == "true"
    for status, since_s, stays, removed in (
        (4, 10, True, False),
        (4, 4000, False, False),
        (2, 10, False, False),
        (2, 4000, False, True),
        (3, 10, False, False),
    ):
        job = classad.ClassAd({"JobStatus": status, "EnteredCurrentStatus": int(now(classad)) - since_s})
        for name, expected in (("leave_in_queue", stays), ("periodic_remove", removed)):
            job[name] = classad.ExprTree(submit.expand(name))
            assert job.eval(name) is expected, (status, since_s, name)
    job = classad.ClassAd(
        {"Machine": "node7.example.org", "Memory": 2048, "Fits": classad.ExprTree(submit.expand("requirements"))}
    )
    assert job.eval("Fits") is True


def now(classad):
    return classad.ExprTree("time()").eval()


def environment(text):
    """Variables in the new syntax: the whole in double quotes, words apart by blanks, single quotes around them, both written twice inside."""
    inner = text[1:-1].replace('""', '"')
    words = re.findall(r"(\w+)='((?:[^']|'')*)'(?: |$)", inner)
    return {name: value.replace("''", "'") for name, value in words}


@given(
    name=st.sampled_from(["project", "requirements", "python", "environment", "variable", "transfer_input_files", "job"]),
    value=HOSTILE | st.sampled_from(["$(queue)", "@=x", "\\", 'x" queue', "x\\\nqueue 9", "''", '"']),
)  # fmt: skip
def test_no_field_adds_a_command(name, value):
    options = {
        "environment": {"environment": {"A": value}}, "variable": {"environment": {value: "A"}}, "transfer_input_files": {"transfer_input_files": [value]}, "job": {},
    }.get(name, {name: value})  # fmt: skip
    shell = Scripted("7.0 - 7.0\n")
    try:
        provider = CondorProvider(shell=shell, **options)
        provider.script_dir = "/scripts"
        provider.submit("the command", 1, value if name == "job" else "x")
    except PlaitError:
        assert shell.files == {}
        return
    lines = re.split(r"[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", shell.files["sub"])
    assert len(lines) == 14 + (name in {"environment", "variable"} or (name not in {"job", "python"} and bool(value)))
    assert not any(line.endswith("\\") for line in lines)
    assert lines[-2:] == ["queue 1", ""]
    if HAS_BINDINGS:
        read = bindings()[0].Submit(shell.files["sub"])
        assert len(read) == len(lines) - 2
        if name == "environment":
            assert environment(read.expand("environment")) == {"A": value}
        if name == "transfer_input_files":
            assert read.expand("transfer_input_files") == value


def test_its_page_shows_what_is_made():
    text, _, files = on_its_page("htcondor.md", "7.0 - 7.0\n")
    assert f"```text\n{files['sub']}```" in text
