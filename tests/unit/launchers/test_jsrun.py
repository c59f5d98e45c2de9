from __future__ import annotations

import pytest

from plait.launchers.jsrun import JsrunLauncher
from tests.unit.launchers.fake import Fake


@pytest.mark.parametrize(("tasks", "nodes", "copies"), [(1, 1, "1"), (1, 4, "4"), (3, 2, "6")])
def test_the_command_line(tmp_path, tasks, nodes, copies):
    fake = Fake(tmp_path, "jsrun")
    done = fake.bash(JsrunLauncher(overrides="-a 'b c'")("echo it; exit 5", tasks, nodes, str(tmp_path)))
    assert (done.returncode, done.stdout) == (5, "it\n")
    assert fake.argv() == ["-n", copies, "-r", str(tasks), "-a", "b c", "/bin/bash", "FILE"]
