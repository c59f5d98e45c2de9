"""``parsl.executors.high_throughput.mpi_prefix_composer``: what a specification that cannot be met raises."""

from __future__ import annotations

from plait.errors import InvalidResourceSpecification

__all__ = ["InvalidResourceSpecification", "MissingResourceSpecification"]

#: What upstream once raised for an empty one.
MissingResourceSpecification = InvalidResourceSpecification
