from __future__ import annotations

from plait.compat.parsl.logconfigs.noop import NoopLogging


def test_nothing_is_written(tmp_path):
    NoopLogging().initialize_logging(log_dir=tmp_path, log_name="run")()
    assert list(tmp_path.iterdir()) == []
