from __future__ import annotations

import json

import pytest

from plait.executors.htex import messages as m
from plait.executors.htex.answers import answer, describe
from plait.executors.htex.answers import why as why_not
from tests.unit.executors.htex.core_lab import Lab


def queue(lab):
    lab.core.place(lab.now_s)
    return json.loads(answer(lab.core, lab.core._filler, "queue", lab.now_s))


def why(lab):
    return [each["why"] for each in queue(lab)["waiting"]]


def test_nobody_is_there():
    lab = Lab()
    lab.offer(m.Ask())
    assert why(lab) == ["no manager is connected"]


def test_nobody_could_ever_take_it():
    lab = Lab()
    for name in "abcde":
        lab.comes(name, workers=2)
    lab.comes("f", workers=4)
    lab.offer(m.Ask(cores=16))
    assert why(lab) == [
        "none of 6 connected managers could ever take it (host of a: 16 cores asked, it has 2 / host of f: 16 cores asked, it has 4)"
    ]


def test_only_a_few_are_named():
    lab = Lab()
    for number in range(1, 9):
        lab.comes(f"m{number}", workers=number)
    lab.offer(m.Ask(cores=16))
    assert why(lab)[0].endswith("/ and 5 more)")


def test_those_that_could_may_not():
    lab = Lab()
    lab.comes("a")
    lab.driver(m.Hold("a", True))
    lab.offer(m.Ask())
    assert why(lab) == ["of 1 managers 1 could take it, but are held back or drain"]


def test_it_waits_for_room():
    lab = Lab()
    lab.comes("a", workers=2)
    lab.core.mean_s = 2.0
    lab.offer_plain(2)
    lab.place()
    lab.offer(m.Ask(cores=2), m.Ask(label="x"))
    assert why(lab) == [
        "manager a on host of a is kept free for it, which should take 2.0 s",
        "it waits for room on one of 1 managers that could take it",
    ]


def test_kinds_of_tasks_are_counted_in_their_order():
    lab = Lab()
    lab.offer(*[m.Ask(cores=2)] * 3, *[m.Ask(priority=1.0, label="x")] * 2)
    lab.offer_plain(5)
    lab.now_s = 7.0
    facts = queue(lab)
    assert (facts["plain"], facts["special"], facts["placed"], facts["managers"]) == (5, 5, 0, 0)
    assert [
        (each["task"], each["tasks"], each["label"], each["priority"], each["waited_s"]) for each in facts["waiting"]
    ] == [
        (4, 2, "x", 1.0, 7.0),
        (1, 3, "", None, 7.0),
    ]


@pytest.mark.parametrize(
    ("ask", "text"),
    [
        (m.Ask(), "1 core"),
        (m.Ask(cores=2.5, gpus=1), "2.5 cores, 1 GPU"),
        (
            m.Ask(memory_bytes=2 * 10**9, gpus=0.5, disk_bytes=10**6, walltime_s=90),
            "1 core, 2.0 GB, 0.5 GPUs, 1.0 MB of disk, 1m30s",
        ),
    ],
)
def test_what_is_asked_for_in_words(ask, text):
    assert describe(ask) == text


# ------------------------------------------------------------------ whole nodes
def test_why_a_task_over_nodes_waits():
    lab = Lab()
    for name in ("a1", "a2"):
        lab.comes(name, block="a", node=f"node of {name}")
    ask = m.Ask(nodes=2, ranks_per_node=2)
    assert describe(ask) == "2 nodes with 2 ranks each"
    lab.core.special_mean_s = 100.0
    lab.offer(m.Ask(nodes=1, walltime_s=60.0))
    lab.place()
    lab.offer(ask)
    lab.place()
    text = why_not(lab.core, lab.core._filler, ask, 0.0)
    assert text == "node of a2, node of a1 of block a are kept free for it, which should take 1m00s"
    assert "3 nodes of one block asked; of connected managers that could take part, block a has most, 2" in why_not(
        lab.core, lab.core._filler, m.Ask(nodes=3), 0.0
    )
    lab.core.gangs_wait = True
    assert "may still come back" in why_not(lab.core, lab.core._filler, m.Ask(nodes=1), 0.0)


def test_why_a_task_waits_for_nodes_that_one_manager_gives_away():
    lab = Lab()
    lab.comes("a", hosts=["n1", "n2"], block="7", workers=2)
    lab.offer(m.Ask(nodes=1, walltime_s=60.0), m.Ask(nodes=2))
    lab.place()
    assert why_not(lab.core, lab.core._filler, m.Ask(nodes=2), 0.0).startswith("n1, n2 of block 7 are kept free for it")
