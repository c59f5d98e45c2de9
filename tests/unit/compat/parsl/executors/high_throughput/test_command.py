from __future__ import annotations

import pytest

from plait.compat.parsl.executors.high_throughput.command import interchange_command, launch_command

#: As upstream's own template, shortened.
POOL = "process_worker_pool.py {debug} -a {addresses} -p {prefetch_capacity} --block_id={{block_id}}"
MODULE = "parsl.executors.high_throughput.process"
OURS = "-m plait.executors.htex.manager {config}"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (POOL, f"{{python}} {OURS}"),
        (f"PYTHONPATH=. {POOL}", f"PYTHONPATH=. {{python}} {OURS}"),
        (f"/opt/env/bin/{POOL}", f"/opt/env/bin/python {OURS}"),
        (f"singularity exec tools.sif {POOL}", f"singularity exec tools.sif python3 {OURS}"),
        (f"echo {{{{block_id}}}}; {POOL}", f"echo {{block_id}}; {{python}} {OURS}"),
        (f"{POOL} > log 2>&1", f"{{python}} {OURS} > log 2>&1"),
        (f"docker run img python3 -m {MODULE}_worker_pool {{debug}} ; ls", f"docker run img python3 {OURS} ; ls"),
        (f"mytool {OURS}", f"mytool {OURS}"),
        ("mytool -b {{block_id}} ${{HOME}}", "mytool -b {block_id} ${{HOME}}"),
    ],
)
def test_commands_of_blocks(given, expected):
    assert launch_command(given) == expected


def test_what_is_no_command_is_left_to_be_refused():
    assert launch_command(None) is None


def test_commands_of_the_interchange():
    assert interchange_command(None) == interchange_command(["interchange.py"]) == []
    assert interchange_command(["mine", "x"]) == ["mine", "x"]
    assert interchange_command(["python3", "-m", "parsl.executors.high_throughput.interchange"]) == []
    assert interchange_command(["nice", "/opt/bin/interchange.py"])[0] == "nice"
    assert "plait.executors.htex.interchange" in interchange_command(["nice", "interchange.py"])[-1]
