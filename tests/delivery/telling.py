"""One story as people get it: a real engine lives through a night, and its messages go to real receivers.

`python -m tests.delivery.telling` prints what arrives at each, to be looked at.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from alertd.config.schema import Channel, Settings, Templates, Webhook
from alertd.delivery import channel, render
from alertd.delivery.sender import plugin_of
from alertd.model import Place as Position
from tests.delivery.examples import now, target
from tests.engine.story import Story, route, rule
from tests.sinks import Answer, Arrivals, http_inbox, mail_inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from alertd.delivery.sender import Sender
    from alertd.model import Notification

SETTINGS = Settings.model_validate(
    {
        "name": "prod-fra",
        "url": "https://alertd.example",
        "timezone": "Europe/Berlin",
        "storm": {"above": 2, "within": "30s"},
        "forget_after": "1d",
        "flap": False,
    }
)
LOST = rule(
    "instance_lost",
    "*",
    place=Position("rules/web.yaml", 12),
    summary="{{ service }} lost {{ instance }} (rack *{{ rack | default('?') }}*)",
    runbook="https://wiki.example/lost_instances",
    flap={"changes": 4, "within": "10m", "settle": "5m"},
)
ROUTE = route(
    default=True,
    channels=["ops"],
    group_wait="5s",
    group_interval="5s",
    repeat_interval="4h",
    escalate=({"after": "15m", "channels": ["boss"]},),
)
NAMES = ("web_1_a", "web_2_*b*", "web_3_<c>")
SERVICES = tuple(f"svc-{number:02}" for number in range(15))


def live_through() -> list[Notification]:
    """Return all messages of the night, in their order."""
    channels = {"ops": Channel(), "boss": Channel()}
    story = Story(LOST, routes=(ROUTE,), settings=SETTINGS, channels=channels)
    story.put(*(f"apache/{name}" for name in NAMES), host="core01", rack="r7")
    story.put("apache/web_4", "apache/web_5", host="core02", rack="r8").put("pay/x", "pay/y")
    story.put(*(f"{service}/{name}" for service in SERVICES for name in "abc"))
    story.at(60).stop("apache/web_5").at(100).expire(*(f"apache/{name}" for name in NAMES))
    story.at(15_000).put(*(f"apache/{name}" for name in NAMES), host="core01", rack="r7")
    for time in (16_000, 16_040, 16_080):
        story.at(time).fail("pay/x").at(time + 20).up("pay/x")
    story.at(17_000).expire(*(f"{service}/{name}" for service in SERVICES for name in "abc"))
    story.at(18_000).up(*(f"{service}/{name}" for service in SERVICES for name in "abc"))
    story.at(19_000).expire("pay/y").at(19_000 + 86_400 + 100)
    return story.notifications


class Place:
    """One target and what arrived there: `read` makes text of an arrival."""

    def __init__(self, sender: Sender, arrivals: Arrivals, read: Callable[[dict[str, Any]], str]) -> None:
        self._sender = sender
        self._arrivals = arrivals
        self._read = read

    def tell(self, told: Notification) -> str:
        """Send a message, and return what arrived as text."""
        before = len(self._arrivals)
        self._sender.send(render.letter(told, SETTINGS, Templates(), delivered=told.at.wall))
        (arrived,) = self._arrivals[before:]
        return self._read(arrived)


@contextmanager
def places() -> Iterator[dict[str, Place]]:
    """Run the receivers: mail as text and as HTML, Slack, Mattermost, JSON, and a webhook."""
    slack: Any = plugin_of("slack")
    provider = slack.webhook_url
    with ExitStack() as stack:
        mail = stack.enter_context(mail_inbox())
        inbox = stack.enter_context(http_inbox(Answer(body=b"ok")))
        slack.webhook_url = f"http://127.0.0.1:{inbox.port}/slack"
        webhook = Webhook(url=SecretStr(f"http://127.0.0.1:{inbox.port}/hook"))

        def place(url: str, arrivals: Arrivals, read: Callable[[dict[str, Any]], str]) -> Place:
            return Place(channel.build(target(url), "ops #1"), arrivals, read)

        try:
            yield {
                "mail": place(mail.url, mail.received, _mail),
                "html": place(f"{mail.url}&format=html", mail.received, _html),
                "slack": place("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/", inbox.received, _slack),
                "mattermost": place(f"mmost://127.0.0.1:{inbox.port}/token", inbox.received, _mattermost),
                "json": place(inbox.url, inbox.received, _json),
                "webhook": Place(channel.sender_of("hook", "hook #1", webhook, now), inbox.received, _document),
            }
        finally:
            slack.webhook_url = provider


def _mail(arrived: dict[str, Any]) -> str:
    return f"{arrived['subject']}\n\n{arrived['text']}"


def _html(arrived: dict[str, Any]) -> str:
    return f"{arrived['subject']}\n\n{arrived['html']}"


def _slack(arrived: dict[str, Any]) -> str:
    (attachment,) = arrived["attachments"]
    return f"{attachment['color']} {attachment['title']}\n\n{attachment['text']}"


def _mattermost(arrived: dict[str, Any]) -> str:
    return str(arrived["text"])


def _json(arrived: dict[str, Any]) -> str:
    return f"{arrived['type']} {arrived['title']}\n\n{arrived['message']}"


def _document(arrived: dict[str, Any]) -> str:
    return json.dumps(json.loads(arrived["raw"]), ensure_ascii=False, indent=2)


def main() -> None:
    """Print the night, place by place."""
    night = live_through()
    with places() as all_places:
        for name, place in all_places.items():
            for told in night:
                sys.stdout.write(f"\n--- {name}, to {told.channel}\n{place.tell(told)}\n")


if __name__ == "__main__":
    main()
