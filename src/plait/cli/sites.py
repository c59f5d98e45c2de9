"""``plait sites``: machines that somebody has written a configuration for."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from plait.cli.main import DONE
from plait.sites import find_site, folders, sites

if TYPE_CHECKING:
    from plait.sites import Site

_WIDTH = 110


def list_sites(*, as_json: bool) -> int:
    """Prints a line for each site, by name, and what is wrong with files that are; returns the exit code."""
    wrong: list[str] = []
    every = sites(wrong)
    for problem in wrong:
        print(f"plait: left out: {problem}", file=sys.stderr)
    if as_json:
        print(json.dumps([_data(site) for site in every], indent=2))
        return DONE
    width = max((len(site.name) for site in every), default=0)
    for site in every:
        marks = [mark for mark in ("here" if site.is_here() else "", _whose(site)) if mark]
        print(f"{site.name:{width}}  {site.description}{f'  [{chr(44).join(marks)}]' if marks else ''}")
    print("\n`plait sites NAME` shows one; `plait init --site NAME` begins a configuration with it.")
    return DONE


def show_site(name: str, *, as_json: bool) -> int:
    """Prints one site; returns the exit code.

    Raises:
        ConfigurationError: there is no such site, or its file is wrong.
    """
    site = find_site(name)
    if as_json:
        print(json.dumps({**_data(site), "notes": site.notes, "hides": _hidden(site), "text": site.text}, indent=2))
        return DONE
    compared = f"compared in {site.checked}" if site.checked else "not compared with documentation of the centre"
    given = "".join(f", {need}=…" for need in site.needs)
    asked = "".join(f" --set {need}=…" for need in site.needs)
    rows = {
        "centre": site.centre,
        "scheduler": site.scheduler,
        "needs": ", ".join(site.needs) or "nothing",
        "documents": f"{site.url} ({compared})" if site.url else compared,
        "file": f"{site.path} ({site.origin})",
        "hides": ", ".join(_hidden(site)),
        "notes": site.notes,
        "command": f"plait init --site {site.name}{asked}",
        "python": f'plait.Config.from_site("{site.name}"{given})',
    }
    print(f"{site.name}: {site.description}" if site.description else site.name)
    for label, text in rows.items():
        if text:
            print(textwrap.fill(text, _WIDTH, initial_indent=f"  {label:10}", subsequent_indent=" " * 12, break_long_words=False, break_on_hyphens=False))  # fmt: skip
    print(f"\n{_body(site.text)}")
    return DONE


def _data(site: Site) -> dict[str, Any]:
    names = ("name", "centre", "scheduler", "description", "url", "checked", "origin", "path")
    return {**{name: getattr(site, name) for name in names}, "needs": list(site.needs), "here": site.is_here()}


def _whose(site: Site) -> str:
    return "" if site.origin == "shipped" else site.origin


def _hidden(site: Site) -> list[str]:
    """Whose other files of this name are further down, and not used."""
    found = [origin for origin, folder in folders() if os.path.exists(os.path.join(folder, f"{site.name}.toml"))]
    return found[found.index(site.origin) + 1 :] if site.origin in found else []


def _body(text: str) -> str:
    """The file without its head."""
    lines = text.splitlines()
    kept: list[str] = []
    in_head = False
    for line in lines:
        if line.startswith("["):
            in_head = line.startswith(("[site]", "[site."))
        if not in_head:
            kept.append(line)
    return "\n".join(kept).strip()
