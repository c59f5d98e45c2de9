"""The log on a stream and in a file."""

import io
import logging

import plait


def test_a_stream_shows_the_log_until_it_is_ended():
    stream = io.StringIO()
    end = plait.set_stream_logger(stream=stream, format_string="%(levelname)s %(message)s")
    logging.getLogger("plait").info("one")
    end()
    logging.getLogger("plait").warning("two")
    assert stream.getvalue() == "INFO one\n"


def test_a_file_gets_the_log_from_a_level_on(tmp_path):
    path = tmp_path / "log"
    end = plait.set_file_logger(str(path), level=logging.WARNING, format_string="%(message)s")
    logging.getLogger("plait").info("quiet")
    logging.getLogger("plait").warning("loud")
    end()
    assert path.read_text() == "loud\n"


def test_every_text_can_be_logged(tmp_path):
    path = tmp_path / "log"
    end = plait.set_file_logger(str(path), format_string="%(message)s")
    logging.getLogger("plait").warning("\u2192 \udcfc")
    end()
    assert path.read_text("utf-8") == "\u2192 \\udcfc\n"
