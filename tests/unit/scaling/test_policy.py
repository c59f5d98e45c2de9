from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.config import STRATEGIES as NAMES
from plait.scaling.policy import (
    STRATEGIES,
    BlockView,
    HtexAutoScale,
    Limits,
    NoScaling,
    Simple,
    View,
    blocks_text,
    policy_of,
)


def view(blocks=(), tasks=0, quiet=0.0, workers=4, wanted=None, base=1, idletime=120.0, **limits):
    """Blocks are given as numbers of workers (None: not up yet), or as `BlockView`."""
    limits = {"max_blocks": 10, **limits}
    views = [b if isinstance(b, BlockView) else BlockView(str(n), b) for n, b in enumerate(blocks)]
    return View(views, tasks, wanted, quiet, workers, Limits(**limits), idletime, base)


def test_every_name_of_the_configuration_has_its_policy():
    assert set(NAMES) == set(STRATEGIES)
    for name, policy in STRATEGIES.items():
        assert type(policy_of(name)) is policy
    assert isinstance(policy_of(None), NoScaling)
    mine = Simple()
    assert policy_of(mine) is mine


# ------------------------------------------------------------------ more
@pytest.mark.parametrize(
    ("given", "add"),
    [
        (view(tasks=1), 1),
        (view(tasks=8), 2),
        (view(tasks=9), 3),
        (view([4], tasks=9), 2),
        (view([None], tasks=9), 2),
        (view([4, 4], tasks=8), 0),
        (view(tasks=1000), 10),
        (view([4] * 10, tasks=1000), 0),
        (view(tasks=9, parallelism=0.5), 2),
        (view([4], tasks=8, parallelism=0.5), 0),
        (view(tasks=100, parallelism=0), 1),
        (view([4], tasks=100, parallelism=0), 0),
        (view(tasks=3, wanted=24.0), 6),
        (view([4], tasks=8, wanted=2.0), 0),
        (view(tasks=1, max_blocks=0), 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("policy", [Simple(), HtexAutoScale()])
def test_blocks_follow_the_tasks(policy, given, add):
    assert policy.decide(given).add == add


@pytest.mark.parametrize("policy", [Simple(), HtexAutoScale()])
def test_while_the_size_of_a_block_is_unknown_one_shows_it(policy):
    """Without this a thousand tasks would request all blocks there may be."""
    assert policy.decide(view(tasks=1000, workers=None)).add == 1
    decision = policy.decide(view([None], tasks=1000, workers=None))
    assert decision.add == 0
    assert "not known before its first manager is up" in decision.why


@pytest.mark.parametrize("policy", [Simple(), HtexAutoScale(), NoScaling()])
def test_min_blocks_is_a_floor_that_is_kept(policy):
    """Also without any task, and however often blocks end."""
    decision = policy.decide(view([4], min_blocks=3))
    assert decision.add == 2
    assert decision.why == "requests 2 blocks: 1 of the 3 that min_blocks keeps are there"
    assert policy.decide(view([4, 4, 4], min_blocks=3, quiet=1e6)).remove == ()


@pytest.mark.parametrize("policy", [Simple(), HtexAutoScale()])
def test_a_block_that_is_given_back_counts_for_its_nodes_and_not_for_the_tasks(policy):
    leaving = BlockView("0", 4, leaving=True)
    assert policy.decide(view([leaving], tasks=4)).add == 1
    assert policy.decide(view([leaving], tasks=4, max_blocks=1)).add == 0


# ------------------------------------------------------------------ fewer
@pytest.mark.parametrize("policy", [Simple(), HtexAutoScale()])
def test_without_tasks_all_but_the_floor_are_given_back_after_a_while(policy):
    assert policy.decide(view([4, 4, 4], min_blocks=1, quiet=119.0)).remove == ()
    decision = policy.decide(view([4, 4, 4], min_blocks=1, quiet=121.0))
    assert len(decision.remove) == 2
    assert decision.why == "gives back 2 blocks: there has been no task for 121 s (max_idletime 120 s)"


@pytest.mark.parametrize("policy", [Simple(), HtexAutoScale()])
def test_first_those_that_are_not_up_yet_then_those_that_have_been_idle_longest(policy):
    blocks = [BlockView("a", 4, idle_s=200.0), BlockView("b", 4, idle_s=300.0), BlockView("c"), BlockView("d")]
    chosen = [policy.decide(view(blocks, min_blocks=keep, quiet=500.0)).remove for keep in (3, 2, 1, 0)]
    assert chosen == [("d",), ("d", "c"), ("d", "c", "b"), ("d", "c", "b", "a")]


def idle(seconds):
    return BlockView(f"idle{seconds}", 4, idle_s=seconds)


def busy(name):
    return BlockView(name, 4)


def test_with_tasks_only_htex_auto_scale_gives_back_what_is_idle():
    given = view([busy("a"), idle(200.0), idle(300.0), idle(5.0)], tasks=3)
    assert Simple().decide(given).remove == ()
    decision = HtexAutoScale().decide(given)
    assert decision.remove == ("idle300.0", "idle200.0")
    assert (
        decision.why
        == "gives back 2 blocks: idle for 200 s (max_idletime 120 s), and 3 tasks need no more than the other 2"
    )


def test_but_never_so_many_that_the_tasks_would_want_them_again():
    assert HtexAutoScale().decide(view([busy("a"), idle(200.0)], tasks=5)).remove == ()
    assert HtexAutoScale().decide(view([busy("a"), idle(200.0)], tasks=4)).remove == ("idle200.0",)


def test_nor_the_last_one_while_there_are_tasks():
    assert HtexAutoScale().decide(view([idle(200.0)], tasks=4, parallelism=0)).remove == ()


def test_of_blocks_of_different_sizes_the_ones_that_would_be_missed_stay():
    big = BlockView("big", 16, idle_s=500.0)
    assert HtexAutoScale().decide(view([busy("a"), busy("b"), big], tasks=10)).remove == ()


# ------------------------------------------------------------------ none
def test_none_does_not_scale_but_replaces_what_is_lost_while_there_is_work():
    assert NoScaling().decide(view([4], tasks=1000)).add == 0
    assert NoScaling().decide(view([4], quiet=1e6)).remove == ()
    assert NoScaling().decide(view([], tasks=1, base=3)).add == 3
    assert NoScaling().decide(view([], tasks=0, base=3)).add == 0


# ------------------------------------------------------------------ sentences
@pytest.mark.parametrize(
    ("policy", "given", "why"),
    [
        (Simple(), view(tasks=8), "requests 2 blocks: 8 tasks for no block (at most 10 blocks)"),
        (Simple(), view([4], tasks=9), "requests 2 blocks: 9 tasks for 4 workers in 1 block (at most 10 blocks)"),
        (Simple(), view([4], tasks=1), "keeps 1 block with 4 workers: enough for 1 task"),
        (Simple(), view([4], tasks=9, max_blocks=1), "keeps 1 block with 4 workers: max_blocks=1 is reached, for 9 tasks"),
        (Simple(), view([4, 4], quiet=7.0), "keeps 2 blocks: no task, for 7 s now"),
        (NoScaling(), view([4, 4], tasks=99, base=2), "keeps 2 blocks: strategy 'none' does not scale"),
        (NoScaling(), view([4], tasks=9, base=2), "requests 1 block: 1 of the 2 that there were are there"),
    ],
)  # fmt: skip
def test_each_decision_says_why(policy, given, why):
    assert policy.decide(given).why == why


def test_one_is_not_many():
    assert [blocks_text(n) for n in (0, 1, 2)] == ["0 blocks", "1 block", "2 blocks"]


# ------------------------------------------------------------------ properties
@st.composite
def views(draw):
    most = draw(st.integers(0, 12))
    limits = Limits(
        init_blocks=draw(st.integers(0, most)),
        min_blocks=draw(st.integers(0, most)),
        max_blocks=most,
        nodes_per_block=draw(st.integers(1, 3)),
        parallelism=draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])),
    )
    block = st.builds(
        BlockView, st.just(""), st.none() | st.integers(1, 64), st.booleans(), st.none() | st.floats(0, 1000)
    )
    blocks = draw(st.lists(block, max_size=most))
    blocks = [BlockView(str(n), b.workers, b.leaving, b.idle_s if b.workers else None) for n, b in enumerate(blocks)]
    tasks = draw(st.integers(0, 3) | st.integers(0, 100_000))
    wanted = draw(st.none() | st.floats(0, 1e6)) if tasks else None
    quiet = 0.0 if tasks else draw(st.floats(0, 1000))
    workers = draw(st.none() | st.integers(1, 64))
    return View(
        blocks,
        tasks,
        wanted,
        quiet,
        workers,
        limits,
        draw(st.sampled_from([0.0, 10.0, 120.0])),
        draw(st.integers(0, most)),
    )


POLICIES = st.sampled_from([NoScaling(), Simple(), HtexAutoScale()])


def after(given, decision):
    """The view once the decision was carried out: new blocks are queued, and what is given back has not ended yet."""
    old = [dataclasses.replace(b, leaving=b.leaving or b.id in decision.remove) for b in given.blocks]
    return dataclasses.replace(given, blocks=[*old, *(BlockView(f"new{n}") for n in range(decision.add))])


@given(POLICIES, views())
def test_there_are_never_more_than_max_blocks(policy, given):
    decision = policy.decide(given)
    assert 0 <= decision.add <= max(0, given.limits.max_blocks - len(given.blocks))


@given(POLICIES, views())
def test_nothing_is_given_back_that_is_not_there_or_already_leaving(policy, given):
    decision = policy.decide(given)
    assert set(decision.remove) <= {block.id for block in given.active}
    assert len(set(decision.remove)) == len(decision.remove)
    if decision.remove:
        assert decision.add == 0
        assert len(given.active) - len(decision.remove) >= given.limits.min_blocks


@given(POLICIES, views())
def test_a_decision_is_final(policy, given):
    """Once it was carried out the same policy has nothing to add, and takes back nothing that it has just requested."""
    decision = policy.decide(given)
    second = policy.decide(after(given, decision))
    assert second.add == 0
    if decision.add and given.tasks:
        assert second.remove == ()


@given(POLICIES, views())
def test_there_is_always_a_block_for_a_task(policy, given):
    decision = policy.decide(given)
    may = given.limits.max_blocks > len(given.blocks) and (given.base or not isinstance(policy, NoScaling))
    if given.tasks and may:
        assert len(given.active) + decision.add - len(decision.remove) >= 1


@given(POLICIES, views())
def test_there_is_always_a_sentence(policy, given):
    why = policy.decide(given).why
    assert why
    assert not why.endswith(".")
    assert "None" not in why
