"""The one message of a storm: every service with its counts, and whether it is over."""

from __future__ import annotations

from alertd.delivery import render
from alertd.delivery.letter import Tone
from alertd.model import Cause, Entry, Kind, Notification, ServiceFacts
from tests.delivery.examples import PROD, at, lost_alert, notification, over


def storm(*services: tuple[str, int, int, int], per_service: int = 25) -> Notification:
    """Return a digest of services, each with its name, how many are up, how many alerts fire and how many resolve."""
    entries: list[Entry] = []
    for name, _, firing, ended in services:
        entries += [Entry(Kind.FIRING, lost_alert(f"i{number}", service=name)) for number in range(firing)]
        entries += [Entry(Kind.RESOLVED, over(service=name, id=f"{name}{number}")) for number in range(ended)]
    facts = {name: ServiceFacts(name, up, per_service) for name, up, _, _ in services}
    firing = sum(count for _, _, count, _ in services)
    return notification(*entries, kind=Kind.DIGEST, group="digest", services=facts, still_firing=firing)


def test_a_storm_in_one_message() -> None:
    """How many services, how many instances down; then each service, the worst first."""
    told = storm(("web", 0, 25, 0), ("apache", 25, 0, 3), ("db", 20, 5, 1))
    assert render.title(told, PROD) == "[DIGEST] 3 services · 30 down · warning · prod-fra"
    assert render.body(told, PROD).splitlines() == [
        "30 alerts fire since 04:12:41 CEST: instance-lost",
        "web  0 of 25 up, 25 firing",
        "db  20 of 25 up, 5 firing, 1 resolved",
        "apache  25 of 25 up, all resolved",
        "alertd ack 9abc · alertd silence add 9abc --for 1h",
        "rules/web.yaml:20 @4f2c9e1",
        "rules/web.yaml:12 @4f2c9e1",
        "id 9abc",
    ]
    assert render.tone(told) is Tone.WARNING


def test_where_few_are_hit_it_says_which() -> None:
    """Of what still fires, that is; and many are counted."""
    told = storm(("web", 0, 4, 0), ("pay", 22, 2, 1), ("mail", 25, 0, 2))
    lines = render.body(told, PROD).splitlines()
    assert lines[1:4] == [
        "web  0 of 25 up, 4 firing",
        "pay  22 of 25 up, 2 firing, 1 resolved: i0, i1",
        "mail  25 of 25 up, all resolved",
    ]


def test_every_service_is_named_and_only_a_small_target_cuts_them() -> None:
    """With "and N more services": shown and counted are always all."""
    told = storm(*((f"service-{number:03}", 0, 25, 0) for number in range(400)))
    assert render.title(told, PROD) == "[DIGEST] 400 services · 10000 down · warning · prod-fra"
    body = render.body(told, PROD)
    assert all(f"service-{number:03}  0 of 25 up, 25 firing\n" in body for number in range(400))
    small = render.body(told, PROD, limit=1000).splitlines()
    shown = sum(line.startswith("service-") for line in small)
    assert shown > 10
    assert f"and {400 - shown} more services" in small


def test_a_digest_of_what_is_escalated_says_that_nobody_acted() -> None:
    """Whoever gets it has not been told before."""
    told = storm(("web", 0, 4, 0))
    entries = tuple(Entry(Kind.ESCALATED, entry.alert) for entry in told.entries)
    escalated = notification(*entries, kind=Kind.DIGEST, services=told.services, still_firing=4)
    assert render.body(escalated, PROD).splitlines()[:2] == [
        "4 alerts fire since 04:12:41 CEST; nobody has acted: instance-lost",
        "web  0 of 25 up, 4 still firing",
    ]


def test_a_digest_of_what_is_over_is_a_success() -> None:
    """And says so; nothing is left to type."""
    told = storm(("apache", 25, 0, 25), ("pay", 25, 0, 2))
    assert render.title(told, PROD) == "[DIGEST] 2 services · all resolved · critical · prod-fra"
    body = render.body(told, PROD).splitlines()
    assert body[0] == "nothing of it fires any more: apache-minimum"
    assert body[1] == "apache  25 of 25 up, all resolved"
    assert not any("alertd ack" in line for line in body)
    assert render.tone(told) is Tone.SUCCESS


def test_a_digest_of_resolves_while_others_fire_is_no_success() -> None:
    """What was told in an earlier digest still stands."""
    told = storm(("apache", 25, 0, 25))
    assert render.tone(notification(*told.entries, kind=Kind.DIGEST, still_firing=3)) is not Tone.SUCCESS


def test_alerts_that_are_no_losses_are_counted_as_such() -> None:
    """Where nothing is down; what was forgotten is neither firing nor resolved."""
    told = storm(("apache", 25, 4, 0))
    assert render.title(told, PROD) == "[DIGEST] 1 service · 4 firing · warning · prod-fra"
    gone = Entry(Kind.FORGOTTEN, over(service="apache", cause=Cause.EXPIRED))
    mixed = notification(gone, kind=Kind.DIGEST, services=told.services, still_firing=0, at=at(300))
    assert render.title(mixed, PROD) == "[DIGEST] 1 service · all over · critical · prod-fra"
    assert "apache  25 of 25 up, all forgotten" in render.body(mixed, PROD)
    assert render.tone(mixed) is Tone.INFO
