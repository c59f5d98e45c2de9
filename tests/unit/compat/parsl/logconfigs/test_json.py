from __future__ import annotations

import json
import logging

from plait.compat.parsl.logconfigs.json import JSONHandler, JSONLogging


def test_one_object_a_line_of_all_that_is_logged(tmp_path):
    end = JSONLogging(level=logging.INFO).initialize_logging(log_dir=tmp_path, log_name="run")
    logging.getLogger("any").info("of %s", "others", extra={"parsl.task": 3, "else": 4})
    try:
        raise ValueError("boo")
    except ValueError:
        logging.getLogger("parsl").exception("failed")
    end()
    logging.getLogger("any").error("after the end")
    first, second = map(json.loads, (tmp_path / "run.jsonlog").read_text().splitlines())
    assert (first["formatted"], first["name"], first["parsl.task"], first["levelname"]) == (
        "of others",
        "any",
        3,
        "INFO",
    )
    assert "else" not in first
    assert (first["msg"], first["funcname"]) == ("of %s", "test_one_object_a_line_of_all_that_is_logged")
    assert "ValueError: boo" in second["exc_text"]


def test_a_line_that_cannot_be_written_ends_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", True)
    handler = JSONHandler(tmp_path / "run.jsonlog")
    handler.handle(logging.makeLogRecord({"msg": "%d", "args": ("no number",)}))
    handler.close()
    assert "Logging error" in capsys.readouterr().err
