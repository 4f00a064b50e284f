"""What one message speaks of: the alerts of one route that share what it groups by, and when they are told.

A change is told `group_wait` after it, and changes meanwhile join; a firing no sooner than `group_interval` after the
group's last message. A resolve goes where the firing was told, whatever the routes say now. While something fires that
nobody has acknowledged, it is repeated every `repeat_interval`, and others are told as the route's steps say.
"""

from __future__ import annotations

from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING

from alertd.engine.facts import describe_alert, describe_service
from alertd.engine.storm import Part
from alertd.engine.timers import Timer, stop
from alertd.model import AlertState, Entry, Escalation, Instant, Kind, Notification, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from alertd.config.schema import Route
    from alertd.engine.desk import Desk
    from alertd.engine.membership import Membership

_SUBJECTS: tuple[tuple[Kind, ...], ...] = (
    (Kind.FORGOTTEN,),
    (Kind.FIRING, Kind.RESOLVED),
    (Kind.FLAPPING,),
    (Kind.SETTLED,),
)
"""Kinds that share a message. What is forgotten comes first: the same target may fire anew."""

Parts = dict[str, list[Part]]
"""What each channel is told."""


class Group:
    """The alerts of one group, and what is still to be told of them."""

    __slots__ = (
        "_chase",
        "_last",
        "_news",
        "_reminders",
        "_spoke",
        "_tell",
        "desk",
        "firing",
        "key",
        "labels",
        "members",
        "route",
    )

    def __init__(self, key: tuple[str, ...], labels: dict[str, str], desk: Desk) -> None:
        self.key = key
        self.labels = labels
        self.desk = desk
        self.route: Route
        self.members: dict[Membership, None] = {}
        self.firing = 0
        """How many of its alerts fire."""
        self._news: dict[Membership, None] = {}
        self._last = -inf
        self._spoke = -inf
        self._reminders = 0
        self._tell = Timer(self._tell_news)
        self._chase = Timer(self._remind_and_escalate)

    @property
    def name(self) -> str:
        """What it is grouped by, as people read it: `apache-minimum/apache`."""
        return name_of(self.labels)

    def wait(self, now: Instant) -> float:
        """Return in how many seconds a firing of now would be told."""
        return max(self.route.group_wait, self._last + self.route.group_interval - now.mono)

    def note(self, member: Membership, now: Instant) -> None:
        """Take note that `member` has news, and let it be told in time."""
        self._news[member] = None
        self._arm(self._tell, max(now.mono + self.route.group_wait, member.not_before))

    def chase(self, now: Instant) -> None:
        """See when to remind and to escalate next; to be called when that may have become sooner."""
        due = inf
        for member in self.members:
            if member.is_pressing:
                step = member.next_step()
                due = min(due, self._spoke + self.route.repeat_interval, step[0] if step is not None else inf)
        if due < inf:
            self.desk.timers.start(self._chase, max(due, now.mono))

    def drop(self, member: Membership) -> None:
        """Let go of one that owes nothing any more; the last one takes the group along once its interval is over."""
        self.members.pop(member, None)
        self._news.pop(member, None)
        if self.members:
            return
        stop(self._chase)
        if self._last > -inf:
            self._arm(self._tell, self._last + self.route.group_interval)
        else:
            self.desk.groups.pop(self.key, None)

    def succeed(self, other: Group) -> None:
        """Take the place of a group that a reload replaced: what it told counts as told here."""
        self._last = max(self._last, other._last)
        self._spoke = max(self._spoke, other._spoke)
        self._reminders = max(self._reminders, other._reminders)

    def _arm(self, timer: Timer, due: float) -> None:
        if timer.due is None or due < timer.due:
            self.desk.timers.start(timer, due)

    # --- news --------------------------------------------------------------------------------------------------------

    def _tell_news(self, now: Instant) -> None:
        """Tell all that may be told now; only firings may have to wait on."""
        if not self.members:
            self.desk.groups.pop(self.key, None)
            return
        telling: list[Membership] = []
        waiting: dict[Membership, float] = {}
        news, self._news = self._news, {}
        for member in news:
            if member.news is None:
                continue
            if member.must_wait:
                member.withhold(now)
                continue
            may = max(self._last + self.route.group_interval, member.not_before)
            if member.news is Kind.FIRING and now.mono < may:
                waiting[member] = may
            else:
                telling.append(member)
        for kinds in _SUBJECTS:
            self._tell_of([member for member in telling if member.news in kinds], now)
        for member, may in waiting.items():
            self._news[member] = None
            self._arm(self._tell, may)
        for member in [*news, *telling]:
            member.alert.tidy(member)
        self.chase(now)

    def _tell_of(self, members: list[Membership], now: Instant) -> None:
        """Tell each channel what is news to it, and take note of it."""
        if not members:
            return
        self._last = now.mono
        parts: Parts = {}
        told: list[tuple[Membership, tuple[str, ...]]] = []
        for member in members:
            kind = member.news or Kind.FIRING
            channels = self._channels_of(member, kind, now)
            told.append((member, channels))
            for channel in channels:
                parts.setdefault(channel, []).append(Part(member, kind, member.belief(channel)))
        admitted = self._admit(parts, self._channels_told(), now)
        for member, channels in told:
            member.mark_told(channels, now)
        if parts:
            self._spoke = now.mono
        for channel in admitted:
            self._send(channel, parts[channel], now)

    def _admit(self, parts: Parts, before: set[str], now: Instant) -> list[str]:
        """Return the channels that are told now; for the others it is held, to be digested."""
        return [
            channel
            for channel, its in parts.items()
            if self.desk.outlet(channel).admits(self, its, now, is_new=channel not in before)
        ]

    def _channels_told(self) -> set[str]:
        """Return the channels that were told of anything which they have not been told the end of."""
        return {channel for member in self.members for channel in (*member.told, *member.flap_told)}

    def _channels_of(self, member: Membership, kind: Kind, now: Instant) -> tuple[str, ...]:
        """Return who is told this of `member`: a firing those on its way, all that follows those told before."""
        before = tuple(dict.fromkeys(member.told + member.flap_told))
        if kind is Kind.FIRING:
            wanted = member.channels
        elif kind is Kind.FLAPPING:
            wanted = tuple(dict.fromkeys(before + member.channels))
        else:
            wanted = before or member.channels
        return self._willing(member, kind, wanted, now)

    def _willing(self, member: Membership, kind: Kind, wanted: Iterable[str], now: Instant) -> tuple[str, ...]:
        told = []
        for channel in wanted:
            why_not = self.desk.router.wants(channel, kind)
            self.desk.decide(member.alert, why_not or Reason.TOLD, now, f"{kind} to {channel}")
            if why_not is None:
                told.append(channel)
        return tuple(told)

    # --- reminders and escalation ------------------------------------------------------------------------------------

    def _remind_and_escalate(self, now: Instant) -> None:
        """Do what is due of both, and see when more is."""
        self._escalate(now)
        if now.mono >= self._spoke + self.route.repeat_interval:
            self._remind(now)
        self.chase(now)

    def _escalate(self, now: Instant) -> None:
        parts: Parts = {}
        before = self._channels_told()
        for member in self.members:
            while member.is_pressing and (next_step := member.next_step()) and next_step[0] <= now.mono:
                fresh = [channel for channel in next_step[1].channels if channel not in member.told]
                channels = self._willing(member, Kind.ESCALATED, fresh, now)
                for channel in channels:
                    parts.setdefault(channel, []).append(Part(member, Kind.ESCALATED, member.belief(channel)))
                member.mark_escalated(channels)
        for channel in self._admit(parts, before, now):
            self._send(channel, parts[channel], now)

    def _remind(self, now: Instant) -> None:
        parts: Parts = {}
        for member in self.members:
            if member.is_pressing:
                for channel in self._willing(member, Kind.REMINDER, member.told, now):
                    parts.setdefault(channel, []).append(Part(member, Kind.REMINDER, Kind.FIRING))
        self._reminders += 1
        self._spoke = now.mono if parts else self._spoke
        for channel in self._admit(parts, set(parts), now):
            self._send(channel, parts[channel], now)

    # --- one message -------------------------------------------------------------------------------------------------

    def _send(self, channel: str, parts: Sequence[Part], now: Instant) -> None:
        """Emit one notification."""
        entries = tuple(Entry(part.kind, describe_alert(part.member.alert)) for part in parts)
        kinds = {part.kind for part in parts}
        alerts = [part.member.alert for part in parts]
        services = {}
        for service in dict.fromkeys(alert.condition.service for alert in alerts):
            spoken_of = [a.instance for a in alerts if a.instance is not None and a.condition.service is service]
            services[service.name] = describe_service(service, spoken_of)
        standing = [m for m in self.members if channel in m.told and m.alert.state is AlertState.FIRING]
        wants_all = channel in self.desk.router.whole_groups
        spoken = {part.member for part in parts}
        self.desk.out.append(
            Notification(
                id=self._id(channel, parts),
                kind=Kind.FIRING if Kind.FIRING in kinds else entries[0].kind,
                channel=channel,
                group=self.name,
                entries=entries,
                services=services,
                still_firing=len(standing),
                at=now,
                next=self._next_steps(parts, now),
                standing=tuple(describe_alert(m.alert) for m in standing if m not in spoken) if wants_all else (),
                labels=self.labels,
            )
        )

    def _id(self, channel: str, parts: Sequence[Part]) -> str:
        """Return what names the message: the same on every replica, another for each that differs."""
        marks = [part.member.mark(part.kind) for part in parts]
        if parts[0].kind in {Kind.REMINDER, Kind.ESCALATED}:
            marks.append(f"{self._reminders} {parts[0].member.steps_done}")
        return sha256("\0".join((channel, self.name, *marks)).encode()).hexdigest()[:12]

    def _next_steps(self, parts: Sequence[Part], now: Instant) -> tuple[Escalation, ...]:
        """Return who is told next if nobody acts."""
        steps: dict[tuple[str, ...], float] = {}
        for member, *_ in parts:
            if member.is_pressing and member.first_told is not None:
                for step in member.steps[member.steps_done :]:
                    at = member.first_told + step.after
                    steps[step.channels] = min(at, steps.get(step.channels, inf))
        return tuple(Escalation(channels, now.shifted_to(at)) for channels, at in sorted(steps.items(), key=_by_time))


def name_of(labels: Mapping[str, str]) -> str:
    """Return what a group with these labels is called: `apache-minimum/apache`."""
    return "/".join(labels.values()) or "all"


def _by_time(step: tuple[tuple[str, ...], float]) -> float:
    return step[1]
