"""What alerts, groups and mutes share: deadlines, where actions go, who is told, and the revision being judged."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from alertd.engine.calendar import Ends
from alertd.engine.group import Group
from alertd.engine.storm import Outlet
from alertd.model import Decision, Kind, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from alertd.config.schema import Route, Settings
    from alertd.engine.alert import LiveAlert
    from alertd.engine.calendar import Calendar
    from alertd.engine.membership import Membership
    from alertd.engine.mute import Mutes
    from alertd.engine.routing import Router, Way
    from alertd.engine.timers import Timers
    from alertd.model import Ack, Action, Instant

_SAME_FIRING = 1.0
"""Seconds by which an acknowledgement may miss the alert's `since`, which documents show with less precision."""


class Desk:
    """One an engine. `router`, `mutes`, `calendar` and `settings` follow the ruleset in force."""

    __slots__ = (
        "_ended",
        "_members",
        "_outlets",
        "ack_ends",
        "acks",
        "active",
        "calendar",
        "episodes",
        "era",
        "first_episode",
        "groups",
        "hindsight",
        "is_dated",
        "is_spoken_for",
        "mutes",
        "out",
        "revision",
        "router",
        "settings",
        "speaks",
        "stormy",
        "timers",
        "told",
        "touched",
    )

    def __init__(self, timers: Timers, out: list[Action], touched: dict[str, None]) -> None:
        self.timers = timers
        self.touched = touched
        self.out = out
        self.router: Router
        self.mutes: Mutes
        self.calendar: Calendar
        self.settings: Settings
        self.revision = 0
        self.hindsight = False
        """Whether what is judged now happened earlier: what turned true did so then, what turned false never was."""
        self.active: dict[str, LiveAlert] = {}
        """Alerts that are pending, firing or flapping, by id."""
        self.is_dated = False
        """Whether what is judged now happened at `revision`, which then names it, on every replica."""
        self.era = 0
        """From where firings are counted that a revision names: another number once revisions have begun anew."""
        self.first_episode = 0
        """The same of those that none names: where an earlier process has counted some, a number beyond those."""
        self.episodes: dict[str, tuple[int, int]] = {}
        """Revision and episode of alerts whose rule is gone: should it return, their messages must not look alike."""
        self._ended: dict[str, list[LiveAlert]] = {}
        """By id, alerts that ended for good and whose end has not been told yet."""
        self.groups: dict[tuple[str, ...], Group] = {}
        self.speaks = True
        """Whether this engine tells people; one that does not only knows what it would tell."""
        self.is_spoken_for = False
        """Whether another is known to tell people, if this engine does not."""
        self.told: dict[Group, None] = {}
        """Groups of which something was told, or which have gone, since that was last asked for."""
        self.stormy: dict[str, None] = {}
        """Channels whose storm went on or ended since then."""
        self.acks: dict[str, Ack] = {}
        """Acknowledgements by alert id, also of alerts that are not known yet."""
        self.ack_ends = Ends(self._end_of_ack)
        self._members: dict[str, dict[Membership, None]] = {}
        """By service, all that takes part in a group."""
        self._outlets: dict[str, Outlet] = {}

    def outlet(self, channel: str) -> Outlet:
        """Return what guards a channel against storms."""
        outlet = self._outlets.get(channel)
        if outlet is None:
            outlet = self._outlets[channel] = Outlet(channel, self)
        return outlet

    def group(self, way: Way, alert: LiveAlert) -> Group:
        """Return the group that an alert belongs to on its way."""
        key = (way.key, *alert.condition.values_of(way.route.group_by, alert))
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Group(key, _labels_of(way.route, key), self)
        group.route = way.route
        return group

    def group_of(self, key: tuple[str, ...], labels: dict[str, str]) -> Group:
        """Return the group of that key, known from now on."""
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Group(key, labels, self)
            group.route = self.router.route_of(key[0])
        return group

    def find_group(self, key: tuple[str, ...]) -> Group | None:
        """Return the group of that key, known from now on, if the rules in force have its route."""
        route = self.router.find(key[0]) if key else None
        if route is None or len(key) != len(route.group_by) + 1:
            return None
        return self.group_of(key, _labels_of(route, key))

    def place(self, way: Way, alert: LiveAlert) -> tuple[tuple[str, ...], dict[str, str]]:
        """Return the key of the group that an alert belongs to on its way, and what that is grouped by."""
        key = (way.key, *alert.condition.values_of(way.route.group_by, alert))
        return key, _labels_of(way.route, key)

    def ack_of(self, alert: LiveAlert) -> Ack | None:
        """Return who has taken on this firing of an alert, if anybody."""
        ack = self.acks.get(alert.id) if self.acks else None
        if ack is None or alert.since is None:
            return None
        if ack.since is not None and abs((ack.since - alert.since.wall).total_seconds()) > _SAME_FIRING:
            return None
        return ack

    def decide(self, alert: LiveAlert, reason: Reason, now: Instant, detail: str = "") -> None:
        """Leave a decision about an alert as an action; whatever it is, the alert is to be remembered anew."""
        condition = alert.condition
        self.touched[condition.service.name] = None
        text = condition.rule.text
        self.out.append(Decision(now, alert.id, text.name, text.source, alert.target, reason, detail))

    def rehome(self, now: Instant) -> None:
        """Have every alert take the ways of the router that is in force now; nobody is told anew for that."""
        for alert in self.alerts():
            alert.rehome(now)

    def join(self, member: Membership) -> None:
        """Take note that an alert takes part in a group."""
        name = member.alert.condition.service.name
        members = self._members.get(name)
        if members is None:
            members = self._members[name] = {}
        members[member] = None

    def leave(self, member: Membership) -> None:
        """Take note that it does no longer."""
        name = member.alert.condition.service.name
        members = self._members[name]
        members.pop(member, None)
        if not members:
            del self._members[name]

    def alerts(self, services: Iterable[str] | None = None) -> dict[LiveAlert, None]:
        """Return all alerts (None) or those of some services that stand, or owe anybody anything."""
        found = self._members.values() if services is None else (self._members.get(name, {}) for name in services)
        return {member.alert: None for members in found for member in members}

    def collect(self, now: Instant, extra: float) -> None:
        """Let each channel be told all that there is to tell now as one digest, `extra` seconds after the last.

        What is kept back for longer by its group's interval is told in its own time.
        """
        soon = (min(group.news_due, now.mono + group.route.group_wait) for group in self.groups.values())
        last = max(soon, default=now.mono)
        for channel in self.router.channels:
            self.outlet(channel).collect(max(last, now.mono) + extra)

    def _end_of_ack(self, alert_id: str) -> datetime | None:
        ack = self.acks.get(alert_id)
        return None if ack is None else ack.until

    def unlearn(self, now: Instant) -> None:
        """Take it that nobody has been told of anything yet."""
        self._ended.clear()
        for outlet in self._outlets.values():
            outlet.forget()
        self._outlets = {}
        for group in self.groups.values():
            group.take_over(-inf, 0, set(), {})
        for alert in self.alerts():
            alert.unlearn(now)
        self.told.clear()
        self.stormy.clear()

    def episode_of(self, alert: LiveAlert) -> int:
        """Return from where an alert that turns now counts its firings."""
        if not self.is_dated:
            return max(alert.episode, self.first_episode)
        return alert.episode if alert.revision == self.revision else self.era

    def rebase(self, now: Instant) -> None:
        """Take all that happened by now for earlier than whatever happens from now on, at whatever revision."""
        self.era = unused_number(now)
        for group in self.groups.values():
            group.through = dict.fromkeys(group.through, 0)
        for alert in self.alerts():
            alert.revision = alert.over = 0

    def mark_all_told(self) -> None:
        """Take it that what is known of all groups and channels has changed."""
        self.told |= dict.fromkeys(self.groups.values())
        self.stormy |= dict.fromkeys(self._outlets)

    # --- alerts that come and go -------------------------------------------------------------------------------------

    def bury(self, alert: LiveAlert) -> None:
        """Take note that an alert has ended for good."""
        if alert.memberships:
            self._ended.setdefault(alert.id, []).append(alert)
        if alert.ending is Kind.RESOLVED and alert.episode:
            self.episodes[alert.id] = alert.revision, alert.episode

    def adopt(self, alert: LiveAlert) -> None:
        """Let an alert whose rule is back go on with what was told before that went."""
        for before in self._ended.get(alert.id, ()):
            if before.ending is Kind.RESOLVED:
                alert.since, alert.until, alert.reason = before.since, before.until, before.reason
                alert.memberships, before.memberships = before.memberships, ()
                for member in alert.memberships:
                    member.alert = alert
        if alert.memberships:
            self._clear_out(alert.id)

    def is_yet_to_end(self, alert: LiveAlert, channel: str) -> bool:
        """Tell whether a channel is still to be told the end of one before `alert` on the same rule and target."""
        return bool(self._ended) and any(each.is_known_to(channel) for each in self._ended.get(alert.id, ()))

    def let_go(self, alert: LiveAlert, now: Instant) -> None:
        """Let go of an alert that is in no group any more; one that came after it has been waiting for that."""
        self.mutes.review(alert, now)
        if alert.ending is not None and self._clear_out(alert.id):
            successor = self.active.get(alert.id)
            if successor is not None:
                successor.change_news(now)

    def _clear_out(self, alert_id: str) -> bool:
        """Drop those that ended and owe nothing any more; return whether there were any."""
        ended = self._ended.pop(alert_id, [])
        owing = [alert for alert in ended if alert.memberships]
        if owing:
            self._ended[alert_id] = owing
        return len(owing) < len(ended)


def unused_number(now: Instant) -> int:
    """Return a number beyond all that firings were counted by so far, in whatever process."""
    return round(now.wall.timestamp() * 1000)


def _labels_of(route: Route, key: tuple[str, ...]) -> dict[str, str]:
    """Return what the group of that key is grouped by."""
    return dict(zip(route.group_by, key[1:], strict=True))
