"""What was given up: counted by target, handed from daemon to daemon, forgotten after a while."""

from __future__ import annotations

from alertd.delivery.dead import KEPT_EACH, DeadLetter, DeadLetters
from tests.delivery.examples import at


def letter(number: int, target: str = "ops #1 json", seconds: float = 0.0) -> DeadLetter:
    """Return a dead letter."""
    return DeadLetter("ops", target, f"n{number}", "r/apache", "HTTP 400", at(seconds or number).wall)


def test_each_target_has_its_own() -> None:
    """All counted, the last kept."""
    letters = DeadLetters()
    for number in range(KEPT_EACH + 5):
        letters.add(letter(number))
    letters.add(letter(99, "ops #2 json"))
    first, second = letters.graves["ops", "ops #1 json"], letters.graves["ops", "ops #2 json"]
    assert (first.count, [each.id for each in first.last][::9]) == (KEPT_EACH + 5, ["n5", "n14"])
    assert (second.count, len(letters.last)) == (1, KEPT_EACH + 6)


def test_another_daemon_s_are_taken_over_once() -> None:
    """Before the own, whichever came first, however often; those that are known are not counted again."""
    letters = DeadLetters()
    letters.add(letter(7))
    for _ in range(2):
        letters.restore([letter(3), letter(5), letter(7, seconds=7.0004)], 12)
    grave = letters.graves["ops", "ops #1 json"]
    assert ([each.id for each in grave.last], grave.count, len(letters.last)) == (["n3", "n5", "n7"], 12, 1)
    letters.add(letter(8))
    assert grave.count == 13


def test_a_target_that_gave_nothing_up_since_is_forgotten() -> None:
    """One that did keeps also its older ones."""
    letters = DeadLetters()
    for each in (letter(1), letter(2, "ops #2 json"), letter(9)):
        letters.add(each)
    letters.forget(at(5).wall)
    assert list(letters.graves) == [("ops", "ops #1 json")]
    assert letters.graves["ops", "ops #1 json"].count == 2
