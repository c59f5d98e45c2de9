from __future__ import annotations

import pytest

from plait.cli.report import write_report
from plait.errors import ConfigurationError
from plait.monitoring.journal import Journal
from plait.monitoring.runs import RunNotFound


def test_the_file_is_named(tmp_path, capsys):
    folder = tmp_path / "runinfo" / "004"
    folder.mkdir(parents=True)
    Journal(str(folder)).close()
    assert write_report("last", "runinfo", "r.html") == 0
    assert capsys.readouterr().out.startswith("r.html: ")
    assert (tmp_path / "r.html").read_text().startswith("<!DOCTYPE html>")
    with pytest.raises(ConfigurationError, match="--output nowhere"):
        write_report("last", "runinfo", "nowhere/r.html")


def test_a_device_gets_the_page_and_no_line_behind_it(tmp_path, capfd):
    folder = tmp_path / "runinfo" / "000"
    folder.mkdir(parents=True)
    Journal(str(folder)).close()
    assert write_report("last", "runinfo", "/dev/stdout") == 0
    out = capfd.readouterr().out
    assert out.startswith("<!DOCTYPE html>")
    assert out.rstrip().endswith("</html>")


def test_no_run():
    with pytest.raises(RunNotFound):
        write_report("last", "runinfo", "r.html")


def test_a_run_that_cannot_be_read_is_not_the_fault_of_the_output(tmp_path):
    (tmp_path / "runinfo" / "000" / "journal.plj").mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match=r"journal\.plj"):
        write_report("last", "runinfo", "r.html")
