"""No value adds a line to a script (S14)."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import ConfigurationError
from plait.providers import script as s
from plait.providers.script import Script


def test_the_whole():
    script = Script("#SBATCH")
    script.option("--job-name", "plait.block-1")
    script.option("--exclusive")
    script.option("--nodes", 2)
    script.option("-t", 1.5)
    script.raw("#SBATCH --x\n#SBATCH --y\n")
    script.export("OMP_NUM_THREADS", 4)
    script.export("TEXT", "it's")
    script.line("echo hi\n")
    script.raw("#SBATCH --late")
    assert script.text().splitlines() == [
        "#!/bin/bash",
        "#SBATCH --job-name=plait.block-1",
        "#SBATCH --exclusive",
        "#SBATCH --nodes=2",
        "#SBATCH -t 1.5",
        "#SBATCH --x",
        "#SBATCH --y",
        "#SBATCH --late",
        "export OMP_NUM_THREADS=4",
        """export TEXT='it'"'"'s'""",
        "echo hi",
    ]
    assert script.text().endswith("\n")


@given(st.text())
def test_a_value_stays_on_its_line_or_is_refused(value):
    script = Script("#SBATCH")
    try:
        script.option("--account", value)
        script.export("VALUE", value)
    except ConfigurationError:
        return
    lines = script.text().splitlines()
    assert len(lines) == 3
    assert lines[1] == f"#SBATCH --account={value}"
    ran = subprocess.run(["bash", "-c", f'{lines[2]}; printf %s "$VALUE"'], capture_output=True, check=True)
    assert ran.stdout.decode() == value


@pytest.mark.parametrize(
    "value", ["a\n#SBATCH --account=b", "", " a", "a ", "a\x85b", "a\u2028b", "a\0", True, float("nan"), None]
)
def test_what_is_no_text_on_one_line(value):
    with pytest.raises(ConfigurationError, match="expected a text"):
        s.checked_text("P", "account", value)


@pytest.mark.parametrize("value", [True, float("nan"), float("inf")])
def test_what_is_no_number(value):
    with pytest.raises(ConfigurationError):
        Script("#X").option("--nodes", value)


@pytest.mark.parametrize("name", ["A B", "A=1", "", "1A", "SLURM_JOB_ID", "LD_PRELOAD", "PBS_NODEFILE", "A\nB"])
def test_variables_that_are_somebody_elses(name):
    with pytest.raises(ConfigurationError, match="expected a name"):
        Script("#X").export(name, "x")


@pytest.mark.parametrize("value", ["-o", "a b", "a'b", "a;b", "$(a)", "a\nb"])
def test_words(value):
    with pytest.raises(ConfigurationError, match=r"P\(queue="):
        s.checked_word("P", "queue", value)
    assert s.checked_word("P", "queue", "normal,long@host-1") == "normal,long@host-1"
    assert s.checked_word("P", "queue", None) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("00:10:00", 600), ("90m", 5400), (600, 600), ("1-00:00:00", 86400), ("100:00:00", 360000), (0.5, 1)],
)
def test_walltimes(value, seconds):
    assert s.walltime_s("P", value) == seconds


@pytest.mark.parametrize("value", ["", "soon", 0, -1, float("inf"), "00:00:00", None])
def test_no_walltimes(value):
    with pytest.raises(ConfigurationError, match=r"P\(walltime="):
        s.walltime_s("P", value)


def test_clock():
    assert [s.clock(seconds) for seconds in (1, 600, 3661, 360000)] == ["00:00:01", "00:10:00", "01:01:01", "100:00:00"]


def test_numbers_and_truths():
    assert s.checked_whole("P", "n", None) is None
    assert s.checked_whole("P", "n", 2) == 2
    assert s.checked_seconds("P", "cmd_timeout", 2) == 2
    assert s.checked_yes("P", "exclusive", False) is False
    assert s.checked_lines("P", "worker_init", "a\nb") == "a\nb"
    for check, value in (
        (s.checked_whole, 0), (s.checked_whole, 1.5), (s.checked_whole, True), (s.checked_seconds, 0), (s.checked_seconds, "1"),
        (s.checked_seconds, float("inf")), (s.checked_yes, 1), (s.checked_lines, 1), (s.checked_lines, "\0"),
    ):  # fmt: skip
        with pytest.raises(ConfigurationError, match=r"P\(name="):
            check("P", "name", value)


@given(st.text(max_size=100), st.integers(8, 64))
def test_names_of_jobs_are_names_everywhere(text, most):
    name = s.job_name(text, most)
    assert s.is_job_name(name)
    assert len(name) <= most
    assert s.job_name(name, most) == name


def test_of_a_long_name_both_ends_stay():
    assert s.job_name("plait.0123abcd.htex.block-17.abcdef", 15) == "plait.01.abcdef"
    assert s.job_name("7 days", 64) == "p7_days"
