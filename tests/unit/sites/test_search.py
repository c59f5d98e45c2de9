from __future__ import annotations

import os
import socket

import pytest

from plait.errors import ConfigurationError
from plait.sites import find_site, search, sites

HEAD = '[site]\ncentre = "{centre}"\ndescription = "d"\n'


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A folder for each kind of catalogue: {origin: folder}."""
    made = {
        "PLAIT_SITES": tmp_path / "env",
        "project": tmp_path / "work" / ".plait" / "sites",
        "user": tmp_path / "config" / "plait" / "sites",
        "system": tmp_path / "etc",
    }
    for folder in made.values():
        folder.mkdir(parents=True)
    monkeypatch.setenv("PLAIT_SITES", f"{made['PLAIT_SITES']}{os.pathsep}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(search, "SYSTEM", str(made["system"]))
    monkeypatch.chdir(tmp_path / "work")
    return made


def test_the_nearer_catalogue_hides_the_others(places):
    for origin in reversed(places):
        (places[origin] / "localhost.toml").write_text(HEAD.format(centre=origin))
        assert find_site("localhost").origin == origin
        assert find_site("localhost").centre == origin
    for origin, folder in places.items():
        (folder / "localhost.toml").unlink()
        (folder / f"from-{origin}.toml").write_text(HEAD.format(centre=origin))
    found = {site.name: site.origin for site in sites()}
    assert {f"from-{origin}": origin for origin in places}.items() <= found.items()
    assert found["localhost"] == "shipped"
    assert list(found) == sorted(found)


def test_a_file_that_is_wrong_is_left_out_and_hides_what_it_hid(places):
    (places["system"] / "localhost.toml").write_text("[site\n")
    (places["user"] / "good.toml").write_text(HEAD.format(centre="x"))
    with pytest.raises(ConfigurationError, match=r"localhost\.toml"):
        sites()
    wrong = []
    names = [site.name for site in sites(wrong)]
    assert "good" in names
    assert "localhost" not in names
    assert [str(places["system"] / "localhost.toml") in problem for problem in wrong] == [True]


def test_a_folder_that_cannot_be_read_is_told(places, monkeypatch):
    real = os.listdir

    def listdir(folder):
        if folder == str(places["system"]):
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "listdir", listdir)
    wrong = []
    assert "localhost" in [site.name for site in sites(wrong)]
    assert wrong == [f"{places['system']}: this folder cannot be read (Permission denied)"]
    assert find_site("localhost").origin == "shipped"


def test_a_projects_catalogue_that_others_may_write_is_not_used(places):
    (places["project"] / "planted.toml").write_text(HEAD.format(centre="x"))
    places["project"].chmod(0o777)
    with pytest.raises(ConfigurationError, match="no such site"):
        find_site("planted")


def test_every_shipped_site_can_be_read_and_says_who_runs_it():
    shipped = [site for site in sites() if site.origin == "shipped"]
    assert "localhost" in {site.name for site in shipped}
    for site in shipped:
        assert all((site.centre, site.scheduler, site.description, site.url)), site.path


def test_a_name_that_is_not_there_names_its_like():
    with pytest.raises(ConfigurationError, match=r"site 'localhots': there is no such site; did you mean localhost"):
        find_site("localhots")
    with pytest.raises(ConfigurationError, match=r"'q': there is no such site; `plait sites` lists"):
        find_site("q")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("retries = 1", r"a\.toml: a site needs a table \[site\]"),
        ("site = 3", r"a\.toml: a site needs a table \[site\]"),
        ("[site]\nneed = []", r"a\.toml: site\.need: there is no such key; did you mean needs"),
        ("[site]\nqqq = []", r"site\.qqq: there is no such key; expected some of name, centre"),
        ("[site]\nneeds = 'account'", r"site\.needs = 'account': expected a list of names of parameters"),
        ("[site]\nneeds = [1]", r"site\.needs = \[1\]: expected a list of names"),
        ("[site]\ncentre = 1", r"site\.centre = 1: expected text"),
        ("[site]\nname = 'b'", r"site\.name = 'b': expected the name of the file, 'a'"),
        ("[site]\na = \n", r"a\.toml: this is no TOML: .*line 2"),
    ],
)
def test_mistakes_name_the_file_and_the_key(tmp_path, text, message):
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        search.read_site(str(tmp_path / "a.toml"))


def test_a_machine_is_recognised_by_its_name_or_by_its_environment(tmp_path, monkeypatch):
    path = tmp_path / "a.toml"
    path.write_text('[site]\nhosts = ["login[0-9]*.a"]\nenvironment = { A_HOST = "a" }\n')
    site = search.read_site(str(path))
    monkeypatch.setattr(socket, "gethostname", lambda: "login.a")
    monkeypatch.setenv("HOSTNAME", "other")
    assert not site.is_here()
    monkeypatch.setattr(socket, "gethostname", lambda: "login12.a")
    assert site.is_here()
    monkeypatch.setattr(socket, "gethostname", lambda: "x")
    monkeypatch.setenv("A_HOST", "b")
    assert not site.is_here()
    monkeypatch.setenv("A_HOST", "a")
    assert site.is_here()
