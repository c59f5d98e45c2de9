from __future__ import annotations

import pytest

from plait.executors.htex import messages as m
from plait.executors.htex.ghosts import KILL_S
from tests.unit.executors.htex.core_lab import PLAIN, Lab, done, item

THRESHOLD_S = 8.0


def until_asked(lab):
    """Time passes until manager a, which is quiet, is asked what it has."""
    while not lab.take(m.WhoAreYou):
        lab.at(lab.now_s + 1.0, beats="a")


def with_tasks(count=4, **more):
    """Manager a with two workers holds tasks."""
    lab = Lab(**more)
    lab.comes("a", prefetch=10)
    tasks = lab.offer_plain(count)
    assert lab.place() == {"a": tasks}
    lab.take()
    return lab


# ------------------------------------------------------------------ coming
def test_a_manager_is_welcomed_and_the_driver_hears_of_it():
    lab = Lab(epoch="second")
    lab.comes("a", block="3", workers=4, gpus=["0"])
    welcome, up = lab.take()
    assert welcome == ("a", m.Welcome("second", 2.0, 8.0, 0.0))
    assert up[1] == m.ManagerUp("a", "3", "host of a", 1, 4, 4.0, 0, 0, ["0"], "", "", again=False)
    assert lab.core.connection_is_known("a")


@pytest.mark.parametrize(
    ("more", "reason"),
    [({"protocol": 99}, "protocol version 99"), ({"python": "3.99.1"}, "Python 3.99.1, the driver Python 3.11.4")],
)
def test_what_cannot_work_is_refused_in_words(more, reason):
    lab = Lab(plait="1.0", python="3.11.4")
    assert lab.comes("a", **more) is None
    lab.comes("b", **more)
    out = lab.take()
    assert [type(message) for conn, message in out if conn is not None] == [m.Refused] * 2
    assert reason in out[0][1].reason
    gone = [message for _, message in out if isinstance(message, m.ManagerGone)]
    assert [each.how for each in gone] == ["refused", "refused"]
    warnings = [message.text for _, message in out if isinstance(message, m.Warn)]
    assert len(warnings) == 2  # one for each host
    assert reason in warnings[0]
    assert lab.core.managers == {}


def test_other_differences_are_told_once():
    lab = Lab(plait="1.0", python="3.11.4")
    for name in "abc":
        assert lab.comes(name, plait="1.1", python="3.11.9") is not None
    texts = [message.text for _, message in lab.take(m.Warn)]
    assert texts == [
        "Managers run Python 3.11.9, the driver Python 3.11.4.",
        "Managers run plait 1.1, the driver plait 1.0.",
    ]


def test_other_versions_of_packages_are_told_once():
    lab = Lab()
    for name in "ab":
        assert lab.comes(name, packages=["dill 0.3.9, not 0.4.0", "numpy 1.26.4, not 2.1.0"]) is not None
    lab.comes("c", packages=[f"p{number} 1, not 2" for number in range(22)])
    first, second = [message.text for _, message in lab.take(m.Warn)]
    assert (
        first
        == "Managers have other versions of packages than the driver: dill 0.3.9, not 0.4.0; numpy 1.26.4, not 2.1.0."
    )
    assert second.endswith("; p19 1, not 2; and 2 more.")


def test_a_stranger_is_asked_who_it_is_but_not_with_every_word():
    lab = Lab()
    for _ in range(100):
        lab.says("x", m.Outcomes(1, []))
    assert lab.take() == [("x", m.WhoAreYou())]
    lab.at(5.0)
    lab.says("x", m.Heartbeat(0.0))
    assert lab.take() == [("x", m.WhoAreYou())]


def test_heartbeats_are_answered_with_both_times():
    lab = Lab()
    lab.comes("a")
    lab.now_s = 3.0
    lab.take()
    lab.says("a", m.Heartbeat(17.0))
    assert lab.take() == [("a", m.Heartbeat(17.0, 3.0))]


# ------------------------------------------------------------------ losses
def test_a_silent_manager_is_lost_with_what_it_held():
    lab = with_tasks(3)
    for second in (2.0, 4.0, 6.0, 7.9):
        lab.at(second)
    assert lab.take() == []
    lab.at(8.0)
    told, lost, gone = (message for _, message in lab.take())
    assert told == m.DeclaredLost("nothing was heard of it for 8.0 s", "a")
    assert lost == m.Lost("a", "host of a", "0", told.reason, announced=False, items=[(1, 1), (2, 1), (3, 1)])
    assert gone == m.ManagerGone("a", "0", "host of a", "lost", told.reason)
    lab.core.check()
    assert lab.core.placed == {}


@pytest.mark.parametrize("how", ["heartbeat", "chunk"])
def test_whatever_it_says_keeps_it(how):
    lab = with_tasks()
    for second in range(1, 40):
        lab.at(float(second))
        if how == "heartbeat":
            lab.says("a", m.Heartbeat(0.0))
        else:
            lab.core.heard("a", lab.now_s)
    assert lab.take(m.Lost) == []


def test_silence_while_we_did_not_listen_is_forgiven():
    lab = with_tasks()
    lab.at(2.0)
    lab.at(100.0)  # stopped
    assert lab.take(m.Lost) == []
    lab.at(102.0)
    lab.at(104.0)
    lab.at(106.0)
    assert lab.take(m.Lost) == []
    lab.at(108.0)
    assert len(lab.take(m.Lost)) == 1


def test_one_that_was_given_up_is_told_so_when_it_speaks_again():
    lab = with_tasks()
    for second in range(0, 30, 2):
        lab.at(float(second))
    lab.take()
    lab.says("a", m.Heartbeat(0.0))
    assert [type(message) for _, message in lab.take()] == [m.DeclaredLost]
    lab.says("a", m.Heartbeat(0.0))
    assert lab.take() == []  # said once
    lab.comes("a", conn="another")
    assert lab.only(m.DeclaredLost, "another").manager == "a"
    lab.comes("a2", conn="a")  # its next life, over the first connection
    assert lab.core.connection_is_known("a")
    lab.says("a", m.Heartbeat(0.0))
    assert lab.take(m.DeclaredLost) == []


def test_an_old_outcome_of_one_that_was_given_up_goes_nowhere():
    lab = with_tasks()
    for second in range(0, 12, 2):
        lab.at(float(second))
    lab.driver(m.Offer([item(task, attempt=2) for task in (1, 2, 3, 4)]))
    lab.comes("b", workers=4)
    lab.place()
    lab.ends("a", 1, 2)
    assert lab.take(m.Delivered) == []


def test_a_loss_does_not_look_at_the_queue():
    class Untouchable(type(Lab().core.queue.tasks)):
        def __iter__(self):
            raise AssertionError("the queue is looked at")

        __reversed__ = __contains__ = remove = __delitem__ = __iter__

    lab = with_tasks(10)
    lab.core.queue.tasks = Untouchable(lab.core.queue.tasks)
    lab.offer_plain(1000)
    for second in range(0, 12, 2):
        lab.at(float(second))
    assert len(lab.only(m.Lost).items) == 10


def test_a_manager_that_leaves_loses_what_it_held_but_announced():
    lab = with_tasks(2)
    lab.says("a", m.Leaving("it was told to"))
    lost = lab.only(m.Lost)
    assert (lost.announced, lost.reason) == (True, "it was told to")


def test_the_end_of_a_walltime_is_announced():
    lab = Lab()
    lab.comes("a", walltime_left_s=4.0)
    lab.offer_plain(1)
    lab.place()
    for second in range(0, 12, 2):
        lab.at(float(second))
    assert lab.only(m.Lost).announced


# ------------------------------------------------------------------ coming back
def test_what_was_lost_on_the_wire_is_placed_again_as_the_same_attempt():
    lab = with_tasks(4)
    lab.comes("a", conn="a2", prefetch=10, holds=[(1, 1), (3, 1)])
    out = lab.take()
    assert [type(message) for _, message in out] == [m.Welcome, m.ManagerUp, m.Placed]
    assert out[1][1].again
    assert out[2][1] == m.Placed("", [(2, 1), (4, 1)])
    assert lab.place() == {"a2": [2, 4]}
    assert set(lab.core.managers["a"].held) == {1, 2, 3, 4}


def test_it_comes_before_what_waits():
    lab = with_tasks(2)
    lab.offer_plain(30)
    lab.comes("a", conn="a2", workers=1)
    assert lab.place()["a2"][:1] == [1]


def test_functions_go_out_again_over_a_new_connection():
    lab = with_tasks(2)
    lab.comes("a", conn="a2")
    lab.core.place(0.0)
    assert len(lab.take(m.Function, "a2")) == 1


def test_finished_tasks_are_not_placed_again():
    lab = with_tasks(2)
    lab.comes("a", conn="a2", finished=[(1, 1)], holds=[(2, 1)])
    assert lab.place() == {}
    lab.seqs["a2"] = 0
    lab.ends("a2", 1)
    assert [item[0] for item in lab.only(m.Delivered).items] == [1]


def test_outcomes_that_come_a_second_time_are_dropped():
    lab = with_tasks(2)
    lab.ends("a", 1)
    assert len(lab.take(m.Delivered)) == 1
    lab.comes("a", conn="a2", finished=[(1, 1)], holds=[(2, 1)])
    lab.take()
    lab.says("a2", m.Outcomes(1, [(1, 1, 0, b"", 0.0, 0.0, 0)]))
    assert lab.take() == []
    lab.driver(m.Taken(1))
    assert lab.take() == [("a2", m.Taken(1))]
    lab.says("a2", m.Outcomes(1, [(1, 1, 0, b"", 0.0, 0.0, 0)]))
    assert lab.take() == [("a2", m.Taken(1))]


def test_what_nobody_wants_any_more_is_cancelled():
    lab = with_tasks(2)
    lab.driver(m.Cancel([(1, 1)]))
    lab.take()
    lab.comes("a", conn="a2", holds=[(1, 1), (2, 1)])
    assert lab.only(m.Cancel) == m.Cancel([(1, 1)])


def test_over_the_same_connection_nothing_is_concluded():
    """What was sent after it had written its registration is still on its way."""
    lab = with_tasks(4)
    lab.comes("a", prefetch=10, holds=[(1, 1)])
    assert [type(message) for _, message in lab.take()] == [m.Welcome]
    assert lab.place() == {}


def test_big_tasks_that_it_dropped_are_placed_again():
    lab = Lab()
    lab.comes("a")
    lab.driver(m.Offer([(1, 1, 7, b"", [10**6], None), item(2)]))
    lab.place()
    lab.comes("a", holds=[])
    assert lab.only(m.Cancel, "a") == m.Cancel([(1, 1)])
    assert lab.place() == {"a": [1]}


def test_a_big_task_that_was_granted_something_is_placed_anew_when_it_is_known_to_be_gone():
    """It is counted until the manager says that it is gone, and that would be taken to be about the same attempt placed anew."""
    lab = Lab()
    lab.comes("a")
    lab.driver(m.Offer([(1, 1, 7, b"", [10**6], m.Ask(cores=1.0))]))
    assert lab.place() == {"a": [1]}
    lab.comes("a", holds=[])
    assert lab.take(m.Cancel) == []
    assert lab.place() == {}
    until_asked(lab)
    lab.comes("a", holds=[])
    assert lab.place() == {"a": [1]}


def test_a_registration_of_an_earlier_connection_that_is_read_late_is_ignored():
    lab = Lab()
    lab.comes("a", conn="second", nth=2)
    lab.offer_plain(2)
    lab.place()
    lab.comes("a", conn="first", nth=1)
    assert lab.take() == []
    assert lab.core.conns.keys() == {"second"}
    lab.core.check()


def test_another_life_over_the_same_connection_loses_the_old_one():
    lab = with_tasks(2)
    lab.comes("b", conn="a")
    out = lab.take()
    assert [type(message) for _, message in out] == [m.Lost, m.ManagerGone, m.Welcome, m.ManagerUp]
    lab.core.check()


def test_a_quiet_manager_is_asked_what_it_has():
    lab = with_tasks(2)
    asked = []
    for second in range(1, 100):
        lab.at(float(second), beats="a")
        asked += [second for _ in lab.take(m.WhoAreYou)]
        if asked and asked[-1] == second:
            lab.comes("a", prefetch=10, holds=[(1, 1), (2, 1)])
    assert 2 <= len(asked) <= 5, asked  # less and less often
    assert lab.place() == {}
    until_asked(lab)
    lab.comes("a", prefetch=10, holds=[(2, 1), (9, 1)])  # 1 never arrived, 9 was cancelled
    assert lab.take(m.Cancel) == [("a", m.Cancel([(9, 1)]))]
    assert lab.place() == {"a": [1]}


def test_the_answer_to_an_earlier_question_is_not_taken_for_that_to_the_last():
    lab = with_tasks(2)
    until_asked(lab)
    lab.now_s += 0.1
    third = lab.offer_plain(1)
    assert lab.place() == {"a": third}
    until_asked(lab)
    lab.comes("a", prefetch=10, holds=[(1, 1), (2, 1)])  # said when the third had not come
    assert lab.place() == {}
    until_asked(lab)
    lab.comes("a", prefetch=10, holds=[(1, 1), (2, 1)])
    assert lab.place() == {"a": third}


def test_what_was_sent_after_the_question_is_not_in_the_answer():
    lab = with_tasks(2)
    until_asked(lab)
    lab.now_s += 0.1
    third = lab.offer_plain(1)
    assert lab.place() == {"a": third}
    lab.comes("a", prefetch=10, holds=[(1, 1), (2, 1)])
    assert lab.place() == {}
    lab.core.check()


# ------------------------------------------------------------------ after a restart of the interchange
def restarted(*names):
    lab = Lab(expected=names)
    lab.again = lambda name, *items: lab.driver(m.OfferAgain(name, list(items)))
    return lab


@pytest.mark.parametrize("driver_first", [True, False])
def test_what_runs_on_goes_on_and_what_does_not_is_placed_again(driver_first):
    lab = restarted("a")
    if driver_first:
        lab.again("a", item(1), item(2), item(3))
    lab.comes("a", holds=[(1, 1)], finished=[(2, 1)], workers=1)
    up, *others = [message for conn, message in lab.take() if conn is None]
    assert up.again
    assert others == ([m.Placed("", [(3, 1)])] if driver_first else [])
    if not driver_first:
        lab.again("a", item(1), item(2), item(3))
    assert set(lab.core.placed) == {1, 2}
    lab.ends("a", 2)
    lab.ends("a", 1)
    assert [each.items[0][0] for _, each in lab.take(m.Delivered)] == [2, 1]
    assert lab.place() == {"a": [3]}


def test_an_outcome_may_come_before_the_driver_has_offered_again():
    lab = restarted("a")
    lab.comes("a", finished=[(1, 1)])
    lab.ends("a", 1)
    assert [each[0] for each in lab.only(m.Delivered).items] == [1]
    lab.again("a", item(1), item(2))
    assert lab.place() == {"a": [2]}
    lab.ends("a", 1)  # once more
    assert lab.take(m.Delivered) == []


def test_who_does_not_come_back_is_lost():
    lab = restarted("a", "b")
    lab.again("a", item(1), item(2, m.Ask(gpus=1)))
    for second in range(9):
        lab.at(float(second))
    out = lab.take()
    (lost,) = [message for _, message in out if isinstance(message, m.Lost)]
    assert (lost.manager, lost.items, lost.announced) == ("a", [(1, 1), (2, 1)], False)
    assert {message.manager for _, message in out if isinstance(message, m.ManagerGone)} == {"a", "b"}
    lab.comes("a", holds=[(1, 1)])
    assert isinstance(lab.take()[0][1], m.DeclaredLost)
    lab.again("a", item(3))
    assert lab.only(m.Lost).items == [(3, 1)]


def test_what_it_has_and_nobody_offers_again_is_cancelled_in_the_end():
    lab = restarted("a")
    lab.comes("a", holds=[(1, 1)])
    lab.offer(*[m.Ask(priority=1.0)] * 4)
    assert lab.place() == {}  # it is not known what that has
    for second in range(9):
        lab.at(float(second), beats="a")
    assert (1, 1) in lab.only(m.Cancel, "a").items


def test_a_task_that_was_cancelled_meanwhile_does_not_run_on():
    lab = restarted("a", "b")
    lab.again("a", item(1))
    lab.driver(m.Cancel([(1, 1), (2, 1)]))
    lab.comes("a", holds=[(1, 1)])
    assert lab.only(m.Cancel, "a") == m.Cancel([(1, 1)])
    lab.comes("b", holds=[(2, 1), (3, 1)])
    assert lab.only(m.Cancel, "b") == m.Cancel([(2, 1)])
    lab.driver(m.Cancel([(3, 1)]))
    assert lab.only(m.Cancel, "b") == m.Cancel([(3, 1)])


@pytest.mark.parametrize("ask", [None, m.Ask(gpus=1)])
def test_a_cancellation_that_a_connection_took_with_it_is_said_again(ask):
    lab = restarted("b")
    lab.comes("a", gpus=["x"])
    lab.offer(ask)
    lab.place()
    lab.driver(m.Cancel([(1, 1)]))
    lab.take()
    manager = lab.comes("a", conn="a2", nth=2, gpus=["x"], holds=[(1, 1)])
    assert lab.only(m.Cancel, "a2") == m.Cancel([(1, 1)])
    lab.says("a2", m.Returned([(1, 1)] if ask else []))
    assert manager.load == 0


def test_an_outcome_that_comes_again_after_a_new_connection_is_not_waited_for():
    lab = restarted("a")
    lab.again("a", item(1))
    lab.comes("a", holds=[(1, 1)], nth=2)
    lab.ends("a", 1)
    manager = lab.comes("a", conn="a2", finished=[(1, 1)], nth=3)
    lab.says("a2", m.Outcomes(1, [done(1)]))
    assert manager.load == 0


@pytest.mark.parametrize("how", [m.Draining, m.Leaving])
def test_what_is_offered_again_on_one_that_has_ended_is_lost_at_once(how):
    lab = restarted("a")
    lab.comes("a", nth=2)
    lab.says("a", how("its time is over"))
    lab.take()
    lab.again("a", item(1))
    lost = lab.only(m.Lost)
    assert (lost.items, lost.reason, lost.announced) == ([(1, 1)], "its time is over", True)


def test_what_tasks_have_is_counted_although_nobody_knows_which_gpus():
    lab = restarted("a")
    lab.again("a", item(1, m.Ask(cores=2, gpus=1)))
    lab.comes("a", workers=4, gpus=["x", "y"], holds=[(1, 1)], nth=2)
    lab.driver(m.Offer([item(2, m.Ask(gpus=1)), item(3, m.Ask(cores=2, priority=0.0))]))
    assert lab.place() == {}  # something that was cancelled may still be running there
    for _ in range(2):
        lab.at(lab.now_s + KILL_S / 2, beats="a")
    assert lab.place() == {"a": [3]}
    lab.ends("a", 1)
    assert lab.place() == {"a": [2]}


def test_new_tasks_do_not_wait_for_who_is_missing():
    lab = restarted("a")
    lab.comes("new")
    lab.offer_plain(1)
    assert lab.place() == {"new": [1]}


# ------------------------------------------------------------------ holding and draining
@pytest.mark.parametrize("name", ["a", "0"])
def test_who_is_held_back_gets_nothing(name):
    lab = Lab()
    lab.comes("a")
    lab.driver(m.Hold(name, True))
    lab.comes("a2", block="0" if name == "0" else "1")
    lab.offer(PLAIN, m.Ask(priority=1.0))
    placed = lab.place()
    assert "a" not in placed
    assert ("a2" in placed) is (name == "a")
    lab.driver(m.Hold(name, False))
    lab.offer_plain(1)
    assert lab.place()


def test_a_block_drains():
    lab = with_tasks(2)
    lab.comes("other", block="1", workers=1)
    lab.take()
    lab.driver(m.DrainBlock("0", "it is idle"))
    assert lab.take() == [("a", m.Drain("it is idle"))]
    lab.offer_plain(1)
    assert lab.place() == {"other": [3]}
    lab.says("a", m.Returned([(2, 1)]))
    lab.ends("a", 1)
    lab.take()
    assert lab.core.managers.keys() == {"a", "other"}  # the driver does not have it yet
    lab.driver(m.Taken(1))
    out = lab.take()
    assert [message for conn, message in out if conn == "a"] == [m.Taken(1), m.Stop("it is idle")]
    assert out[-1][1].how == "drained"
    lab.core.check()


def test_one_that_comes_into_a_block_that_drains_may_go_at_once():
    lab = Lab()
    lab.driver(m.DrainBlock("0", "it is idle"))
    lab.comes("a")
    assert [type(message) for conn, message in lab.take() if conn == "a"] == [m.Welcome, m.Drain, m.Stop]


def test_one_that_drained_hears_so_again():
    lab = Lab()
    lab.comes("a")
    lab.says("a", m.Draining("its time is over"))
    assert lab.only(m.ManagerGone).how == "drained"
    lab.comes("a", conn="a2", draining=True)
    assert lab.take() == [("a2", m.Stop("its time is over"))]


def test_one_that_still_owes_outcomes_is_not_stopped():
    lab = restarted("a")
    lab.again("a", item(1))
    lab.comes("a", draining=True, finished=[(1, 1)])
    assert lab.take(m.Stop) == []
    lab.ends("a", 1)
    lab.driver(m.Taken(1))
    assert len(lab.take(m.Stop)) == 1


def test_an_outcome_that_the_driver_has_is_not_owed():
    lab = with_tasks(2)
    lab.ends("a", 1)
    lab.driver(m.DrainBlock("0", "its job is over", over=True))
    assert lab.take(m.WhoAreYou)
    lab.driver(m.Taken(1))  # crosses the answer
    lab.comes("a", nth=2, finished=[(1, 1)], holds=[(2, 1)])
    lab.ends("a", 2)
    lab.driver(m.Taken(2))
    assert len(lab.take(m.Stop)) == 1


@pytest.mark.parametrize("is_known", [True, False])
def test_an_outcome_that_is_cancelled_is_not_owed(is_known):
    lab = restarted("a") if not is_known else Lab()
    lab.comes("a")
    if is_known:
        lab.offer(None)
        lab.place()
    lab.comes("a", conn="a2", nth=2, finished=[(1, 1)])
    lab.says("a2", m.Outcomes(1, []))  # it was a big one, that has not come
    lab.driver(m.Cancel([(1, 1)]))
    lab.take()
    lab.driver(m.DrainBlock("0", "it is idle"))
    assert len(lab.take(m.Stop)) == 1


# ------------------------------------------------------------------ cancelled tasks that still run
def test_a_gpu_is_free_when_the_process_that_used_it_is_gone():
    lab = Lab()
    lab.comes("a", gpus=["x"])
    lab.offer(m.Ask(gpus=1), m.Ask(gpus=1))
    assert lab.place() == {"a": [1]}
    lab.driver(m.Cancel([(1, 1)]))
    assert lab.take(m.Cancel) == [("a", m.Cancel([(1, 1)]))]
    assert lab.place() == {}
    lab.says("a", m.Returned([(1, 1)]))
    assert lab.place() == {"a": [2]}


def test_it_is_free_when_the_outcome_had_been_on_its_way():
    lab = Lab()
    lab.comes("a", gpus=["x"])
    lab.offer(m.Ask(gpus=1), m.Ask(gpus=1))
    lab.place()
    lab.driver(m.Cancel([(1, 1)]))
    lab.ends("a", 1)
    assert lab.take(m.Delivered) == []
    assert lab.place() == {"a": [2]}


def test_it_is_free_after_a_new_connection_and_the_time_that_killing_takes():
    lab = Lab()
    lab.comes("a", gpus=["x"])
    lab.offer(m.Ask(gpus=1), m.Ask(gpus=1))
    lab.place()
    lab.driver(m.Cancel([(1, 1)]))
    lab.comes("a", conn="a2", gpus=["x"])
    assert lab.place() == {}
    for _ in range(2):
        lab.at(lab.now_s + KILL_S / 2, beats=["a2"])
    assert lab.place() == {"a2": [2]}
