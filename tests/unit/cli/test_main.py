from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import plait
from plait.cli import main


def call(monkeypatch, *arguments):
    """The exit code of ``plait …`` in this process."""
    hook = sys.excepthook
    monkeypatch.setattr(sys, "argv", ["plait", *arguments])
    try:
        with pytest.raises(SystemExit) as caught:
            main.app_main()
    finally:
        sys.excepthook = hook
    return caught.value.code or 0


@pytest.mark.parametrize("option", [["--version"], ["-V"], ["bench", "--version"]])
def test_version(monkeypatch, capsys, option):
    assert call(monkeypatch, *option) == 0
    assert capsys.readouterr().out == f"plait {plait.__version__}\n"


@pytest.mark.parametrize("options", [["--version", "--json"], ["--json", "-V"]])
def test_version_as_data(monkeypatch, capsys, options):
    assert call(monkeypatch, *options) == 0
    assert json.loads(capsys.readouterr().out)["plait"] == plait.__version__


def test_an_interrupt_before_the_command_began_is_code_130(monkeypatch, capsys):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "_app", interrupt)
    assert call(monkeypatch, "sites") == 130
    assert "Traceback" not in capsys.readouterr().err


def test_help_names_every_command(monkeypatch, capsys):
    assert call(monkeypatch, "--help") == 0
    out = capsys.readouterr().out
    for command in ("run", "init", "check", "explain", "runs", "blocks", "doctor", "report", "bench", "simulate"):
        assert f" {command} " in out


@pytest.mark.parametrize(
    "command", ["run", "init", "check", "explain", "runs", "blocks", "doctor", "report", "bench", "simulate"]
)
def test_each_command_has_help(monkeypatch, capsys, command):
    assert call(monkeypatch, command, "--help") == 0
    assert "--" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run"],
        ["explain", "x"],
        ["explain", "--run", "7"],
        ["report", "--run-dir", "nowhere"],
        ["run", "nowhere.py"],
        ["run", "."],
        ["bench", "--resources", "__import__('os')"],
        ["bench", "--time", "-1"],
        ["init", "--site", "nowhere", "--print"],
        ["check", "nowhere.toml"],
        ["check", "--timeout", "soon"],
    ],
)
def test_wrong_input_is_code_2_without_a_traceback(monkeypatch, capsys, arguments):
    assert call(monkeypatch, *arguments) == 2
    err = capsys.readouterr().err
    assert err
    assert "Traceback" not in err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_signs_that_a_terminal_does_not_have_are_replaced(encoding):
    ran = subprocess.run(
        [sys.executable, "-m", "plait", "sites", "polaris"],
        env={"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"--set account=?" in ran.stdout


def test_output_that_cannot_be_written_is_a_failure_in_one_line():
    with open("/dev/full", "wb") as full:
        ran = subprocess.run([sys.executable, "-m", "plait", "sites"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert (ran.returncode, ran.stderr) == (1, b"plait: [Errno 28] No space left on device\n")


def test_a_version_that_cannot_be_written_is_a_failure_in_one_line():
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "plait", "--version"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)


def test_a_reader_who_has_read_enough_is_told_nothing():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        ran = subprocess.run([sys.executable, "-m", "plait", "sites"], stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert (ran.returncode, ran.stderr) == (1, b"")


def test_the_version_does_not_import_the_command_line_library():
    code = "import sys; sys.argv[1:] = ['--version']\ntry:\n import plait.cli.main as m; m.app_main()\nexcept SystemExit: pass\nassert 'typer' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
