"""Parameters of upstream's executor that mean nothing here, mean something else, or are gone: what is said about them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

from plait.errors import ConfigurationError
from plait.executors.htex.addresses import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Parameters that nothing depends on, with their defaults and the reason.
NEEDLESS: Final = {
    "loopback_address": ("127.0.0.1", "driver and interchange share a socket that has no address"),
    "interchange_port_range": ((55000, 56000), "the driver listens on no port"),
    "poll_period": (10, "nothing polls at intervals"),
    "remote_monitoring_radio": (None, "plait does not have the monitoring database yet"),
}
#: Parameters that upstream had once; released programs still pass them.
REMOVED: Final = frozenset({"hub_address", "hub_port", "managed", "start_method", "suppress_failure", "worker_mode"})


def check_needless(given: Mapping[str, Any]) -> None:
    """Says of each that is not as it is by default that it has no effect."""
    for name, value in given.items():
        default, why = NEEDLESS[name]
        if value is not None and value != default:
            _warn(f"HighThroughputExecutor({name}={value!r}) has no effect: {why}", UserWarning)


def read_removed(removed: Mapping[str, Any], max_workers_per_node: float | None) -> float | None:
    """``max_workers_per_node``, perhaps by its former name.

    Raises:
        ConfigurationError: MPI is asked for as upstream once had it.
        TypeError: upstream never had one of the others.
    """
    for name, value in removed.items():
        if name == "max_workers":
            _warn(f"HighThroughputExecutor(max_workers={value!r}): write max_workers_per_node={value!r}", FutureWarning)
            max_workers_per_node = value if max_workers_per_node is None else max_workers_per_node
        elif name == "enable_mpi_mode" and value:
            raise ConfigurationError(
                "HighThroughputExecutor(enable_mpi_mode=True): leave it out where a launcher such as SrunLauncher starts a manager on each node, "
                "and tasks may ask for several; with SimpleLauncher write MPIExecutor(…)"
            )
        elif name in REMOVED:
            _warn(
                f"HighThroughputExecutor({name}={value!r}) has no effect: upstream has removed this parameter; leave it out",
                FutureWarning,
            )
        elif name not in {"enable_mpi_mode", "mpi_launcher"}:
            raise TypeError(f"HighThroughputExecutor() got an unexpected keyword argument {name!r}")
    return max_workers_per_node


def encryption(encrypted: bool, addresses: Sequence[str]) -> bool:
    """Whether links are encrypted. plait sends nothing in the clear beyond this machine, whatever it is told."""
    if encrypted or all(map(is_loopback, addresses)):
        return encrypted
    _warn(
        f"HighThroughputExecutor(encrypted=False): the links are encrypted nevertheless, because others can reach {', '.join(addresses)}",
        UserWarning,
    )
    return True


def _warn(text: str, category: type[Warning]) -> None:
    """Points to who calls the constructor that calls the function that calls this."""
    warnings.warn(text, category, stacklevel=4)
