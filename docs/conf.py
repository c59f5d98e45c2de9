"""How the documentation is built: `make docs`."""

from __future__ import annotations

import importlib.metadata

project = "plait"
author = "The plait authors"
project_copyright = "The plait authors"
try:
    release = importlib.metadata.version("plait")
except importlib.metadata.PackageNotFoundError:  # read from a source tree that is not installed
    release = "unreleased"
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"plait {release}"
html_show_sourcelink = False

autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_use_ivar = True
nitpicky = False

exclude_patterns = ["_build"]
