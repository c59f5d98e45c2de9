from __future__ import annotations

import json

from plait.cli.runs import list_runs
from plait.model import events as ev
from plait.monitoring.journal import Journal


def make(folder, *events):
    folder.mkdir(parents=True)
    log = Journal(str(folder))
    log.write(events)
    log.close()


def test_a_line_for_each(tmp_path, capsys):
    began = ev.RunStarted(1.0, 1.7e9, "id", 1, "0.1.0", "3.11", "away", 7, "fit.py", ["p"])
    make(tmp_path / "000", began, ev.RunEnded(3.0, 1.7e9, "5 done"))
    make(tmp_path / "001", began)
    (tmp_path / "002" / "journal.plj").mkdir(parents=True)  # it hides no other
    assert list_runs(str(tmp_path), as_json=False) == 0
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("000  20")
    assert first.endswith("ended         2.0 s  fit.py  5 done")
    assert "elsewhere" in second
    assert third.split() == ["002", "?", "unreadable", "?"]
    list_runs(str(tmp_path), as_json=True)
    data = json.loads(capsys.readouterr().out)
    assert [run["state"] for run in data] == ["ended", "elsewhere", "unreadable"]
    assert data[0]["ended"] == "5 done"


def test_none(tmp_path, capsys):
    assert list_runs(str(tmp_path / "none"), as_json=False) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "--run-dir" in captured.err
