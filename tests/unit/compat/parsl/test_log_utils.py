from __future__ import annotations

import io
import logging

from plait.compat.parsl import set_file_logger, set_stream_logger


def test_a_stream_gets_the_log_until_it_is_taken_away():
    stream = io.StringIO()
    log = logging.getLogger("parsl")
    before = (log.level, list(log.handlers), list(logging.getLogger("concurrent.futures").handlers))
    detach = set_stream_logger(stream=stream, format_string="%(message)s")
    log.debug("seen")
    logging.getLogger("concurrent.futures").error("seen too")
    detach()
    log.error("unseen")
    assert stream.getvalue() == "seen\nseen too\n"
    assert (log.level, log.handlers, logging.getLogger("concurrent.futures").handlers) == before


def test_a_file_gets_the_log_at_the_level_asked_for(tmp_path):
    detach = set_file_logger(str(tmp_path / "out"), name="parsl.mine", level=logging.WARNING)
    logging.getLogger("parsl.mine").info("unseen")
    logging.getLogger("parsl.mine").warning("seen")
    detach()
    assert (tmp_path / "out").read_text().endswith("WARNING: seen\n")
    assert "unseen" not in (tmp_path / "out").read_text()
