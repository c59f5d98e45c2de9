"""S28: what the driver's environment holds is written to no file of a run; what `env` takes away no worker and no task has."""

from __future__ import annotations

from pathlib import Path

import pytest

import plait
from plait._util import procs
from plait.testing import tasks
from tests.fault.pilot import managers, pilot_jobs, up
from tests.support import require_linux

environment = plait.python_app(tasks.environment)


@plait.bash_app
def shell(stdout=None):
    return "env; cat /proc/self/environ"


@plait.python_app
def fails():
    raise ValueError("with a traceback")


def files_with(text: bytes) -> list[Path]:
    return [path for path in Path("runs").rglob("*") if path.is_file() and text in path.read_bytes()]


def test_what_is_taken_away_is_nowhere_and_nothing_is_written_down(monkeypatch, tmp_path):
    require_linux("reads /proc")
    monkeypatch.setenv("CANARY_TOKEN", "canary-of-a-token")
    monkeypatch.setenv("CANARY_KEPT", "canary-that-is-kept")
    options = {"env": {"CANARY_TOKEN": None, "CANARY_SET": "canary-that-is-set"}, "worker_debug": True}
    with pilot_jobs(max_losses=0, initialize_logging=True, run_dir="runs", options=options) as kernel:
        up(kernel)
        assert environment("CANARY_TOKEN").result(30) is None
        assert environment("CANARY_KEPT").result(30) == "canary-that-is-kept"
        assert environment("CANARY_SET").result(30) == "canary-that-is-set"
        out = tmp_path / "out"
        shell(stdout=str(out)).result(30)
        assert b"canary-of-a-token" not in out.read_bytes()
        assert b"canary-that-is-set" in out.read_bytes()
        with pytest.raises(ValueError, match="traceback"):
            fails().result(30)
        below = [pid for manager in managers() for pid in procs.descendants(manager)]
        assert len(below) >= 2
        for pid in below:
            assert b"canary-of-a-token" not in Path(f"/proc/{pid}/environ").read_bytes()
        assert files_with(b"canary-of-a-token") == files_with(b"canary-that-is-kept") == []
    assert files_with(b"canary-of-a-token") == files_with(b"canary-that-is-kept") == []
