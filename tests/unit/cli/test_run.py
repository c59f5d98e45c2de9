"""The command as a whole is tested in subprocesses (tests/scenario/test_cli.py): it becomes the script's process."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest

from plait.cli import run
from plait.cli.run import Plan
from plait.errors import ConfigurationError
from plait.kernel import lifecycle
from plait.kernel.loader import DataFlowKernelLoader


@pytest.fixture(autouse=True)
def _restore(monkeypatch):
    """What becoming a script's process changes."""
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    monkeypatch.setattr(lifecycle, "before_start", [])
    monkeypatch.setattr(run, "EXCEPTHOOK", sys.excepthook)


def script(folder, text, name="s.py"):
    path = folder / name
    path.write_text(text)
    return str(path)


def test_the_script_is_main_with_its_own_arguments_and_path(tmp_path, capsys):
    path = script(
        tmp_path,
        "import sys\nprint(__name__, sys.argv[1:], sys.path[0], __file__, sys.modules['__main__'].__dict__ is globals())",
    )
    run.run_script(Plan(path, ("a", "--b")))
    assert capsys.readouterr().out == f"__main__ ['a', '--b'] {tmp_path} {path} True\n"


def test_a_folder_with_a_main(tmp_path, capsys):
    script(tmp_path, "import helper; print(helper.x)", "__main__.py")
    script(tmp_path, "x = 5", "helper.py")
    run.run_script(Plan(str(tmp_path)))
    del sys.modules["helper"]
    assert capsys.readouterr().out == "5\n"


@pytest.mark.parametrize(
    ("text", "code"), [("import sys; sys.exit(7)", 7), ("raise SystemExit('no')", "no"), ("1/0", 1), ("def f(:", 1)]
)
def test_how_it_ends(tmp_path, capsys, text, code):
    with pytest.raises(SystemExit) as caught:
        run.run_script(Plan(script(tmp_path, text)))
    assert caught.value.code == code
    assert "plait/cli" not in capsys.readouterr().err


def test_a_program_for_parsl_is_told_how_it_runs(tmp_path, capsys):
    path = script(tmp_path, "raise ModuleNotFoundError('no parsl', name='parsl')")
    with pytest.raises(SystemExit):
        run.run_script(Plan(path))
    assert f"`plait run --as-parsl {path}`" in capsys.readouterr().err


def test_an_option_that_is_none_is_not_taken_for_a_file():
    with pytest.raises(ConfigurationError, match=r"run --repot: there is no such option"):
        run.run_script(Plan("--repot", ("x.html", "s.py")))


def test_what_is_not_there(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        run.run_script(Plan("nowhere.py"))
    path = script(tmp_path, "print('ran')")
    with pytest.raises(ConfigurationError, match="--report nowhere"):
        run.run_script(Plan(path, report="nowhere/r.html"))


@pytest.mark.parametrize(
    ("plan", "before", "after"),
    [
        (Plan("s"), None, True),
        (Plan("s"), False, False),
        (Plan("s", progress=False), True, False),
        (Plan("s", progress=True), False, True),
    ],
)
def test_the_command_line_is_heard_before_the_configuration(plan, before, after):
    kernels = []
    run._follow_kernels(plan, kernels)
    given = SimpleNamespace(progress=before, run_dir="runinfo")
    kernel = SimpleNamespace(config=given)
    (prepare,) = lifecycle.before_start
    prepare(kernel)
    assert kernel.config.progress is after
    assert kernel.config.run_dir == "runinfo"
    assert given.progress is before  # the user's object is not changed
    assert kernels == [kernel]


def test_run_dir():
    run._follow_kernels(Plan("s", run_dir="elsewhere"), [])
    kernel = SimpleNamespace(config=SimpleNamespace(progress=None, run_dir="runinfo"))
    lifecycle.before_start[0](kernel)
    assert kernel.config.run_dir == "elsewhere"


@pytest.mark.parametrize(
    ("kernels", "says"),
    [
        ([], "loaded no kernel"),
        ([SimpleNamespace(config=SimpleNamespace(initialize_logging=False))], "keeps no journal"),
    ],
)
def test_no_report_is_said(kernels, says, capsys):
    run._write_report(kernels, "r.html", os.getpid())
    assert says in capsys.readouterr().err


def test_a_process_that_the_script_forked_writes_no_report(capsys):
    run._write_report([], "r.html", os.getpid() + 1)
    assert capsys.readouterr().err == ""


FILE = (
    "progress = false\ninitialize_logging = false\n[[executors]]\ntype = 'ThreadPoolExecutor'\nlabel = 'from a file'\n"
)
SHOW = "import os, plait\nwith plait.load(*ARGS) as kernel: print([e.label for e in kernel.config.executors])"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with a configuration file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(DataFlowKernelLoader, "default", None)
    monkeypatch.setattr(DataFlowKernelLoader, "only_default", "")
    (tmp_path / "plait.toml").write_text(FILE)
    return tmp_path


def test_the_file_of_the_folder_is_used_and_announced(here, capsys):
    """Also by a script that goes elsewhere before it loads."""
    run.run_script(Plan(script(here, SHOW.replace("*ARGS", "").replace("\n", "\nos.chdir('/')\n", 1))))
    done = capsys.readouterr()
    assert done.out == "['from a file']\n"
    assert f"plait: configuration from {here}/plait.toml (--no-config leaves it out)\n" in done.err


def test_the_file_of_the_folder_is_left_out(here, capsys):
    own = "plait.Config([plait.ThreadPoolExecutor()], progress=False, initialize_logging=False)"
    run.run_script(Plan(script(here, SHOW.replace("*ARGS", own))))
    assert "configuration from" not in capsys.readouterr().err  # the script has one of its own
    run.run_script(Plan(script(here, "print(1)"), use_file=False))
    assert DataFlowKernelLoader.default is not None  # from before
    DataFlowKernelLoader.default = None
    run.run_script(Plan(script(here, "print(1)"), use_file=False))
    assert DataFlowKernelLoader.default is None
    (here / "plait.toml").chmod(0o666)
    capsys.readouterr()
    run.run_script(Plan(script(here, "print(1)")))
    assert DataFlowKernelLoader.default is None
    assert "plait.toml of this folder is not used: others may write it" in capsys.readouterr().err


def test_a_file_that_was_named_must_be_used(here, capsys):
    (here / "other.toml").write_text(FILE.replace("from a file", "other"))
    run.run_script(Plan(script(here, SHOW.replace("*ARGS", "")), config="other.toml"))
    assert capsys.readouterr().out == "['other']\n"
    with pytest.raises(SystemExit):
        run.run_script(Plan(script(here, SHOW.replace("*ARGS", "plait.Config()")), config="other.toml"))
    assert "--config other.toml: the script loads a configuration of its own" in capsys.readouterr().err


def test_a_file_that_is_wrong_is_said_before_the_script_begins(here, capsys):
    (here / "wrong.toml").write_text("retires = 1")
    for name, message in (("wrong.toml", "did you mean retries"), ("none.toml", "there is no such file")):
        with pytest.raises(ConfigurationError, match=message):
            run.run_script(Plan(script(here, "print('it ran')"), config=name))
    assert capsys.readouterr().out == ""
