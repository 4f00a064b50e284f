"""In which groups an alert takes part: where the routes put it when it began, and there it stays.

What an alert's own data says may change while it fires, and windows open and close. It stays where it is all the same,
whoever speaks by then, so that its end is told where its beginning was, under the name that every replica gives it. A
new beginning, and a reload, put it where the rules in force would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alertd.engine.membership import Membership

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from alertd.engine.alert import LiveAlert
    from alertd.engine.group import Group
    from alertd.engine.routing import Way

    Place = tuple[Way, Group]

Keys = tuple[tuple[str, ...], ...]
"""Those of groups."""


def new_places(alert: LiveAlert) -> list[Place]:
    """Return where the rules in force put an alert that begins now."""
    desk = alert.condition.desk
    return [(way, desk.group(way, alert)) for way in desk.router.ways(alert)]


def own_places(alert: LiveAlert) -> list[Place]:
    """Return where an alert stands, by the rules in force; if those lack one of its routes, where they would put it."""
    desk = alert.condition.desk
    groups = {member.group.key[0]: member.group for member in alert.memberships}
    ways = desk.router.ways_by(groups, alert.condition)
    return [(way, groups[way.key]) for way in ways] if groups and len(ways) == len(groups) else new_places(alert)


def keys_of(alert: LiveAlert) -> Keys:
    """Return where an alert takes part, if the rules alone cannot say."""
    is_plain = alert.is_standing and alert.condition.desk.router.is_certain(alert.condition)
    return () if is_plain else tuple(member.group.key for member in alert.memberships)


def put_back(alert: LiveAlert, keys: Keys, owed: Sequence[tuple[str, ...]] = ()) -> bool:
    """Let an alert that another process knew take part where it did there, each group owing what it did.

    Return whether that can be: only if there are keys, and the rules in force have these routes.
    """
    desk = alert.condition.desk
    groups = [desk.find_group(key) for key in keys]
    found = [group for group in groups if group is not None]
    if not groups or len(found) < len(groups):
        return False
    alert.memberships = tuple(Membership(alert, group) for group in found)
    for member, channels in zip(alert.memberships, owed, strict=False):
        member.owed = channels
    return True


def take(alert: LiveAlert, places: Sequence[Place], *, is_news: bool) -> None:
    """Let an alert take part there; what was told before is taken back by the first of these groups.

    `is_news`: all on the way are to be told, unless they know already; else only those that were to be told before, or
    all if nobody who is still there knows: of that, an engine that does not speak can only suppose.
    """
    before = alert.memberships
    if not before:
        alert.memberships = tuple(_set_out(alert, way, group) for way, group in places)
        return
    desk = alert.condition.desk
    owed = {channel: channel in member.supposed for member in before for channel in member.owed}
    knows = {channel for member in before for channel in member.beliefs}
    tells_all = is_news or not any(desk.router.has(channel) for channel in knows)
    supposes = not (is_news or desk.speaks)
    left = {member.group: member for member in before}
    memberships = []
    for way, group in places:
        member = left.pop(group, None) or Membership(alert, group)
        channels = tuple(name for name in way.channels if name not in knows and (tells_all or name in owed))
        member.set_out(way.steps, channels, [name for name in channels if supposes and owed.get(name, True)])
        memberships.append(member)
    alert.memberships = tuple(memberships)
    _succeed(memberships[0], left.values())


def _set_out(alert: LiveAlert, way: Way, group: Group) -> Membership:
    """Take a way on which nobody knows of it, or is owed anything yet."""
    member = Membership(alert, group)
    member.set_out(way.steps, way.channels)
    return member


def _succeed(member: Membership, left: Iterable[Membership]) -> None:
    """Go on, in one group, with what others told that the alert has left."""
    for other in left:
        member.inherit(other)
        member.group.succeed(other.group)
        other.group.drop(other)
