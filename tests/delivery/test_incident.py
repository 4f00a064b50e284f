"""Targets that keep incidents: one a group, opened by its first message and closed by its last."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from alertd.config.schema import Channel, Ruleset, Templates
from alertd.delivery import channel, render
from alertd.delivery.sender import plugin_of
from alertd.delivery.trial import letter_for
from alertd.model import AlertState, Entry, Kind, Notification, Severity
from tests.delivery import lookalikes
from tests.delivery.examples import PROD, RULE, alert, at, lost_alert, notification, over, target
from tests.delivery.lookalikes import Incidents, Posted, provider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alertd.delivery.letter import Letter

UUID = "123e4567-e89b-42d3-a456-426614174000"
HEX = "0123456789abcdef0123456789abcdef"
NO_TEMPLATES = Templates()


@dataclass(frozen=True)
class Kept:
    """A provider's look-alike, the URL of a target there, and where its plugin has the provider's address.

    `place` is a table of addresses in the plugin's module, or an attribute of its class; `path` follows the address.
    """

    understand: Callable[[Incidents, str, Posted], None]
    url: str
    place: str = "notify_url"
    path: str = "/"


KEPT = {
    "pagerduty": Kept(lookalikes.pagerduty, f"pagerduty://{HEX}@apikey", "PAGERDUTY_API_LOOKUP", "/v2/enqueue"),
    "opsgenie": Kept(lookalikes.opsgenie, f"opsgenie://{UUID}", "OPSGENIE_API_LOOKUP", "/v2/alerts"),
    "jira": Kept(lookalikes.opsgenie, f"jira://{UUID}", "JIRA_API_LOOKUP", "/v2/alerts"),
    "splunk": Kept(lookalikes.splunk, f"splunk://route@{UUID}"),
    "signl4": Kept(lookalikes.signl4, "signl4://teamsecret"),
    "ilert": Kept(lookalikes.ilert, "ilert://il1api0123456789"),
    "incidentio": Kept(lookalikes.incidentio, f"incidentio://01GW2G3V0S59R238FAHPDS1R66/{HEX}"),
    "squadcast": Kept(lookalikes.squadcast, f"squadcast://{HEX}", "SQUADCAST_API_LOOKUP"),
    "firehydrant": Kept(lookalikes.firehydrant, f"firehydrant://{HEX}"),
    "goalert": Kept(lookalikes.goalert, f"goalert://{{host}}/{UUID}", ""),
    "pagertree": Kept(lookalikes.pagertree, "pagertree://int_0123456789"),
}


class Target:
    """One target at a provider's look-alike."""

    def __init__(self, incidents: Incidents, url: str) -> None:
        self.incidents = incidents
        self.url = url
        self.restart()

    def restart(self, parameters: str = "") -> None:
        """Forget all that a process knows; `parameters` are added to the URL."""
        self._sender = channel.build(target(self.url + parameters), "page #1")

    def tell(self, told: Notification, templates: Templates = NO_TEMPLATES) -> None:
        """Deliver a notification."""
        self.send(render.letter(told, PROD, templates, delivered=told.at.wall))

    def send(self, letter: Letter) -> None:
        """Deliver a letter."""
        self._sender.send(letter)


@pytest.fixture(params=KEPT)
def page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    """Run a provider's look-alike, and build a target there."""
    yield from _page(KEPT[request.param], request.param, monkeypatch)


@pytest.fixture
def duty(monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    """Build a target at PagerDuty's look-alike."""
    yield from _page(KEPT["pagerduty"], "pagerduty", monkeypatch)


def _page(kept: Kept, schema: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    plugin: Any = plugin_of(schema)
    with provider(kept.understand) as (incidents, address):
        if kept.place.isupper():
            monkeypatch.setattr(
                sys.modules[plugin.__module__], kept.place, dict.fromkeys(("us", "eu"), address + kept.path)
            )
        elif kept.place:
            monkeypatch.setattr(plugin, kept.place, address + kept.path)
        yield Target(incidents, kept.url.format(host=address.removeprefix("http://")))


LABELS = {"rule": "instance-lost", "service": "apache"}


def lost(*names: str, **changes: Any) -> Notification:
    """Return the firing of `instance-lost` on instances of apache."""
    entries = [Entry(Kind.FIRING, lost_alert(name)) for name in names]
    return notification(*entries, **{"labels": LABELS, "still_firing": len(names), **changes})


def back(name: str, still_firing: int, **changes: Any) -> Notification:
    """Return the resolve of one of them, while so many others still fire."""
    entry = Entry(Kind.RESOLVED, lost_alert(name, state=AlertState.INACTIVE, until=at(60)))
    return notification(entry, **{"labels": LABELS, "still_firing": still_firing, "at": at(60), **changes})


def test_one_group_is_one_incident_from_firing_to_resolve(page: Target) -> None:
    """Whatever comes between; a resolve of one of two alerts does not close it, that of the last does."""
    page.tell(lost("a"))
    page.tell(lost("b", still_firing=2))
    page.tell(notification(Entry(Kind.REMINDER, lost_alert("a")), labels=LABELS, still_firing=2, at=at(14_400)))
    page.tell(back("a", still_firing=1))
    assert len(page.incidents.open) == 1
    assert (page.incidents.opened, page.incidents.closed) == (1, 0)
    page.tell(back("b", still_firing=0))
    assert page.incidents.open == {}
    assert (page.incidents.opened, page.incidents.closed, page.incidents.refused) == (1, 1, [])


def test_a_restart_between_firing_and_resolve_changes_nothing(page: Target) -> None:
    """What closes an incident is known without memory; the next episode opens one again."""
    page.tell(lost("a"))
    page.restart()
    page.tell(back("a", still_firing=0))
    assert page.incidents.open == {}
    page.tell(lost("a"))
    assert (len(page.incidents.open), page.incidents.opened) == (1, 2)


def test_two_groups_are_two_incidents(page: Target) -> None:
    """The end of one leaves the other open."""
    page.tell(lost("a"))
    page.tell(notification(group="other", labels={"rule": "apache-minimum", "service": "apache"}))
    assert len(page.incidents.open) == 2
    page.tell(back("a", still_firing=0))
    assert [title.splitlines()[0] for title in page.incidents.open.values()] == ["apache-minimum apache · prod-fra"]


def test_an_alert_of_severity_info_opens_one_where_the_provider_pages_for_it(page: Target) -> None:
    """But for Splunk, to which `INFO` is a line of its timeline."""
    quiet = notification(Entry(Kind.FIRING, alert(rule=RULE.__class__("r", Severity.INFO, "a:1"))))
    page.tell(quiet)
    assert page.incidents.opened == ("splunk" not in page.url)


def test_what_is_forgotten_closes_its_incident(page: Target) -> None:
    """Nobody would close it later."""
    page.tell(lost("a"))
    gone = Entry(Kind.FORGOTTEN, lost_alert("a", state=AlertState.INACTIVE, until=at(60)))
    page.tell(notification(gone, labels=LABELS, still_firing=0))
    assert page.incidents.open == {}


def test_a_message_about_no_group_is_an_incident_of_its_own(page: Target) -> None:
    """A test message or a report must not speak in the name of the incident before it."""
    page.tell(lost("a"))
    page.send(letter_for("page", "test-1"))
    page.tell(back("a", still_firing=0))
    assert len(page.incidents.open) == ("splunk" not in page.url)
    assert not any(title.startswith("instance-lost") for title in page.incidents.open.values())


# --- what people on call read ----------------------------------------------------------------------------------------


def test_the_title_stays_and_the_text_tells_what_happens(duty: Target) -> None:
    """Also where the rules have a title of their own, with counts in it: it becomes the text's first line."""
    duty.tell(lost("172.31.14.97"), Templates(title="{{ up }} of {{ known }} {{ kind }}"))
    duty.tell(lost("172.31.14.98", still_firing=2))
    first, second = (event["payload"]["summary"].splitlines() for event in duty.incidents.requests)
    assert first[:2] == ["instance-lost apache · prod-fra", "1 of 3 firing"]
    assert second[:2] == [
        "instance-lost apache · prod-fra",
        "[FIRING] instance-lost apache/172.31.14.98 · expired: lost contact, its lease ended · warning · prod-fra",
    ]
    assert second[2].startswith("since 04:12:41")
    assert second[-1] == "id 9abc"
    assert [event["payload"]["severity"] for event in duty.incidents.requests] == ["warning", "warning"]


def test_a_small_provider_gets_what_fits(page: Target) -> None:
    """Thousands of lost instances; no message is refused by its size, and the id is there."""
    names = [f"instance-{number}" for number in range(2000)]
    page.tell(lost(*names))
    assert "id 9abc" in str(page.incidents.requests[-1])
    assert page.incidents.opened == 1


def test_a_key_of_the_users_own_stays(duty: Target) -> None:
    """Then all groups share one incident, which is what the key says."""
    duty.restart("?dedup=everything")
    duty.tell(lost("a"))
    duty.tell(notification(group="other"))
    assert list(duty.incidents.open) == ["everything"]


def test_an_action_of_the_users_own_stays(duty: Target) -> None:
    """Such as a target that is to close by hand only."""
    duty.restart("?action=resolve")
    duty.tell(lost("a"))
    assert [event["event_action"] for event in duty.incidents.requests] == ["resolve"]


@pytest.mark.parametrize("url", ["betterstack://0123456789abcdef", f"spike://{HEX}"])
def test_a_provider_that_can_close_nothing_is_warned_of(url: str) -> None:
    """Each resolve would page somebody; nothing is said once resolves are not sent there."""
    rules = {"page": Channel(targets=(target(url),))}
    assert [problem.is_warning for problem in channel.verify(Ruleset(channels=rules))] == [True]
    quiet = {"page": Channel(targets=(target(url),), send_resolved=False)}
    assert channel.verify(Ruleset(channels=quiet)) == []


def test_resolved_alerts_without_an_incident_are_no_fault(page: Target) -> None:
    """Somebody closed it by hand meanwhile."""
    page.tell(notification(Entry(Kind.RESOLVED, over()), still_firing=0))
    assert (page.incidents.opened, page.incidents.refused) == (0, [])
