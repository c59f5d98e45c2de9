"""The catalogue of machines: configurations that somebody who knows a machine has written, and where they are looked for."""

from __future__ import annotations

from plait.sites.search import Site, find_site, folders, sites

__all__ = ["Site", "find_site", "folders", "sites"]
