"""Every site of the shipped catalogue, and what it would submit, which stands in ``scripts/``.

After a change that is meant, `python -m tests.unit.sites.test_search_catalogue` writes them anew; read the difference.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import plait
from plait.errors import ConfigurationError
from plait.providers.cluster import ClusterProvider
from plait.providers.shell import Finished, LocalShell
from plait.sites import find_site, search
from plait.sites.search import read_site
from tests.support import ROOT

SCRIPTS = Path(__file__).with_name("scripts")
PAGE, HEAD = ROOT / "docs" / "reference" / "sites.md", "|---|---|---|---|"
NAMES = sorted(name.removesuffix(".toml") for name in os.listdir(search._SHIPPED))
#: What a user would say.
VALUES = {
    "account": "m1234",
    "project": "m1234",
    "queue": "normal",
    "image_id": "ami-0123456789abcdef0",
    "key_name": "laptop",
    "image": "registry.example/plait:1",
    "vm_reference": {
        "publisher": "Canonical",
        "offer": "UbuntuServer",
        "sku": "18.04-LTS",
        "version": "latest",
        "vm_size": "Standard_D2_v3",
        "disk_size_gb": 30,
        "admin_username": "plait",
        "password": "set by a test",
    },
}
#: Machines that must be there: those that Parsl bundles, and those of large centres.
WANTED = {
    "anvil", "archer2", "aspire1", "aurora", "azure", "bridges2", "cc_in2p3", "delta", "ec2", "expanse", "frontera", "frontier", "illinoiscluster",
    "improv", "kubernetes", "lumi", "midway3", "osg", "perlmutter", "polaris", "stampede2", "stampede3", "summit", "toss3_llnl",
}  # fmt: skip


class Recorder(LocalShell):
    """Keeps what would be written and run; every job is number 7."""

    def __init__(self):
        self.said = []

    def run(self, argv, *, timeout_s, stdin="", env=None, max_bytes=0):
        self.said.append(f"$ {' '.join(argv)}\n{stdin}")
        return Finished(
            tuple(argv),
            0,
            "Submitted batch job 7\n1 job(s) submitted to cluster 7.\nJob <7> is submitted to queue <x>.\n7\n",
            "",
        )

    def write(self, path, text, *, executable=False):
        self.said.append(f"--- {os.path.basename(path)}\n{text}")

    def make_folder(self, path):
        pass

    def folder(self, here):
        return here


def shipped(name):
    return read_site(os.path.join(search._SHIPPED, f"{name}.toml"), "shipped")


def config_of(name):
    return plait.Config.from_site(name, **{need: VALUES[need] for need in shipped(name).needs})


def script(name):
    """What a block of the site would be: its job's files and commands; the configuration where there is no job's script."""
    config = config_of(name)
    (executor,) = config.executors
    provider = executor.provider
    if not isinstance(provider, ClusterProvider):
        return config.to_toml()
    provider.shell, provider.script_dir, provider._tag = Recorder(), "/runs/000/submit_scripts", "cafe01"
    try:
        provider.submit("the command of a manager", 1, "plait.0a1b2c3d.x.block-0")
    except Exception as error:  # the answer is not this system's: what it was asked is what counts
        provider.shell.said.append(f"# {type(error).__name__}\n")
    text = "\n".join(each.rstrip("\n") for each in provider.shell.said) + "\n"
    return re.sub(rf"\.{os.getpid()}-\d+", ".PID-0", text)


def table():
    """The rows of the page of sites."""
    rows = []
    for site in map(shipped, NAMES):
        needs = ", ".join(f"`{need}`" for need in site.needs)
        rows.append(f"| `{site.name}` | {site.scheduler} | {needs} | [{site.description}]({site.url}) |")
    return "\n".join(rows)


@pytest.fixture(autouse=True)
def _only_what_is_shipped(monkeypatch, tmp_path):
    for name in ("PLAIT_SITES", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(search, "SYSTEM", str(tmp_path))


@pytest.mark.parametrize("name", NAMES)
def test_what_a_site_submits(name):
    assert script(name) == (SCRIPTS / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_its_head_says_what_users_must_know(name):
    site = shipped(name)
    assert site.centre
    assert site.scheduler
    assert re.match(r"https://\S+$", site.url)
    assert 10 < len(site.description) < 150
    assert not site.checked or re.fullmatch(r"20\d\d-\d\d", site.checked)
    for text in (site.description, site.notes):
        assert text == text.strip()
        assert "\n" not in text


@pytest.mark.parametrize("name", [name for name in NAMES if shipped(name).needs])
def test_what_only_the_user_knows_is_asked_for(name):
    with pytest.raises(ConfigurationError) as caught:
        plait.Config.from_site(name)
    for need in shipped(name).needs:
        assert need in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_a_user_is_in_it(name):
    """No account, no folder, no modules: those are the user's."""
    text = shipped(name).text
    assert "worker_init" not in re.sub(r"notes = .*", "", text)
    assert not re.search(r"/(home|work|users|lus|scratch)/", re.sub(r"notes = .*", "", text))
    assert not re.search(r"^account|^project", text, re.MULTILINE)


def test_one_worker_for_each_accelerator():
    for name in NAMES:
        (executor,) = config_of(name).executors
        accelerators = executor.available_accelerators
        count = accelerators if isinstance(accelerators, int) else len(accelerators)
        assert not count or count == executor.max_workers_per_node, name


def test_the_machines_that_were_promised_are_there():
    assert set(NAMES) >= WANTED
    assert {path.stem for path in SCRIPTS.iterdir()} == set(NAMES), "scripts of sites that are not there any more"


def test_the_page_lists_them():
    assert f"{HEAD}\n{table()}\n\n" in PAGE.read_text(encoding="utf-8")


def test_names_of_login_nodes_belong_to_one_site():
    patterns = [pattern for name in NAMES for pattern in shipped(name).hosts]
    assert len(patterns) == len(set(patterns))


def test_a_site_of_one_s_own_comes_first(tmp_path, monkeypatch):
    (tmp_path / "polaris.toml").write_text(shipped("polaris").text.replace('queue = "debug"', 'queue = "mine"'))
    assert find_site("polaris").origin != "shipped"
    assert plait.Config.from_site("polaris", account="x").executors[0].provider.queue == "mine"


if __name__ == "__main__":
    before, _, after = PAGE.read_text(encoding="utf-8").partition(HEAD)
    PAGE.write_text(f"{before}{HEAD}\n{table()}\n\n{after.partition(chr(10) * 2)[2]}", encoding="utf-8")
    SCRIPTS.mkdir(exist_ok=True)
    for each in NAMES:
        (SCRIPTS / f"{each}.txt").write_text(script(each), encoding="utf-8")
