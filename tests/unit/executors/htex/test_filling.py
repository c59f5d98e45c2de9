from __future__ import annotations

from plait.executors.htex import messages as m
from plait.executors.htex.filling import BATCH_TASKS, PLACE_TASKS, RETRACT_S
from plait.executors.htex.placement import Pack
from tests.unit.executors.htex.core_lab import PLAIN, Lab, counts, item, lab_of


# ------------------------------------------------------------------ plain tasks
def test_few_tasks_are_spread():
    lab = lab_of(4, 4)
    lab.offer_plain(4)
    assert counts(lab.place()) == {"a": 2, "b": 2}


def test_few_tasks_are_packed_if_the_policy_says_so():
    lab = lab_of(4, 4, policy=Pack())
    lab.offer_plain(5)
    assert counts(lab.place()) == {"a": 4, "b": 1}


class Without:
    """A selector that leaves some managers out."""

    def __init__(self, *names):
        self.names = set(names)

    def sort_managers(self, ready_managers, manager_list):
        return sorted(manager_list - self.names)


def test_who_is_left_out_gets_nothing_however_many_wait():
    selector = Without("a", "c")
    lab = lab_of(2, 2, 2, policy=selector)
    lab.core.mean_s = 1.0
    lab.offer_plain(20)
    assert counts(lab.place()) == {"b": 2}
    assert lab.place() == {}
    selector.names = {"a"}
    assert counts(lab.place()) == {"c": 2}, "it is asked each time"
    lab.ends("b", 1, 2, seconds=1.0)
    assert counts(lab.place()) == {"b": 2}


def test_a_selector_that_fails_is_replaced_while_many_wait_too():
    class Wrong:
        def sort_managers(self, ready_managers, manager_list):
            raise ZeroDivisionError

    lab = lab_of(2, 2, policy=Wrong(), forgiving=True)
    lab.offer_plain(20)
    lab.core.place(0.0)
    assert "ZeroDivisionError" in lab.core.out[0][1].text
    assert {conn for conn, _ in lab.take(m.Tasks)} == {"a", "b"}


def test_free_workers_go_first_and_nobody_waits_behind_long_tasks():
    lab = lab_of(2, 4)
    lab.core.mean_s = 1.0
    lab.offer_plain(20)
    assert counts(lab.place()) == {"a": 2, "b": 4}
    assert len(lab.core.queue) == 14


def test_short_tasks_wait_behind_others_so_that_no_worker_idles():
    lab = lab_of(2, 2)
    lab.core.mean_s = 0.001
    lab.offer_plain(1000)
    assert counts(lab.place()) == {"a": 42, "b": 42}  # 20 ms of work for each worker


def test_a_prefetch_that_was_asked_for_is_given():
    lab = Lab()
    lab.comes("a", workers=2, prefetch=5)
    lab.core.mean_s = 10.0
    lab.offer_plain(100)
    assert counts(lab.place()) == {"a": 7}


def test_while_many_wait_managers_are_filled_with_large_batches():
    lab = lab_of(*[4] * 8)
    lab.core.mean_s = 1e-5
    lab.offer_plain(2000)
    lab.core.place(0.0)
    batches = [len(message.items) for _, message in lab.take(m.Tasks)]
    assert batches == [BATCH_TASKS] * 7 + [2000 - 7 * BATCH_TASKS]


def test_a_manager_with_enough_to_do_is_not_sent_single_tasks():
    lab = lab_of(2)
    lab.core.mean_s = 1e-4
    tasks = lab.offer_plain(2000)
    first = lab.place()["a"]
    assert first == tasks[: len(first)]
    lab.ends("a", *first[:10], seconds=1e-4)
    assert lab.place() == {}
    lab.ends("a", *first[10:90], seconds=1e-4)
    assert len(lab.place()["a"]) >= 64


def test_batches_are_bounded_by_bytes():
    lab = lab_of(2)
    lab.core.mean_s = 1e-5
    lab.driver(m.Offer([item(task, payload=b"x" * 50_000) for task in range(100)]))
    lab.core.place(0.0)
    assert max(len(message.items) for _, message in lab.take(m.Tasks)) <= 7


def test_one_call_places_a_bounded_number_and_says_that_there_is_more():
    lab = lab_of(*[200] * 8)
    lab.core.mean_s = 1e-6
    lab.offer_plain(2 * PLACE_TASKS)
    assert lab.core.place(0.0) is True
    assert sum(len(message.items) for _, message in lab.take(m.Tasks)) < PLACE_TASKS + BATCH_TASKS
    assert lab.core.place(0.0) is True
    assert lab.core.place(0.0) is False


def test_the_driver_hears_of_it_first_and_the_manager_knows_the_function():
    lab = lab_of(2)
    lab.offer(PLAIN, m.Ask(priority=1.0))
    lab.core.place(0.0)
    assert [type(message) for _, message in lab.take()] == [m.Placed, m.Function, m.Tasks]
    lab.offer(PLAIN)
    lab.core.place(0.0)
    assert [type(message) for _, message in lab.take()] == [m.Placed, m.Tasks]


def test_placing_looks_at_no_manager_without_room():
    lab = Lab()
    for number in range(300):
        lab.comes(f"m{number}", workers=2)
    lab.core.mean_s = 1e-5
    lab.offer_plain(2000)
    for number in range(300):
        lab.ends(f"m{number}")
    while lab.core.place(0.0):
        pass
    lab.offer_plain(300 * 600)
    while lab.core.place(0.0):
        pass
    assert len(lab.core._filler.line) == 0  # all are full
    one = lab.core.managers["m7"]
    lab.ends("m7", *list(one.held)[:70], seconds=1e-5)
    assert list(lab.core._filler.line) == [one]


# ------------------------------------------------------------------ taking back
def long_behind_short(*, name="b"):
    """Short tasks were expected, so that some wait at manager a, whose workers are busy; the other has nothing to do."""
    lab = lab_of(2)
    lab.core.mean_s = 0.005
    tasks = lab.offer_plain(8)
    assert lab.place() == {"a": tasks}
    lab.comes(name, workers=4)
    lab.take()
    return lab, tasks


def test_tasks_that_wait_in_the_wrong_place_are_called_back():
    lab, tasks = long_behind_short()
    assert lab.core.next_tick_s(0.0) <= RETRACT_S
    lab.at(RETRACT_S / 2)
    assert lab.take(m.Recall) == []
    lab.at(RETRACT_S)
    assert lab.only(m.Recall, "a") == m.Recall(4)
    lab.says("a", m.Returned([(task, 1) for task in tasks[-4:]]))
    assert lab.place() == {"b": tasks[-4:]}


def test_one_that_gave_back_gets_nothing_to_wait_before_it_has_delivered():
    lab, tasks = long_behind_short()
    lab.says("a", m.Returned([(task, 1) for task in tasks[2:]]))
    assert lab.place() == {"b": tasks[2:]}
    lab.offer_plain(50)
    assert counts(lab.place()) == {"b": 14}
    lab.ends("a", tasks[0], seconds=0.005)
    assert counts(lab.place())["a"] > 2


def test_a_recall_is_not_repeated_before_it_was_answered():
    lab, _ = long_behind_short()
    lab.at(RETRACT_S)
    assert len(lab.take(m.Recall)) == 1
    lab.at(2 * RETRACT_S)
    assert lab.take(m.Recall) == []
    lab.says("a", m.Returned([]))
    lab.at(4 * RETRACT_S)
    assert len(lab.take(m.Recall)) == 1


def test_a_manager_that_delivers_is_left_alone():
    lab, tasks = long_behind_short()
    lab.now_s = RETRACT_S / 2
    lab.ends("a", tasks[0], seconds=0.005)
    lab.at(RETRACT_S)
    assert lab.take(m.Recall) == []


def test_tasks_are_called_back_for_an_urgent_one_too():
    lab = Lab()
    lab.comes("a", workers=2, prefetch=4)
    lab.core.mean_s = 10.0
    lab.offer_plain(20)
    lab.place()
    lab.offer(m.Ask(priority=1.0))
    lab.place()
    lab.at(RETRACT_S)
    assert lab.only(m.Recall, "a") == m.Recall(1)


def test_the_one_that_is_kept_free_gives_back_what_waits_there():
    lab = Lab()
    lab.comes("a", workers=2, prefetch=4)
    lab.core.mean_s = 10.0
    lab.offer_plain(6)
    lab.place()
    lab.offer(m.Ask(cores=2, priority=1.0))
    lab.core.place(0.0)
    assert lab.only(m.Recall, "a") == m.Recall(4)
