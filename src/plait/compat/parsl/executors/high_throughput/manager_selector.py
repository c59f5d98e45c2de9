"""``parsl.executors.high_throughput.manager_selector``: which manager is filled next. The shipped ones are plait's placement policies."""

from __future__ import annotations

import os
import random
import sys
from abc import ABCMeta, abstractmethod
from typing import TYPE_CHECKING, Any

from plait.executors.htex.placement import Pack, Selected, Spread, block_key
from plait.serialize import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["BlockIdManagerSelector", "ManagerSelector", "RandomManagerSelector"]


class ManagerSelector(metaclass=ABCMeta):
    """Puts managers into an order. It runs in the process of the interchange, each time that managers with room have changed."""

    @abstractmethod
    def sort_managers(self, ready_managers: Mapping[Any, Mapping[str, Any]], manager_list: Iterable[Any]) -> list[Any]:
        """The names in ``manager_list``, those to be filled first in front; ``ready_managers`` says more of each."""


class RandomManagerSelector(ManagerSelector):
    """Tasks are spread over the managers."""

    def sort_managers(self, ready_managers: Mapping[Any, Mapping[str, Any]], manager_list: Iterable[Any]) -> list[Any]:  # noqa: ARG002 - whatever they are
        return random.sample(names := list(manager_list), len(names))


class BlockIdManagerSelector(ManagerSelector):
    """Block after block is filled, so that the others become empty and can be given back."""

    def sort_managers(self, ready_managers: Mapping[Any, Mapping[str, Any]], manager_list: Iterable[Any]) -> list[Any]:
        return sorted(manager_list, key=lambda name: block_key(str(ready_managers[name]["block_id"] or "")))


class Selection(Selected):
    """A selector that a user wrote, as plait's policy.

    In the interchange `parsl` is this package, and modules are found where the driver finds them, before the selector's own module is imported.
    """

    def __reduce__(self) -> tuple[Callable[..., Selection], tuple[list[str], bytes]]:
        return _arrive, ([os.path.abspath(folder) for folder in sys.path], dumps(self.selector))


def _arrive(path: list[str], selector: bytes) -> Selection:
    sys.path.extend(folder for folder in path if folder not in sys.path)
    return Selection(loads(selector))


def as_policy(selector: Any) -> Any:
    """plait's policy for a selector; one that is none is returned as it is."""
    if selector is None or type(selector) is RandomManagerSelector:
        return Spread()
    if type(selector) is BlockIdManagerSelector:
        return Pack()
    return selector if callable(getattr(selector, "rank", None)) else Selection(selector)
