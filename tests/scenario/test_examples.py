"""The programs in examples/ run as a new user would run them, and print what they say."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys

import pytest

from tests.support import ROOT, require_command

EXAMPLES = ROOT / "examples"
TIMEOUT_S = 100

#: What each prints: a pattern for the whole of its output.
PRINTS = {
    "async_await": r"one: 49\nmany: \[0, 1, 4, 9, 16\]\nas they come: 328350\n",
    "bash_pipeline": r"exit status 0\nthe 4\ndog 2\n",
    "cancel": (
        r"found after 0\.1 s\naccepted: True\ncancelled: True and what needs it: True\n"
        r"task 2 \(use\) was cancelled because task 1 \(search\), which it needs, was cancelled\n"
    ),
    "hello": r"Hello Ada, from process \d+\nHello Grace, from process \d+\nHello Edsger, from process \d+\n",
    "join_recursion": r"sorted: True\ntasks: \d{3}\n",
    "map_reduce": r"sum of all digits of 2\*\*0 … 2\*\*999: 678228\n",
    "monte_carlo": r"π is about 3\.1\d, give or take 0\.00\d\n",
    "resources": r"at once: 2\none core: None\nrefused: .*8 cores asked, executor 'threads' has 4\n",
    "retries_and_walltime": (
        r"came with attempt 3\ndivide: ZeroDivisionError\('division by zero'\) - not worth another attempt\n"
        r"too long: AppTimeout\ntoo long: AppTimeout\n"
    ),
}


def run(name, folder):
    """Output of an example, run in a folder of its own; it must succeed and complain about nothing."""
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / f"{name}.py"],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        env={**_environment(), "PYTHONUTF8": "1"},
        timeout=TIMEOUT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def _environment():
    import os

    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@pytest.mark.slow
@pytest.mark.parametrize("name", PRINTS)
def test_example_runs_and_prints(name, tmp_path):
    out = run(name, tmp_path)
    assert re.fullmatch(PRINTS[name], out), out
    assert {path.name for path in tmp_path.iterdir()} <= {"runinfo"}


@pytest.mark.slow
def test_the_demo_finds_something_and_leaves_its_artefact_alone(tmp_path):
    require_command("gzip")
    out = run("demo", tmp_path)
    files = int(re.search(r"Reading ([\d,]+) source files", out)[1].replace(",", ""))
    total = re.search(r"^all +([\d,]+) +([\d,]+) +([\d,]+) +\d+ %   [\d,]+ lines, \w+\(\) in ", out, re.MULTILINE)
    assert int(total[1].replace(",", "")) == files > 100
    assert re.search(r"import asyncio +\d+ more modules, +[\d,]+ kB of source, in \d+ steps", out)
    assert re.search(r"^[\d,]+ tasks in [\d.]+ s\.", out, re.MULTILINE)
    assert {path.name for path in tmp_path.iterdir()} <= {"demo-calls.txt.gz", "runinfo"}
    with gzip.open(tmp_path / "demo-calls.txt.gz", "rt") as lines:
        counts = [int(line.split()[0]) for line in lines]
    assert counts == sorted(counts, reverse=True)
    assert len(counts) > 1000


def test_every_example_is_run():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*PRINTS, "demo"}
