from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from plait.simulate import Machine, charts, simulate
from plait.simulate.result import Result


@pytest.fixture(scope="module")
def result():
    work = {
        "name": "a<b",
        "bag": {
            "first": {"tasks": 40, "duration": 10, "fail": 0.2},
            "<last>": {"tasks": 3, "duration": 1, "each": "first"},
        },
    }
    return simulate(work, Machine(nodes=2, workers=4, failures_per_hour=30, retries=5), seed=5)


def test_bins_are_means():
    assert charts.binned([0.0, 2.0], [4.0, 8.0], 4.0, 4) == [4.0, 4.0, 8.0, 8.0]
    assert charts.binned([0.0, 1.0], [4.0, 8.0], 4.0, 2) == [6.0, 8.0]
    assert charts.binned([], [], 4.0, 2) == [0.0, 0.0]


def test_text(result):
    text = charts.text(result, 80)
    assert text.startswith("a<b: 43 tasks on 2 nodes × 4 workers, policy spread, seed 5")
    for word in (
        "makespan",
        "utilisation",
        "core-hours",
        "failed",
        "lost",
        "blocks",
        "interchange",
        "µs per task",
        "█",
    ):
        assert word in text
    assert max(map(len, text.splitlines())) < 130
    assert all(len(line) <= 80 for line in text.splitlines() if "▕" in line)


def test_text_of_something_that_did_not_end():
    stuck = Result("w", "spread", 0, 1, 1, 2, unfinished=2, stuck="nobody has 9 cores")
    assert "It came to no end: nobody has 9 cores" in charts.text(stuck)
    assert "2 unfinished" in charts.text(stuck)
    assert "nobody has 9 cores" in charts.page(stuck)


def test_the_page_loads_nothing_and_escapes_names(result):
    page = charts.page(result)
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert "a&lt;b" in page
    assert "&lt;last&gt;" in page
    assert "<last>" not in page


def test_the_picture_is_a_picture(result):
    root = ET.fromstring(charts.picture(result))
    assert root.tag.endswith("svg")
    assert len(charts.picture(result)) < 200_000


def test_files(tmp_path, result):
    for name, begin in (("c.svg", "<svg"), ("c.html", "<!DOCTYPE html>")):
        charts.write_chart(result, str(tmp_path / name))
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(begin)
    with pytest.raises(OSError):
        charts.write_chart(result, str(tmp_path / "none" / "c.svg"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.html", "c.svg"]
