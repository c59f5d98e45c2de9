from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.model.units import format_bytes, format_duration, is_utf8, parse_bytes, parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (5, 5),
        (Fraction(5), 5),
        (1.9, 1),
        ("5", 5),
        ("5B", 5),
        ("4GB", 4 * 10**9),
        ("4 gb", 4 * 10**9),
        ("4G", 4 * 10**9),
        ("1.5k", 1500),
        (".5MB", 500_000),
        ("512MiB", 512 * 2**20),
        ("2TiB", 2**41),
        (0, 0),
    ],
)
def test_bytes(text, expected):
    assert parse_bytes(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GB",
        "4XB",
        "4 G B",
        "-1",
        -1,
        True,
        None,
        [],
        float("inf"),
        float("nan"),
        "1e3",
        10**400,
        "9" * 400,
        "9" * 300 + "TB",
    ],
)
def test_what_is_no_size_is_named(text):
    with pytest.raises(ValueError, match=r"^mem=.*expected a number of bytes or text such as") as caught:
        parse_bytes(text, "mem")
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (5, 5),
        (Fraction(1, 2), 0.5),
        (0.5, 0.5),
        ("5", 5),
        ("90s", 90),
        ("500ms", 0.5),
        ("10m", 600),
        ("10 min", 600),
        ("1h30m", 5400),
        ("1h 30m 5s", 5405),
        ("2d", 172_800),
        ("01:30:00", 5400),
        ("2-01:00:00", 49 * 3600),
        ("05:30", 330),
        (0, 0),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "soon",
        "1x",
        "1:2:3:4",
        ":",
        "1:",
        "-1",
        -1,
        True,
        None,
        float("inf"),
        float("nan"),
        "1h-5m",
        10**400,
        -(10**400),
        "9" * 400,
        "9" * 400 + ":00",
        "²:00",
        "²-01:00:00",
    ],
)
def test_what_is_no_duration_is_named(text):
    with pytest.raises(ValueError, match=r"^limit=.*expected seconds") as caught:
        parse_duration(text, "limit")
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_500_000, "1.5 MB"),
        (4e9, "4.0 GB"),
        (4e12, "4.0 TB"),
        (4e15, "4000.0 TB"),
        (-2000, "-2.0 kB"),
    ],
)
def test_format_bytes(count, text):
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.35, "350 ms"),
        (1, "1.0 s"),
        (12.34, "12.3 s"),
        (60, "1m00s"),
        (245, "4m05s"),
        (3599.6, "1h00m"),
        (7380, "2h03m"),
        (360_000, "100h00m"),
    ],
)
def test_format_duration(seconds, text):
    assert format_duration(seconds) == text


@settings(derandomize=True, max_examples=50)
@given(st.integers(0, 359_999))
def test_clocks_are_read_as_they_are_written(seconds):
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    assert parse_duration(text) == seconds


def test_text_that_can_be_sent():
    assert is_utf8("a ü €")
    assert not is_utf8("a\udc80")
