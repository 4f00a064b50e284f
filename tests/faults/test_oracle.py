"""The oracle sees what is good and what is not: it is fed with recordings of both sorts."""

from __future__ import annotations

import pytest

from tests.faults.oracle import Circumstances, Verdict, judge
from tests.faults.reading import FIRING, JSON, RESOLVED, WEBHOOK, Message, News
from tests.faults.truth import Alert, Edge, Window

A = Alert("down", "web/a")
NOBODY_WATCHES, NOBODY_SPEAKS = False, True


def edges(*times: float) -> list[Edge]:
    """Return edges at these seconds, firing and ending in turn."""
    return [Edge(number % 2 == 0, at, at + 0.01, number) for number, at in enumerate(times)]


def say(*words: str, alert: Alert = A, is_picture: bool = False) -> list[Message]:
    """Return messages written as `F1@10.1` or `R2@12` (kind, id, second), and `L3@5` for a resolve with both times."""
    messages = []
    for word in words:
        identity, _, at = word.partition("@")
        kind = FIRING if word[0] == "F" else RESOLVED if word[0] in "RL" else "reminder"
        news = News(alert, kind, word[0] == "L")
        messages.append(Message(JSON, float(at), identity[1:], (news,), word, is_picture))
    return messages


def verdict_on(
    times: tuple[float, ...],
    words: str,
    *windows: Window,
    breaks: tuple[float, ...] = (),
    stalls: tuple[tuple[float, float], ...] = (),
) -> Verdict:
    """Return the verdict on one alert with edges at `times` and messages as in `say`."""
    return judge({A: edges(*times)}, say(*words.split()), Circumstances(windows, breaks, stalls), (JSON,))


def blind(start: float, end: float) -> Window:
    """Return a window in which nobody watches."""
    return Window(start, end, NOBODY_WATCHES)


def mute(start: float, end: float) -> Window:
    """Return a window in which somebody watches and nobody speaks."""
    return Window(start, end, NOBODY_SPEAKS)


GOOD = {
    "each told": ((10, 20), "F1@10.1 R2@20.1", ()),
    "still firing": ((10,), "F1@10.1", ()),
    "nothing happened": ((), "", ()),
    "too short to be told for certain": ((10, 10.5), "", ()),
    "too short, told as one": ((10, 10.5), "L1@10.6", ()),
    "too short, told as two": ((10, 10.5), "F1@10.1 R2@10.6", ()),
    "a short recovery is untold": ((10, 20, 20.5, 30), "F1@10 R2@30.1", ()),
    "late, after the end": ((10, 20), "F1@25 R2@25.1", (mute(9, 24),)),
    "fired and ended while nobody spoke: one message": ((10, 20), "L1@25", (mute(9, 24),)),
    "twice while nobody spoke: one message": ((10, 15, 17, 20), "L1@25", (mute(9, 24),)),
    "fired, ended and fired while nobody spoke": ((10, 15, 17), "F1@25", (mute(9, 24),)),
    "ended and fired again while nobody spoke": ((5, 10, 15), "F1@5", (mute(9, 24),)),
    "undone while nobody watched": ((10, 20), "", (blind(9, 24),)),
    "undone while nobody watched, and told": ((10, 20), "L1@25", (blind(9, 24),)),
    "undone before and while nobody watched": ((8.5, 20), "", (blind(9, 24),)),
    "several gaps": ((10, 20, 30, 40), "F1@31 R2@40", (blind(9, 21), blind(29, 29.5))),
}
BAD = {
    "never told": ((10, 20), "", (), 2, 0),
    "firing never told": ((10,), "", (), 1, 1),
    "resolve never told": ((10, 20), "F1@10", (), 1, 1),
    "the second is lost": ((10, 20, 30, 40), "F1@10 R2@20", (), 2, 0),
    "a lasting recovery is lost": ((10, 20, 30, 40), "F1@10 R2@40", (), 2, 0),
    "fired and ended while nobody spoke, untold": ((10, 20), "", (mute(9, 24),), 2, 0),
    "told only by what comes much later": ((10, 20, 100, 110), "F1@100 R2@110", (mute(9, 24),), 2, 0),
    "lasted on after nobody watched": ((10, 30), "", (blind(9, 24),), 2, 0),
    "long before nobody watched": ((5, 20), "", (blind(9, 24),), 2, 0),
    "the same news twice": ((10, 20), "F1@10 F2@11 R3@20", (), 0, 1),
    "resolved twice": ((10, 20), "F1@10 R2@20 R3@21", (), 0, 1),
    "a resolve without a firing": ((10, 20), "R1@20", (), 2, 1),
    "told before it happened": ((10,), "F1@9", (), 1, 2),
    "it never happened": ((), "F1@5", (), 0, 1),
    "it never happened, nor did its end": ((), "F1@5 R2@6", (), 0, 2),
    "a firing of the past after its end": ((10, 20), "F1@10 R2@20 F3@25", (), 0, 1),
    "another kind": ((10, 20), "F1@10 X3@15 R2@20", (), 0, 1),
    "told only at its end": ((10, 20), "L1@20", (), 1, 0),
    "told only at its end, long after somebody could speak": ((10, 30), "L1@30", (mute(9, 24),), 1, 0),
    "without an id": ((10, 20), "F@10 R2@20", (), 0, 1),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_recordings_pass(name: str) -> None:
    """Nothing is lost or wrong."""
    times, words, windows = GOOD[name]
    verdict = verdict_on(times, words, *windows)
    assert (verdict.lost, verdict.wrong, verdict.duplicated, verdict.complaints) == (0, 0, 0, [])


@pytest.mark.parametrize("name", BAD)
def test_bad_recordings_are_seen(name: str) -> None:
    """Just as much is lost and wrong as is, and it is said."""
    times, words, windows, lost, wrong = BAD[name]
    verdict = verdict_on(times, words, *windows)
    assert (verdict.lost, verdict.wrong) == (lost, wrong), verdict.complaints
    assert verdict.complaints


def test_counts() -> None:
    """Made, told and lost are edges of a channel; a lone resolve tells two."""
    verdict = verdict_on((10, 20, 30, 40, 50, 60), "F1@10 R2@20 L3@40.5", mute(29, 40))
    assert (verdict.made, verdict.told, verdict.lost) == (6, 4, 2)


def test_a_copy_needs_a_cause() -> None:
    """Something must have kept anybody from recording that the first one was accepted."""
    twice = "F1@10 F1@14 R2@20"
    assert verdict_on((10, 20), twice).wrong == 1
    assert verdict_on((10, 20), twice, breaks=(10.1,)).wrong == 0
    assert verdict_on((10, 20), twice, breaks=(10.1,)).duplicated == 1
    assert verdict_on((10, 20), twice, breaks=(5.0, 15.0)).wrong == 1


def test_each_copy_needs_a_cause_of_its_own() -> None:
    """A copy that was accepted in peace is recorded."""
    thrice = "F1@10 F1@14 F1@18"
    assert verdict_on((10,), thrice, breaks=(10.1,)).wrong == 1
    assert verdict_on((10,), thrice, breaks=(10.1, 14.1)).wrong == 0


def test_what_was_not_recorded_comes_again_in_its_order() -> None:
    """Two of one alert, both accepted just before a kill; not so if the later one was recorded."""
    twice = "F1@10 R2@10.2 F1@14 R2@14.2"
    assert verdict_on((10, 10.1), twice, breaks=(10.3,)).wrong == 0
    assert verdict_on((10, 10.1), twice, breaks=(9.1,)).wrong == 2
    assert verdict_on((10, 13), "F1@10 R2@13 F1@14", breaks=(10.3,)).wrong == 1


def test_what_was_recorded_long_ago_is_not_told_again() -> None:
    """A kill excuses what was accepted just before, not all that ever was."""
    assert verdict_on((10,), "F1@10 F1@31", breaks=(30.0,)).wrong == 1


def test_a_late_copy_needs_somebody_who_was_frozen() -> None:
    """After later news only a process that stood still may come with the old, as soon as it goes on."""
    late = "F1@10 R2@20 F1@21"
    assert verdict_on((10, 20), late, breaks=(10.1,)).wrong == 1
    assert verdict_on((10, 20), late, stalls=((9.9, 20.8),)).wrong == 0
    assert verdict_on((10, 20), late, stalls=((9.9, 12.0),)).wrong == 1


def test_who_was_frozen_was_about_to_send_few() -> None:
    """Not all that the other has told meanwhile."""
    times = (10, 11, 12, 13, 14, 15)
    told = "F1@10 R2@11 F3@12 R4@13 F5@14 R6@15"
    assert verdict_on(times, f"{told} F1@20 R2@20", stalls=((9.9, 19.9),)).wrong == 0
    assert verdict_on(times, f"{told} F1@20 R2@20 F3@20 R4@20", stalls=((9.9, 19.9),)).wrong == 2


def test_a_copy_must_say_the_same() -> None:
    """An id is a function of what the message is about."""
    verdict = verdict_on((10, 20), "F1@10 R1@20", breaks=(10.1,))
    assert (verdict.wrong, verdict.lost) == (2, 1)
    assert "other news" in verdict.complaints[0]


def test_a_picture_repeats_what_stands() -> None:
    """A document of the whole group shows what still fires; only changes are news."""
    messages = say("F1@10", "F2@15", "R3@20", is_picture=True)
    assert judge({A: edges(10, 20)}, messages, channels=(JSON,)).wrong == 0
    assert judge({A: edges(10, 20)}, say("F1@10", "F2@15", "R3@20"), channels=(JSON,)).wrong == 1


def test_each_channel_is_judged_for_itself() -> None:
    """What one was told does not help the other, and a window of one does not excuse the other."""
    window = Window(9, 24, NOBODY_SPEAKS, WEBHOOK)
    verdict = judge({A: edges(10, 20)}, say("F1@10", "R2@20"), Circumstances((window,)))
    assert (verdict.made, verdict.told, verdict.lost) == (4, 2, 2)
    assert verdict.complaints[0].startswith("hook: down web/a")


def test_own_alerts_are_judged_by_their_order() -> None:
    """Nobody knows when they ought to fire, but firing twice in a row is wrong."""
    own = Alert("alertd-registry", "etcd")
    assert judge({}, say("F1@1", "R2@2", "F3@3", alert=own), channels=(JSON,)).wrong == 0
    assert judge({}, say("F1@1", "F2@2", alert=own), channels=(JSON,)).wrong == 1


@pytest.mark.parametrize(
    ("windows", "delay"),
    [
        ((), 15.0),
        ((mute(9, 24),), 1.0),
        ((mute(10.5, 24),), 1.0),
        ((mute(12, 24),), 15.0),
        ((mute(9, 14), mute(14, 20)), 5.0),
    ],
)
def test_the_delay_does_not_count_what_the_fault_forces(windows: tuple[Window, ...], delay: float) -> None:
    """Time in a window that the edge falls into does not count, nor in one that begins at once after it."""
    verdict = verdict_on((9.99,), "F1@25", *windows)
    assert verdict.worst_delay == pytest.approx(delay, abs=0.1)
