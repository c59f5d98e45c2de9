from __future__ import annotations

import sys

import pytest

from plait.compat.parsl.run import main


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    monkeypatch.setattr(sys, "argv", sys.argv[:])
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


def test_a_script_runs_as_main_with_its_arguments(tmp_path, capsys):
    (tmp_path / "beside.py").write_text("WORD = 'found'")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, parsl, beside\nprint(__name__, sys.argv[1:], parsl.__name__, beside.WORD, __file__ == sys.argv[0])"
    )
    assert main([str(script), "-x", "1"]) == 0
    assert capsys.readouterr().out.split("\n")[0] == "__main__ ['-x', '1'] plait.compat.parsl found True"


def test_a_module_runs_as_main(tmp_path, capsys, monkeypatch):
    (tmp_path / "program_of_mine.py").write_text("import sys\nprint(__name__, sys.argv[1:])")
    assert main(["-m", "program_of_mine", "a"]) == 0
    assert capsys.readouterr().out == "__main__ ['a']\n"


def test_its_exit_code_is_passed_on(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("raise SystemExit(7)")
    with pytest.raises(SystemExit) as caught:
        main([str(script)])
    assert caught.value.code == 7


def test_what_cannot_be_run_is_said(capsys):
    assert main([]) == 2
    assert main(["-m"]) == 2
    assert main(["nowhere.py"]) == 2
    assert "nowhere.py: there is no such file" in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert "usage:" in capsys.readouterr().out
