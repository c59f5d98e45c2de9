"""What a `HighThroughputExecutor` may be told: each value looked at when it is given, so that a mistake is seen where it was made."""

from __future__ import annotations

import math
import os
import re
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from plait._util.environment import can_be_set
from plait.errors import ConfigurationError, SerializationError
from plait.executors.htex.mpi_prefix import LAUNCHERS
from plait.executors.htex.placement import as_policy
from plait.executors.pool.initializer import checked
from plait.serialize import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_AFFINITY: Final = ("none", "block", "block-reverse", "alternating")
_CORES: Final = r"\d+(-\d+)?(,\d+(-\d+)?)*"
_LIST: Final = re.compile(rf"list:{_CORES}(:{_CORES})*")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Of one node. More than a slip of the pen makes of it, and few enough to count.
_MOST_ACCELERATORS: Final = 100_000
_LABEL: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. +-]*")


def wrong(name: str, value: object, expected: str) -> ConfigurationError:
    """The error for a value that cannot work."""
    return ConfigurationError(f"HighThroughputExecutor({name}={value!r}): expected {expected}")


def label(value: Any) -> str:
    """A name that can also be that of a folder."""
    if not isinstance(value, str) or not _LABEL.fullmatch(value):
        raise wrong("label", value, "a name of letters, digits, blanks, and any of _ . + - between them")
    return value


def is_number(value: Any) -> bool:
    """Whether it is a number that can be reckoned with."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def positive(name: str, value: Any, *, none: str = "") -> float | None:
    """A number above 0; None too, where that means something."""
    if value is None and none:
        return None
    if not is_number(value) or not 0 < value < math.inf:
        raise wrong(name, value, "a number above 0" + (f", or None {none}" if none else ""))
    return float(value)


def whole(name: str, value: Any, least: int, *, none: str = "") -> int | None:
    """A whole number from ``least``; None too, where that means something. Infinity counts as None."""
    if none and (value is None or value == math.inf):
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= sys.maxsize:
        raise wrong(name, value, f"a whole number from {least}" + (f", or None {none}" if none else ""))
    return value


def policy(value: Any) -> Any:
    """A placement policy, or None for the default."""
    try:
        as_policy(value)
    except TypeError as error:
        raise ConfigurationError(f"HighThroughputExecutor: manager_selector: {error}") from None
    if value is not None:
        try:
            dumps(value)
        except SerializationError as error:
            raise ConfigurationError(
                f"HighThroughputExecutor: manager_selector: it is sent to the interchange, a process of its own, and cannot be: {error}"
            ) from None
    return value


def text(name: str, value: Any, what: str) -> Any:
    """A name or a path; or None."""
    if value is not None and (not isinstance(value, (str, os.PathLike)) or "\0" in str(value)):
        raise wrong(name, value, f"{what}, or None")
    return value


def yes_or_no(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise wrong(name, value, "True or False")
    return value


def port(name: str, value: Any) -> int | None:
    """A port, or None for any of the range."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
        raise wrong(name, value, "a port from 1 to 65535, or None for one of worker_port_range")
    return value


def port_range(name: str, value: Any) -> tuple[int, int]:
    """First port, and the one after the last."""
    ok = isinstance(value, (tuple, list)) and len(value) == 2
    ok = ok and all(isinstance(end, int) and not isinstance(end, bool) and 0 < end <= 65536 for end in value)
    if not ok or value[0] >= value[1]:
        raise wrong(name, value, "two ports, the first and the one after the last, such as (54000, 55000)")
    return value[0], value[1]


def affinity(value: Any) -> str:
    """How workers are bound to cores."""
    if not isinstance(value, str) or (value not in _AFFINITY and not _LIST.fullmatch(value)):
        names = ", ".join(f'"{name}"' for name in _AFFINITY)
        raise wrong("cpu_affinity", value, f'{names}, or the cores of each worker as "list:0-3:4-7"')
    return value


def accelerators(value: Any) -> list[str]:
    """Names of accelerators; a number stands for so many, named from 0."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_ACCELERATORS:
        return [str(number) for number in range(value)]
    if isinstance(value, (list, tuple)) and all(isinstance(name, str) and name for name in value):
        return list(value)
    raise wrong("available_accelerators", value, 'how many there are on a node, or their names, such as ["0", "1"]')


def launcher(value: Any) -> str:
    """What starts the processes of tasks over whole nodes."""
    if not isinstance(value, str) or value not in LAUNCHERS:
        raise wrong("mpi_launcher", value, " or ".join(f'"{name}"' for name in LAUNCHERS))
    return value


def heartbeats(period: Any, threshold: Any) -> tuple[float, float]:
    """When managers speak, and after which silence they are given up."""
    period_s, threshold_s = positive("heartbeat_period", period), positive("heartbeat_threshold", threshold)
    assert period_s is not None and threshold_s is not None  # noqa: PT018, S101 - None is not among what they may be
    if threshold_s <= period_s:
        raise wrong("heartbeat_threshold", threshold, f"seconds, more than heartbeat_period ({period_s:g})")
    return period_s, threshold_s


def environment(value: Any) -> dict[str, str | None]:
    """Variables to set, or to remove."""
    try:
        found = dict(value or {})
    except (TypeError, ValueError):
        found = {0: value}
    if not all(can_be_set(name, text) and _NAME.fullmatch(name) for name, text in found.items()):
        raise wrong("env", value, "names of variables with their values, texts or None")
    return found


def words(name: str, value: Any) -> list[str]:
    """The words of a command; none for the built-in one."""
    if value is None:
        return []
    ok = isinstance(value, (list, tuple)) and bool(value)
    if not ok or not all(isinstance(word, str) and word and "\0" not in word for word in value):
        raise wrong(name, value, "a list of words, the program first, or None for plait's own")
    return list(value)


def methods(name: str, value: Any, needed: Sequence[str], what: str) -> Any:
    """A plug-in: an object with these methods."""
    missing = [method for method in needed if not callable(getattr(value, method, None))]
    if missing or isinstance(value, type):
        hint = "; call it: write its name with parentheses" if isinstance(value, type) else ""
        raise wrong(name, value, what + hint)
    return value


def settle(executor: Any) -> None:
    """Checks all that an executor was told, and brings each into one form. What it is told stands in attributes, which programs assign as well."""
    for name, check in _CHECKS.items():
        setattr(executor, name, check(getattr(executor, name)))
    executor.initargs = checked(type(executor).__name__, executor.initializer, executor.initargs)
    executor.heartbeat_period, executor.heartbeat_threshold = heartbeats(
        executor.heartbeat_period, executor.heartbeat_threshold
    )


_CHECKS: Final[dict[str, Callable[[Any], Any]]] = {
    "label": label,
    "max_workers_per_node": partial(whole, "max_workers_per_node", least=1, none="for no limit"),
    "cores_per_worker": partial(positive, "cores_per_worker"),
    "mem_per_worker": partial(positive, "mem_per_worker", none="not to count memory"),
    "cpu_affinity": affinity,
    "available_accelerators": accelerators,
    "prefetch_capacity": partial(whole, "prefetch_capacity", least=0),
    "manager_selector": policy,
    "mpi_launcher": launcher,
    "max_tasks_per_worker": partial(whole, "max_tasks_per_worker", least=1, none="for never"),
    "env": environment,
    "address": partial(text, "address", what="a name or address of this machine"),
    "worker_port": partial(port, "worker_port"),
    "worker_port_range": partial(port_range, "worker_port_range"),
    "address_probe_timeout": partial(positive, "address_probe_timeout", none="for 30 s"),
    "encrypted": partial(yes_or_no, "encrypted"),
    "drain_period": partial(positive, "drain_period", none="for never"),
    "block_start_timeout": partial(positive, "block_start_timeout"),
    "worker_logdir_root": partial(text, "worker_logdir_root", what="the path of a folder"),
    "worker_debug": partial(yes_or_no, "worker_debug"),
    "working_dir": partial(text, "working_dir", what="the path of a folder"),
}
