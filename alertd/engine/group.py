"""What one message speaks of: the alerts of one route that share what it groups by, and when they are told.

A change is told `group_wait` after it, and changes meanwhile join; a firing no sooner than `group_interval` after the
group's last message, but at the latest after twice that, so that a trickle of resolves cannot hold it back for ever,
and at once where it only joins a digest. A resolve goes where the firing was told, whatever the routes say now. While
something fires that nobody has acknowledged, it is repeated every `repeat_interval`, and others are told as the route's
steps say.

While the engine does not speak, news waits here for the moment when it does. What is over by then is kept only as long
as whoever speaks may need to tell it; and what a group has told lately is known for a while after its last alert, so
that who takes over does not tell it again.
"""

from __future__ import annotations

from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING

from alertd.engine.membership import NOBODY
from alertd.engine.message import Part
from alertd.engine.timers import Timer, stop
from alertd.model import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alertd.config.schema import Route
    from alertd.engine.desk import Desk
    from alertd.engine.membership import Membership
    from alertd.engine.message import Parts
    from alertd.model import Instant

_LINGERS = 300.0
"""Seconds for which it is known what a group has told last."""

_UNSPOKEN = 120.0
"""Seconds for which an engine that does not speak keeps news of what is over, beyond what its telling takes."""

_SUBJECT = {
    Kind.FORGOTTEN: Kind.FORGOTTEN,
    Kind.FIRING: Kind.FIRING,
    Kind.RESOLVED: Kind.FIRING,
    Kind.FLAPPING: Kind.FLAPPING,
    Kind.SETTLED: Kind.SETTLED,
}
"""Which kinds share a message, and in which order these are told."""


class Group:
    """The alerts of one group, and what is still to be told of them.

    `digested` are the channels told by digest; `through` says of each up to which revision it was told of what is over.
    `spoke` is when anybody was last told, in monotonic seconds.
    """

    __slots__ = (
        "_chase",
        "_news",
        "_tell",
        "desk",
        "digested",
        "key",
        "labels",
        "members",
        "reminders",
        "route",
        "spoke",
        "through",
    )

    def __init__(self, key: tuple[str, ...], labels: dict[str, str], desk: Desk) -> None:
        self.key = key
        self.labels = labels
        self.desk = desk
        self.route: Route
        self.members: dict[Membership, None] = {}
        self.digested: set[str] = set()
        self.reminders = 0
        self.through: dict[str, int] = {}
        self._news: dict[Membership, float] = {}
        """Who has news, and since when."""
        self.spoke = -inf
        self._tell = Timer(self._tell_news)
        self._chase = Timer(self._remind_and_escalate)

    @property
    def name(self) -> str:
        """What it is grouped by, as people read it: `apache-minimum/apache`."""
        return name_of(self.labels)

    @property
    def id(self) -> str:
        """What names it on every replica, fit for a key."""
        return sha256("\0".join(self.key).encode()).hexdigest()[:12]

    @property
    def has_spoken(self) -> bool:
        """Whether anybody was told anything, lately."""
        return self.spoke > -inf

    def is_known_to(self, channel: str) -> bool:
        """Tell whether a channel was told of anything here that it has not been told the end of."""
        return any(channel in member.beliefs for member in self.members)

    # --- what its members ask ----------------------------------------------------------------------------------------

    def note(self, member: Membership, now: Instant, since: Instant) -> None:
        """Take note that `member` has had news `since` then, and let it be told in time."""
        self._news.setdefault(member, since.mono)
        _arm(self._tell, max(since.mono + self.route.group_wait, now.mono), self.desk)

    def withdraw(self, member: Membership) -> bool:
        """Take note that `member` has no news; return whether it had."""
        return self._news.pop(member, None) is not None

    def chase(self, member: Membership, now: Instant) -> None:
        """See when to remind of `member` and to escalate it; to be called when that may have become sooner."""
        reminded = max(self.spoke + self.route.repeat_interval, now.mono)
        has_steps = member.steps_done < len(member.steps)
        if not has_steps and self._chase.due is not None and self._chase.due <= reminded:
            return
        due = self._due(member, now)
        if due < inf:
            _arm(self._chase, due, self.desk)

    def drop(self, member: Membership) -> None:
        """Let go of one that owes nothing any more; the last one takes the group along once its interval is over."""
        self.members.pop(member, None)
        self._news.pop(member, None)
        self.desk.leave(member)
        if not self.members:
            self._rest()

    def _rest(self) -> None:
        """Have no members: go, once nobody need know any more what was told last."""
        stop(self._tell)
        if self.has_spoken:
            self.desk.timers.start(self._chase, self.spoke + max(self.route.group_interval, _LINGERS))
        else:
            self._go()

    def _go(self) -> None:
        stop(self._chase)
        self.desk.groups.pop(self.key, None)
        self.note_told()

    def succeed(self, other: Group) -> None:
        """Take the place of a group that an alert has left: what that told counts as told here."""
        self.spoke = max(self.spoke, other.spoke)
        self.reminders = max(self.reminders, other.reminders)
        self.digested |= other.digested
        self.note_told()

    def wait(self, now: Instant) -> float:
        """Return in how many seconds a firing of now would be told."""
        return max(self.route.group_wait, self.spoke + self.route.group_interval - now.mono)

    @property
    def news_due(self) -> float:
        """When its news is told, in monotonic seconds; -inf if it has none."""
        return -inf if self._tell.due is None else self._tell.due

    def note_told(self) -> None:
        """Take note that what is known of its channels has changed."""
        if self.desk.speaks:
            self.desk.told[self] = None

    # --- taking over -------------------------------------------------------------------------------------------------

    def take_over(self, spoke: float, reminders: int, digested: set[str], through: dict[str, int]) -> None:
        """Go on with what another told of this group, but for its members, whose news is to be found out anew."""
        self._news = {}
        self.spoke, self.reminders, self.digested, self.through = spoke, reminders, digested, through

    def discharge_told(self) -> None:
        """Owe nobody what is over and was told before this engine spoke; by that, nobody what was only supposed."""
        told_to_any = max(self.through.values(), default=-1)
        for member in self.members:
            alert = member.alert
            for channel in member.owed if not alert.is_standing else ():
                told = max(each.group.through.get(channel, -1) for each in alert.memberships)
                through = told_to_any if channel in member.supposed else told
                if channel not in member.beliefs and alert.over <= through:
                    member.discharge(channel)

    def leave_if_empty(self) -> None:
        """Go in time, if it has no members."""
        if not self.members:
            self._rest()

    # --- news --------------------------------------------------------------------------------------------------------

    def _tell_news(self, now: Instant) -> None:
        """Tell all that may be told now, first of what is forgotten, since the same target may fire anew."""
        if not self.desk.speaks:
            self._give_up_old_news(now)
            return
        news, self._news = self._news, {}
        forgotten = {member: since for member, since in news.items() if member.alert.ending is Kind.FORGOTTEN}
        others = {member: since for member, since in news.items() if member not in forgotten}
        has_told = [self._tell_of(forgotten, now), self._tell_of(others, now)]
        if any(has_told):
            self.spoke = now.mono
        for member in news:
            member.alert.follow_up(now)

    def _give_up_old_news(self, now: Instant) -> None:
        """Let go of what is over and must have been told by whoever speaks, if anybody does."""
        keeps = self.route.group_wait + self.desk.settings.storm.within + _UNSPOKEN
        over = [(since, member) for member, since in self._news.items() if not member.alert.is_standing]
        for since, member in over:
            if not self.desk.is_spoken_for:
                _arm(self._tell, now.mono + keeps, self.desk)
            elif now.mono < since + keeps:
                _arm(self._tell, since + keeps, self.desk)
            else:
                member.owed, member.beliefs = (), NOBODY
                self._news.pop(member)
                member.alert.follow_up(now)

    def _tell_of(self, news: Mapping[Membership, float], now: Instant) -> bool:
        """Tell of some members; return whether any channel wanted it."""
        subjects: dict[Kind, Parts] = {subject: {} for subject in dict.fromkeys(_SUBJECT.values())}
        for member, since in news.items():
            for channel, kind in member.news():
                part = Part(member, kind)
                if self._may_tell(part, channel, since, now):
                    subjects[_SUBJECT[kind]].setdefault(channel, []).append(part)
        has_told = [self._say(parts, now) for parts in subjects.values()]
        return any(has_told)

    def _may_tell(self, part: Part, channel: str, since: float, now: Instant) -> bool:
        """Tell whether a part goes out now; what has to wait is noted again, what is muted waits for that to end."""
        member, kind = part
        if member.withholds(channel, kind, now):
            return False
        may = -inf
        if member.is_early(kind, now):
            may = member.alert.not_before
        if kind is Kind.FIRING and not self.desk.outlet(channel).is_collecting:
            interval = self.route.group_interval
            may = max(may, min(self.spoke + interval, since + 2 * interval))
        if now.mono >= may:
            return True
        self._news[member] = since
        _arm(self._tell, may, self.desk)
        return False

    def _say(self, parts: Parts, now: Instant) -> bool:
        """Let each channel be told its part; return whether any wanted it."""
        wanted = [self.desk.outlet(channel).tell(self, its, now) for channel, its in parts.items()]
        return any(wanted)

    # --- reminders and escalation ------------------------------------------------------------------------------------

    def _remind_and_escalate(self, now: Instant) -> None:
        """Do what is due of both, and see when more is."""
        if not self.members:
            self._go()
            return
        if not self.desk.speaks:
            return
        self._escalate(now)
        if now.mono >= self.spoke + self.route.repeat_interval:
            self._remind(now)
        due = min(self._due(member, now) for member in self.members)
        if due < inf:
            self.desk.timers.start(self._chase, due)

    def _due(self, member: Membership, now: Instant) -> float:
        """Return when the next reminder or step about `member` is due, in monotonic seconds, not before `now`."""
        begins = max(member.alert.not_before, now.mono)
        if not member.is_pressing(begins):
            return inf
        step = member.next_step()
        due = min(self.spoke + self.route.repeat_interval, step[0] if step is not None else inf)
        return max(due, begins)

    def _escalate(self, now: Instant) -> None:
        parts: Parts = {}
        for member in self.members:
            fresh: dict[str, None] = {}
            while member.is_pressing(now.mono) and (step := member.next_step()) is not None and step[0] <= now.mono:
                member.steps_done += 1
                self.note_told()
                fresh.update(dict.fromkeys(step[1].channels))
            for channel in fresh:
                if not member.alert.is_known_to(channel):
                    parts.setdefault(channel, []).append(Part(member, Kind.ESCALATED))
        self._say(parts, now)

    def _remind(self, now: Instant) -> None:
        parts: Parts = {}
        for member in self.members:
            for channel in member.told_before(now) if member.is_pressing(now.mono) else ():
                parts.setdefault(channel, []).append(Part(member, Kind.REMINDER))
        if not parts:
            return  # nobody is told, so the pace is that of the last who were
        self.reminders += 1
        self.spoke = now.mono
        self.note_told()
        self._say(parts, now)


def name_of(labels: Mapping[str, str]) -> str:
    """Return what a group with these labels is called: `apache-minimum/apache`."""
    return "/".join(filter(None, labels.values())) or "all"


def _arm(timer: Timer, due: float, desk: Desk) -> None:
    """Let `timer` fire at `due` unless it does so earlier."""
    if timer.due is None or due < timer.due:
        desk.timers.start(timer, due)
