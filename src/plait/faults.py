"""Planned faults, for tests: ``PLAIT_FAULTS="name:argument,name"`` in the environment.

A place in the code asks ``fault("pool.zygote_start")``; the answer is None unless the plan names it.
Nothing is parsed, and nothing costs more than a look into an empty dictionary, unless the variable is set.
"""

from __future__ import annotations

import os


def parse(plan: str) -> dict[str, str]:
    """Reads ``"a:1,b"`` as ``{"a": "1", "b": ""}``."""
    items = (item.partition(":") for item in plan.split(",") if item.strip())
    return {name.strip(): argument.strip() for name, _, argument in items}


_plan = parse(os.environ.get("PLAIT_FAULTS", ""))


def fault(name: str) -> str | None:
    """The argument of the planned fault ``name``, or None when it is not planned."""
    return _plan.get(name) if _plan else None
