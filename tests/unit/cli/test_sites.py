from __future__ import annotations

import json

import pytest

from plait.cli.sites import list_sites, show_site
from plait.errors import ConfigurationError
from plait.sites import search

MINE = """\
# Ours.
[site]
name = "{name}"
centre = "The centre"
scheduler = "Slurm"
description = "Nodes of ours"
url = "https://example.org/"
needs = ["account", "queue"]
notes = "{notes}"
environment = {{ WE_ARE_HERE = "yes" }}

[[executors]]
type = "HighThroughputExecutor"

[executors.provider]
type = "SlurmProvider"
partition = "debug"
"""


@pytest.fixture(autouse=True)
def mine(tmp_path, monkeypatch):
    """A catalogue with two sites, in front of the one that is shipped."""
    folder = tmp_path / "sites"
    folder.mkdir()
    (folder / "ours.toml").write_text(MINE.format(name="ours", notes="word " * 40))
    (folder / "polaris.toml").write_text(MINE.format(name="polaris", notes=""))
    monkeypatch.setenv("PLAIT_SITES", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(search, "SYSTEM", str(tmp_path))
    return folder


def test_a_line_for_each(capsys):
    assert list_sites(as_json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("aurora  ") and "Aurora" in line and not line.endswith("]") for line in lines)
    assert [line.split() for line in lines if line.startswith(("ours", "polaris"))] == [
        [name, *["Nodes", "of", "ours", "[PLAIT_SITES]"]] for name in ("ours", "polaris")
    ]
    assert "plait sites NAME" in lines[-1]


def test_a_file_that_is_wrong_is_told_and_the_others_are_listed(capsys, mine):
    (mine / "broken.toml").write_text("[site\n")
    assert list_sites(as_json=True) == 0
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)) > 30
    assert captured.err.startswith(f"plait: left out: {mine / 'broken.toml'}: ")


def test_this_machine_is_marked(capsys, monkeypatch):
    monkeypatch.setenv("WE_ARE_HERE", "yes")
    list_sites(as_json=False)
    assert "Nodes of ours  [here,PLAIT_SITES]" in capsys.readouterr().out


def test_all_as_data(capsys):
    list_sites(as_json=True)
    data = {site["name"]: site for site in json.loads(capsys.readouterr().out)}
    assert data["ours"]["needs"] == ["account", "queue"]
    assert (data["ours"]["origin"], data["ours"]["here"]) == ("PLAIT_SITES", False)
    assert data["archer2"]["origin"] == "shipped"
    assert data["archer2"]["checked"]


def test_one(capsys, mine):
    assert show_site("ours", as_json=False) == 0
    out = capsys.readouterr().out
    assert out.startswith("ours: Nodes of ours\n")
    assert "https://example.org/ (not compared with documentation of the centre)" in out
    assert f"file      {mine}/ours.toml (PLAIT_SITES)" in out
    assert "plait init --site ours --set account=… --set queue=…" in out
    assert 'plait.Config.from_site("ours", account=…, queue=…)' in out
    assert out.endswith(
        '# Ours.\n[[executors]]\ntype = "HighThroughputExecutor"\n\n[executors.provider]\ntype = "SlurmProvider"\npartition = "debug"\n'
    )
    assert "WE_ARE_HERE" not in out
    assert max(map(len, out.splitlines())) <= max(110, 12 + len(str(mine)) + 40)


def test_one_that_hides_another(capsys):
    show_site("polaris", as_json=False)
    assert "hides     shipped" in capsys.readouterr().out
    show_site("polaris", as_json=True)
    data = json.loads(capsys.readouterr().out)
    assert data["hides"] == ["shipped"]
    assert "[executors.provider]" in data["text"]


def test_one_that_is_shipped(capsys):
    show_site("lumi", as_json=False)
    out = capsys.readouterr().out
    assert "compared in 20" in out
    assert "hides" not in out
    assert 'partition = "standard"' in out


def test_there_is_none():
    with pytest.raises(ConfigurationError, match="did you mean"):
        show_site("Aurora!", as_json=False)
