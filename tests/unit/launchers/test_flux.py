from __future__ import annotations

import pytest

from plait.launchers.flux import FluxRunLauncher
from tests.unit.launchers.fake import Fake


@pytest.mark.parametrize(("tasks", "nodes"), [(1, 1), (1, 4), (3, 2)])
def test_the_command_line(tmp_path, tasks, nodes):
    fake = Fake(tmp_path, "flux")
    done = fake.bash(FluxRunLauncher(overrides="-o 'b c'")("echo it; exit 5", tasks, nodes, str(tmp_path)))
    assert (done.returncode, done.stdout) == (5, "it\n")
    assert fake.argv() == [
        "run", f"--nodes={nodes}", f"--tasks-per-node={tasks}", "--exclusive", "--label-io", "-o", "b c", "/bin/bash", "FILE",
    ]  # fmt: skip
