from __future__ import annotations

import logging

from plait.compat.parsl.logconfigs.file import FileLogging


def test_lines_in_a_file_of_the_name(tmp_path):
    end = FileLogging(format_string="%(levelname)s %(message)s", level=logging.INFO).initialize_logging(
        log_dir=tmp_path, log_name="run"
    )
    logging.getLogger("parsl").info("one")
    logging.getLogger("parsl").debug("two")
    end()
    logging.getLogger("parsl").error("three")
    assert (tmp_path / "run.log").read_text() == "INFO one\n"
