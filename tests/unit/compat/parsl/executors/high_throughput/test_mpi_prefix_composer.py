from __future__ import annotations

from plait.compat.parsl.executors.errors import InvalidResourceSpecification as Upstream
from plait.compat.parsl.executors.high_throughput.mpi_prefix_composer import InvalidResourceSpecification


def test_there_is_one_error():
    assert InvalidResourceSpecification is Upstream
