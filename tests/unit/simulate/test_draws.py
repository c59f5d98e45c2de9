from __future__ import annotations

import pytest

from plait.errors import ConfigurationError
from plait.simulate.draws import constant, key_of, parse_draw, parse_size, uniform


def sample(draw, count=20_000):
    key = key_of(1, "sample")
    return [draw.at(uniform(key, place)) for place in range(count)]


def test_a_draw_depends_on_seed_name_and_place_only():
    assert uniform(key_of(1, "a"), 7) == uniform(key_of(1, "a"), 7)
    numbers = {uniform(key_of(seed, name), place) for seed in (1, 2) for name in "ab" for place in range(100)}
    assert len(numbers) == 400
    assert all(0 < number < 1 for number in numbers)


def test_a_fixed_draw_is_no_draw():
    draw, fixed, key = parse_draw("uniform:10s,20s", "d"), parse_draw(3, "d"), key_of(1, "d")
    assert draw.draw(key, 7) == draw.at(uniform(key, 7))
    assert fixed.draw(key, 7) == 3.0


@pytest.mark.parametrize(
    ("text", "mean"),
    [
        ("uniform:10s,20s", 15.0),
        ("exponential:1m", 60.0),
        ("normal:30,5", 30.0),
        ("lognormal:10s,0.5", 11.331),
        ("pareto:10,3", 15.0),
        ("values:1,2,6", 3.0),
    ],
)
def test_distributions_have_their_mean(text, mean):
    draw = parse_draw(text, "duration")
    assert draw.mean == pytest.approx(mean, rel=1e-3)
    assert draw.fixed is None
    numbers = sample(draw)
    assert sum(numbers) / len(numbers) == pytest.approx(mean, rel=0.03)
    assert min(numbers) >= 0


@pytest.mark.parametrize(("spec", "value"), [(30, 30.0), ("30", 30.0), ("2m", 120.0), ("01:00:00", 3600.0), ([5], 5.0)])
def test_a_single_value_is_fixed(spec, value):
    draw = parse_draw(spec, "duration")
    assert (draw.fixed, draw.mean, draw.at(0.3)) == (value, value, value)


def test_sizes():
    assert parse_size("10MB", "input").fixed == 10_000_000
    assert parse_size("uniform:1MB,3MB", "input").mean == 2_000_000


def test_a_draw_and_a_list_pass():
    draw = constant(3.0)
    assert parse_draw(draw, "x") is draw
    assert parse_draw([1, "3s"], "x").mean == 2.0
    assert repr(draw) == "Draw('3')"


@pytest.mark.parametrize(
    "spec",
    [
        "gauss:1,2",
        "uniform:3",
        "uniform:5,1",
        "exponential:",
        "quickly",
        "",
        -1,
        None,
        [],
        "pareto:1",
        True,
        "lognormal:1,1000",
        "lognormal:1,nan",
        "pareto:1,0",
        "pareto:1,-1",
        "pareto:1,nan",
    ],
)
def test_what_cannot_be_read_is_named(spec):
    with pytest.raises(ConfigurationError, match=r"duration=.*expected a number"):
        parse_draw(spec, "duration")
