"""Simulated runs: the cores that decide in production, under a clock that does not wait.

```python
from plait.simulate import Machine, simulate

result = simulate({"bag": {"fit": {"tasks": 10_000, "duration": "lognormal:30s,0.5"}}}, Machine(nodes=64, workers=32), policy="pack")
print(result.makespan_s, result.utilisation)
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.simulate.bags import Bag
from plait.simulate.description import Described, described, read_description
from plait.simulate.draws import Draw, parse_draw
from plait.simulate.machine import Costs, Failure, Machine
from plait.simulate.result import History, Kind, Result
from plait.simulate.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "Bag",
    "Costs",
    "Described",
    "Draw",
    "Failure",
    "History",
    "Kind",
    "Machine",
    "Result",
    "Workload",
    "described",
    "parse_draw",
    "read_description",
    "read_workload",
    "simulate",
]


def simulate(
    workload: Workload | Mapping[str, Any] | str,
    machine: Machine | None = None,
    policy: Any = None,
    seed: int = 0,
    progress: Callable[[Result], None] | None = None,
) -> Result:
    """Simulates a run.

    Args:
        workload: what there is to do: a workload, a description (see `described`), or the path of a file with one, of a run's folder or of its journal.
        machine: where; one node with one worker when not said.
        policy: which node gets which task: a name (`spread`, `pack`, …), ``module:Class``, or an object as executors take it.
        seed: of all that is random. The same seed gives the same answer.
        progress: called now and then with the result so far.

    Raises:
        ConfigurationError: something cannot be read, or is impossible.
    """
    from plait.simulate.policies import checked, name_of, policy_named
    from plait.simulate.simulation import Simulation

    work: Any = read_workload(workload) if isinstance(workload, str) else workload
    if not hasattr(work, "source"):
        work = described(work)
    made = policy_named(policy, seed) if isinstance(policy, str) else checked(policy)
    name = policy if isinstance(policy, str) else name_of(policy)
    return Simulation(work, machine or Machine(), made, name, seed, progress).run()


def read_workload(
    path: str, asks: Mapping[str, Any] | None = None, *, copies: int = 1, at_once: bool = True
) -> Workload:
    """A workload from disk.

    Args:
        path: a file with a description (``.toml``, ``.json``), a run's folder, or a file of its journal.
        asks: what tasks of recorded apps ask for, by app: ``{"train": {"cores": 4, "gpus": 1}}``.
        copies: how many times the recorded run is to be done, side by side.
        at_once: whether its tasks are submitted at the start; otherwise at the times of the run.

    Raises:
        ConfigurationError: it cannot be read.
    """
    from plait.simulate.description import ask_of
    from plait.simulate.recorded import read_record

    if path.endswith((".toml", ".json")):
        return read_description(path)
    made = {app: ask_of(given, f"app {app}: ") for app, given in (asks or {}).items()}
    return read_record(path, made, copies=copies, at_once=at_once)
