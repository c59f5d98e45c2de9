"""`plait check` with hosts that are reached by ssh, and with a batch system behind one of them."""

from __future__ import annotations

import json
import sys

import pytest

import plait
from plait.cli.check import check
from plait.providers import SSHProvider


@pytest.fixture
def look(ssh_bed, tmp_path, monkeypatch, capsys):
    """Writes a configuration with `SSHProvider` and looks at it: exit code, and what was found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def look(**parameters):
        there = {
            "ssh_config": str(ssh_bed.config),
            "options": ["LogLevel=ERROR"],
            "python": sys.executable,
            "folder": str(ssh_bed.jobs),
        }
        provider = SSHProvider(**{**there, **parameters})
        text = plait.Config([plait.HighThroughputExecutor("away", provider=provider, max_workers_per_node=1)]).to_toml()
        provider.close()
        (tmp_path / "plait.toml").write_text(text)
        code = check("plait.toml", submit=False, timeout_s=60.0, as_json=True)
        data = json.loads(capsys.readouterr().out)
        return code, [(each["level"], each["about"], each["text"]) for each in data["findings"]]

    return look


def test_hosts_that_answer_and_one_that_does_not(look):
    code, findings = look(hosts=["host1", "nowhere.invalid"])
    assert code == 1
    assert ("ok", "away.provider", f"host1 answers, with plait {plait.__version__} for {sys.executable}") in findings
    assert [level for level, _, text in findings if text.startswith("nowhere.invalid: ")] == ["problem"]


def test_commands_are_looked_for_on_the_login_host(look):
    code, findings = look(host="host1", provider=plait.providers.LSFProvider())
    assert code == 1
    (problem,) = [text for level, _, text in findings if level == "problem"]
    assert problem.startswith("bsub, bjobs, bkill of LSF not found on ")
    assert "host1" in problem
