"""A program runs wherever it stands, whatever the names of folders and files are."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import plait

if sys.argv[1] == "blocks":
    executor = plait.HighThroughputExecutor(max_workers_per_node=1)
else:
    executor = plait.ProcessPoolExecutor(max_workers=1)


@plait.bash_app
def greet(stdout=plait.AUTO_LOGNAME):
    return "echo hello"


@plait.python_app
def fail():
    raise ValueError("cannot read \\udcfc.txt")


with plait.load(plait.Config(executors=[executor])) as kernel:
    greeting = greet()
    greeting.result(timeout=60)
    print(open(greeting.stdout).read().strip(), type(fail().exception(timeout=60)).__name__)
"""


def _run(folder, kind):
    os.makedirs(folder)
    with open(os.path.join(folder, b"program.py"), "w") as file:
        file.write(PROGRAM)
    return subprocess.run(
        [sys.executable, "program.py", kind], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("kind", ["processes", "blocks"])
@pytest.mark.parametrize("name", ["a{b} {0} {", "it's", 'a "b', "$HOME `x`", "ä\nö", "%s%d"])
def test_names_that_mean_something_to_shells_and_templates(tmp_path, name, kind):
    ran = _run(os.fsencode(tmp_path / name), kind)
    assert ran.stdout == "hello ValueError\n", ran.stderr
    assert ran.stderr == ""


def test_a_folder_whose_name_is_not_unicode(tmp_path):
    folder = os.fsencode(tmp_path) + b"/\xfcber"
    ran = _run(folder, "processes")
    assert (ran.stdout, ran.stderr) == ("hello ValueError\n", "")
    told = subprocess.run(
        [sys.executable, "-m", "plait", "explain"], cwd=folder, capture_output=True, text=True, timeout=60, check=True
    )
    assert r"1× ValueError in fail()" in told.stdout
    assert "crashed" not in told.stdout
