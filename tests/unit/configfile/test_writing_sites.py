"""Every site of the catalogue can be written into a file again and gives the same; `plait init --site` writes what can be read."""

from __future__ import annotations

import pytest

import plait
from plait.cli.init import Order, init
from plait.configfile import writing
from plait.sites import sites

MACHINE = {"publisher": "a", "offer": "b", "sku": "c", "version": "latest", "vm_size": "d", "admin_username": "e"}
SITES = [site for site in sites() if site.origin == "shipped"]


@pytest.mark.parametrize("site", SITES, ids=[site.name for site in SITES])
def test_it_goes_round(site):
    try:
        config = plait.Config.from_site(
            site.name, **{name: MACHINE if name == "vm_reference" else "x" for name in site.needs}
        )
    except plait.errors.OptionalModuleMissing as error:
        pytest.skip(str(error))
    text = config.to_toml()
    again = plait.Config.from_toml(text)
    assert again.to_toml() == text
    assert writing._same(again, config)


@pytest.mark.parametrize("site", [site for site in SITES if site.needs == ("account",)][:3], ids=lambda site: site.name)
def test_what_init_writes_of_it_can_be_read(site, tmp_path):
    file = tmp_path / "plait.toml"
    init(Order(file=str(file), site=site.name, values=("account=m1234",)), as_json=False)
    provider = plait.Config.from_toml(file).executors[0].provider
    assert "m1234" in {provider.account, getattr(provider, "project", None)}
