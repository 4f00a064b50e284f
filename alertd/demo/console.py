"""How the demo is told: what happened, what alertd saw, what it decided and why, and what arrived at the inbox.

One row a fact: the time, whose word it is, and the words; readable at 80 columns, coloured on a terminal alone.
"""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from alertd.delivery.wording import cause_text
from alertd.model import Decision, Reason, Transition

if TYPE_CHECKING:
    from alertd.delivery.lane import Delivery
    from alertd.demo.inbox import Message
    from alertd.model import Action

_MEANING = {
    Reason.CONDITION_TRUE: "holds now; if it lasts, it fires",
    Reason.HELD_FOR: "held long enough: it fires",
    Reason.BROKE_BEFORE_FOR: "ended before it fired: not told",
    Reason.CONDITION_FALSE: "is over: it resolves",
    Reason.FLAPPING_BEGAN: "flaps: told once, then silence",
    Reason.FLAPPING_ENDED: "is steady again: its end is told",
    Reason.ENDED_UNTOLD: "is as last told: nothing to say",
}
"""The decisions that are told, in words that follow rule and target."""

_STYLES = {"happens": "bold", "sees": "cyan", "decides": "yellow", "receives": "magenta"}


class Narrator:
    """Prints the demo on stdout; `zone` is what its times are shown in."""

    def __init__(self, zone: tzinfo = UTC) -> None:
        self._console = Console(file=sys.stdout, highlight=False, soft_wrap=False)
        self._zone = zone
        self._kinds: Counter[str] = Counter()
        self.is_telling = False
        """Whether what alertd sees and decides is told; not while the stage is being set up."""

    def say(self, text: str = "") -> None:
        """Print a line as it is; a long one is not broken, so that it can be copied."""
        self._console.print(Text(text), soft_wrap=True)

    def happens(self, text: str) -> None:
        """Tell a scene of the story."""
        self._console.print()
        self._row("happens", Text(text, style="bold"))

    def observe(self, action: Action | Delivery) -> None:
        """Tell what alertd saw or decided."""
        if not self.is_telling:
            return
        if isinstance(action, Transition):
            self._transition(action)
        elif isinstance(action, Decision) and action.reason in _MEANING:
            self._decision(action)

    def receive(self, message: Message) -> None:
        """Tell what arrived."""
        if not self.is_telling:
            return
        kind = message.title.partition("]")[0].lstrip("[")
        self._kinds.update(part.partition(":")[0] for part in kind.split())
        text = Text(message.title, style=_tone(message.title))
        for line in message.body.rstrip().splitlines():
            text.append(f"\n  {line}", style="not bold default")
        self._row("receives", text)

    def received(self) -> str:
        """Return how many messages of each kind arrived."""
        return ", ".join(f"{count} {kind}" for kind, count in sorted(self._kinds.items())) or "none"

    def _transition(self, transition: Transition) -> None:
        word, style = ("UP  ", "green") if transition.up else ("DOWN", "red")
        text = Text.assemble((word, style), f" {transition.service}/{transition.instance}  ")
        self._row("sees", text.append(cause_text(transition.cause, transition.detail)))

    def _decision(self, decision: Decision) -> None:
        text = Text.assemble((decision.rule, "bold"), f" {decision.target} {_MEANING[decision.reason]}\n")
        place = decision.source.partition(" @")[0]
        self._row("decides", text.append(f"  {decision.reason}, {place}", style="dim"))

    def _row(self, who: str, text: Text) -> None:
        margin = Text.assemble((f"{self._now()}  ", "dim"), (f"{who:<10}", _STYLES[who]))
        for part in text.split("\n"):
            hang = " " * (len(part.plain) - len(part.plain.lstrip()))
            part.plain = part.plain.lstrip()
            for line in part.wrap(self._console, self._console.width - len(margin) - len(hang)):
                line.rstrip()
                self._console.print(Text.assemble(margin, hang, line), soft_wrap=True)
                margin = Text(" " * len(margin))

    def _now(self) -> str:
        return datetime.now(UTC).astimezone(self._zone).strftime("%H:%M:%S")


def _tone(title: str) -> str:
    if title.startswith(("[RESOLVED", "[SETTLED")):
        return "bold green"
    return "bold yellow" if title.startswith("[FLAPPING") else "bold red"
