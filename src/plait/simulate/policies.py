"""Placement policies by name: those that are shipped, and a user's own from a module or a file. The objects are the ones that run in production."""

from __future__ import annotations

import importlib
import inspect
import os
import runpy
import sys
from typing import TYPE_CHECKING, Any, Final

from plait.errors import ConfigurationError
from plait.executors.htex import placement

if TYPE_CHECKING:
    from collections.abc import Callable

SHIPPED: Final[dict[str, Callable[[], Any]]] = {
    "spread": placement.Spread,
    "block-by-block": placement.BlockByBlock,
    "pack": placement.Pack,
    "fewest-free": placement.FewestFree,
    "random": placement.Random,
    "near-data": placement.NearData,
}


def policy_named(name: str, seed: int = 0) -> Any:
    """A policy from its name, ``package.module:Class`` or ``path/to/file.py:Class``.

    Args:
        name: of it; behind the colon may also be an object, or a function that makes one.
        seed: for policies whose constructor takes one.

    Raises:
        ConfigurationError: there is none of that name.
    """
    made: Any = SHIPPED.get(name.lower().replace("_", "-"))
    if made is None:
        where, colon, what = name.rpartition(":")
        if not colon or not where or not what:
            raise ConfigurationError(
                f"policy {name!r}: expected one of {', '.join(SHIPPED)}, `module:Class` or `file.py:Class`"
            )
        made = _load(where, what)
    policy = made
    if inspect.isclass(made) or (callable(made) and not hasattr(made, "rank") and not hasattr(made, "sort_managers")):
        try:
            policy = made(seed=seed) if "seed" in inspect.signature(made).parameters else made()
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"policy {name!r}: it cannot be made without arguments ({error}); name a function that makes it"
            ) from error
    return checked(policy, f"policy {name!r}: ")


def checked(policy: Any, where: str = "policy: ") -> Any:
    """A policy.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        return placement.as_policy(policy)
    except TypeError as error:
        raise ConfigurationError(f"{where}{error}") from error


def _load(where: str, what: str) -> Any:
    if where.endswith(".py"):
        if not os.path.isfile(where):
            raise ConfigurationError(f"policy {where}:{what}: there is no such file")
        names: Any = runpy.run_path(where, run_name="plait_policy")
    else:
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())  # as for a script that stands here
        try:
            names = vars(importlib.import_module(where))
        except ImportError as error:
            raise ConfigurationError(f"policy {where}:{what}: the module cannot be imported ({error})") from error
    if what not in names:
        raise ConfigurationError(f"policy {where}:{what}: there is no {what} in it")
    return names[what]


def name_of(policy: Any) -> str:
    """What a policy is called: as it is shipped, or its class."""
    for name, made in SHIPPED.items():
        if type(policy) is made:
            return name
    return "spread" if policy is None else type(policy).__name__
