from __future__ import annotations

from plait.executors.htex.problems import Problems


def test_the_first_of_a_kind_is_said_and_the_next_only_later():
    problems = Problems(10.0)
    for number in range(100):
        problems.add("bad", f"sentence {number}", number * 0.01)
    problems.add("other", "another", 1.0)
    assert problems.sentences == ["sentence 0", "another"]
    problems.add("bad", "sentence 100", 10.0)
    assert problems.sentences[2] == "sentence 100 (99 more like this since the last time)"
    problems.add("bad", "sentence 101", 25.0)
    assert problems.sentences[3] == "sentence 101"
    assert problems.counts == {"bad": 102, "other": 1}


def test_a_flood_fills_nothing():
    problems = Problems(10.0)
    for number in range(100_000):
        problems.add("bad", "x" * 100, number / 1000)
    assert len(problems.sentences) == 10


def test_whoever_takes_the_sentences_clears_them():
    problems = Problems()
    problems.add("bad", "one", 0.0)
    taken = list(problems.sentences)
    problems.sentences.clear()
    problems.add("bad", "two", 100.0)
    assert (taken, problems.sentences) == (["one"], ["two"])
