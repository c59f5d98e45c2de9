from __future__ import annotations

from plait.compat.parsl.logconfigs.base import LogConfig, oneshot_initialize_logging, oneshot_uninitialize_logging


class Counting(LogConfig):
    def __init__(self):
        super().__init__()
        self.calls = []

    def initialize_logging(self, *, log_dir, log_name):
        self.calls.append(log_name)
        return lambda: self.calls.append("end")


def test_one_log_is_begun_once_and_ended_with_its_last_user(tmp_path):
    config = Counting()
    for name in ("first", "second"):
        oneshot_initialize_logging(log_config=config, log_dir=tmp_path, log_name=name)
    oneshot_uninitialize_logging(log_config=config)
    assert config.calls == ["first"]
    oneshot_uninitialize_logging(log_config=config)
    assert config.calls == ["first", "end"]
    oneshot_initialize_logging(log_config=config, log_dir=tmp_path, log_name="again")
    oneshot_uninitialize_logging(log_config=config)
    assert config.calls == ["first", "end", "again", "end"]


def test_each_has_an_identity():
    assert Counting().uuid != Counting().uuid
