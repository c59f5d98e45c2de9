"""The targets: which figure of which library, against what, and how far it is from there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A bound on one figure, absolute or as a ratio to another library's figure of the same interleaved round."""

    workload: str
    peer: str
    metric: str
    bound: float
    at_least: bool = True
    baseline: str | None = None
    unit: str = ""

    def text(self) -> str:
        """Return the target as a person would write it."""
        sign = "≥" if self.at_least else "≤"
        against = f" x {self.baseline}" if self.baseline else f" {self.unit}".rstrip()
        return f"{self.metric} {sign} {self.bound:g}{against}"

    def reached(self, value: float) -> bool:
        """Say whether the value meets the bound."""
        return value >= self.bound if self.at_least else value <= self.bound

    def margin(self, value: float) -> float:
        """Return the share of the bound by which it was passed (positive) or missed (negative)."""
        difference = value / self.bound - 1
        return difference if self.at_least else -difference


def _ratio(workload: str, bound: float, metric: str = "rate", peer: str = "plait-processes") -> Target:
    baseline = "tpe" if peer == "plait-threads" else "ppe"
    return Target(workload, peer, metric, bound, baseline=baseline)


def _at_most(workload: str, metric: str, bound: float, unit: str, peer: str = "plait-processes") -> Target:
    return Target(workload, peer, metric, bound, at_least=False, unit=unit)


TARGETS: tuple[Target, ...] = (
    _ratio("noop-10k", 12),
    _at_most("noop-10k", "cpu_us", 25, "µs per task"),
    _at_most("noop-10k", "submit_us", 10, "µs per call"),
    _ratio("noop-10k", 0.6, peer="plait-threads"),
    _ratio("noop-100k", 30, peer="plait-map"),
    Target("latency", "plait-processes", "p50_us", 0.6, at_least=False, baseline="ppe"),
    _ratio("chain", 2.5),
    _ratio("layers", 4),
    _ratio("tree", 8),
    _ratio("payload-1mb", 4, "mb_per_s"),
    _ratio("payload-50mb", 7, "mb_per_s"),
    _at_most("memory", "kept_bytes", 800, "bytes per task"),
    _at_most("memory", "pending_bytes", 1_100, "bytes per task"),
    _at_most("million", "slow_down", 1.1, "x the first part"),
    Target("million", "plait-processes", "returned_share", 0.9, unit="of the growth"),
    Target("cold-start", "plait-processes", "import_s", 2, at_least=False, baseline="ppe"),
    _at_most("cold-start", "first_result_s", 0.4, "s"),
    _at_most("cold-start", "exit_s", 0.2, "s"),
    Target("sleeps", "plait-processes", "efficiency", 0.85),
    _ratio("shell", 0.7),
    _ratio("noop-10k", 3, peer="plait-htex"),
    _at_most("noop-10k", "cpu_us", 80, "µs per task", peer="plait-htex"),
    Target("latency", "plait-htex", "p50_us", 1.0, at_least=False, baseline="ppe"),
    _ratio("payload-50mb", 1, "mb_per_s", peer="plait-htex"),
    Target("sleeps", "plait-htex", "efficiency", 0.7),
    _at_most("cold-start", "first_result_s", 1.0, "s", peer="plait-htex"),
    _at_most("cold-start", "exit_s", 1.0, "s", peer="plait-htex"),
    _at_most("workers-up", "up_s", 1.0, "s", peer="plait-htex"),
    Target("exchange", "plait-htex", "rate", 40_000, unit="tasks per CPU second"),
    _at_most("exchange", "slower_with_many", 1.2, "x with 2 managers", peer="plait-htex"),
    _at_most("exchange", "queued_bytes", 1_024, "bytes per task", peer="plait-htex"),
    _at_most("exchange", "heartbeat_cores", 0.1, "of a core", peer="plait-htex"),
    _at_most("simulator", "cpu_us", 120, "µs per task", peer="plait-htex"),
)
