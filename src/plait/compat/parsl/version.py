"""The version: that of upstream whose documented behaviour this follows, then plait's own."""

from __future__ import annotations

import plait

VERSION = f"2026.10.26+plait.{plait.__version__}"
