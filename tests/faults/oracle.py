"""Judges what a receiver was told against what really happened. Pure: (edges, windows, messages) -> verdict.

An *edge* is a moment at which an alert began to be due or ended. For each channel and alert, the messages with
different ids, in the order of their arrival, are laid against the edges so that the least is left to complain of:

* A FIRING tells an edge that fires, a RESOLVED one that ends, never before it happened, and always a later edge than
  the message before told. So FIRING and RESOLVED alternate; a message for which no edge is left is **wrong**: the same
  news under a second id, a resolve without a firing, something that never happened.
* A lone RESOLVED that says both times tells two edges, the firing and its end; but the firing is **lost** if it lasted
  for LATE seconds outside of all windows: nobody was told while it could have helped.
* Edges may be left untold in pairs only (a state that came and was undone). Such a pair is **lost** if the state
  between lasted for GRACE seconds while nothing kept alertd from telling it: outside of all windows, and of the GRACE
  after each in which alertd picks up again. ("Fired and ended before it could be told: one RESOLVED"; "back to what was
  last told before it could be told: nothing to say".)
* A firing that ended while somebody watched, though nobody could speak, has to be told too, by one RESOLVED with both
  times; several of one window may be told as the last of them. What was undone while nobody watched is replayed without
  times and judged by how it ended ("Time" in the contract), so it may be told or not.
* What is told last must be how it stands: else the last edge is lost, and the final state is wrong.

A message that comes again with the same id is a **duplicate**. It must say the same, and there must be a cause, else it
is wrong as well: a process was killed or frozen, or a connection broken, at the moment when the first copy was accepted
(less than GRACE before it or RECORDING after), so that nobody could record it; or a process that was frozen went on and
sent what it had been about to send: IN_FLIGHT messages a target at most. Only such a copy may arrive after a later
message about the same alert, or one where that was not recorded either, and so comes again as well. Of alertd's own
alerts (rules `alertd-…`) only the order is judged.

Transitions made, told and lost are counted for each channel: each has to be told to all. The *worst delay* is the
longest time from an edge to the message that told it, not counting windows that the edge falls into (or that begin
within GRACE after it), and what the fault itself forces after them: a lease that must end, or the pause of a retry.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from tests.faults.reading import CHANNELS, FIRING, RESOLVED, Message, News
from tests.faults.truth import Alert, Edge, Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

GRACE = 1.0
"""Seconds that a state must last to be certain to be told: writing, sending and a busy machine take their time."""

LATE = 4.0
"""Seconds after which a firing has to be told, whether it ends or not."""

RECORDING = 2.0
"""Seconds that it may take to record what a target has accepted."""

IN_FLIGHT = 2
"""Messages that a process may be about to send to one target when it is frozen."""

_WRONG = 1.0
_SOONER = 1e-6
"""The price of a second of delay: of two ways to lay messages against edges, equally good, take that of less delay."""
_OWN = "alertd-"


@dataclass(slots=True)
class Verdict:
    """What came out, by count; `complaints` say it in words. The worst delay is in seconds, `slowest` what it was."""

    made: int = 0
    told: int = 0
    lost: int = 0
    duplicated: int = 0
    wrong: int = 0
    worst_delay: float = 0.0
    slowest: str = ""
    complaints: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost, and nothing wrong."""
        return not self.lost and not self.wrong

    def add(self, other: Verdict) -> None:
        """Add what came out elsewhere."""
        self.made += other.made
        self.told += other.told
        self.lost += other.lost
        self.duplicated += other.duplicated
        self.wrong += other.wrong
        self.note_delay(other.worst_delay, other.slowest)
        self.complaints += other.complaints

    def note_delay(self, seconds: float, what: str) -> None:
        """Take note of how long something took."""
        if seconds > self.worst_delay:
            self.worst_delay, self.slowest = seconds, what

    def blame(self, complaint: str, *, wrong: int = 1) -> None:
        """Count something as wrong."""
        self.wrong += wrong
        self.complaints.append(complaint)


class Circumstances(NamedTuple):
    """What excuses: windows, breaks that may double a message, and stalls (from, to) that may let a copy be late."""

    windows: Sequence[Window] = ()
    breaks: Sequence[float] = ()
    stalls: Sequence[tuple[float, float]] = ()


NOTHING_HAPPENED = Circumstances()


def judge(
    edges: Mapping[Alert, Sequence[Edge]],
    messages: Iterable[Message],
    circumstances: Circumstances = NOTHING_HAPPENED,
    channels: Sequence[str] = CHANNELS,
) -> Verdict:
    """Return the verdict on all that `channels` were told, `messages` in the order of their arrival."""
    verdict = Verdict()
    arrived: dict[str, list[Message]] = {channel: [] for channel in channels}
    for message in messages:
        if message.channel in arrived:
            arrived[message.channel].append(message)
    for channel, received in arrived.items():
        distinct = _without_copies(received, circumstances, verdict)
        windows = [window for window in circumstances.windows if window.channel in ("", channel)]
        told = _by_alert(distinct, verdict)
        for alert in sorted({*edges, *told}):
            if alert.rule.startswith(_OWN):
                _check_order(alert, told[alert], verdict)
            else:
                case = _Case(f"{channel}: {alert}", edges.get(alert, ()), told.get(alert, ()), windows)
                _settle(case, verdict)
    return verdict


# --- copies ----------------------------------------------------------------------------------------------------------


def _without_copies(messages: Sequence[Message], circumstances: Circumstances, verdict: Verdict) -> list[Message]:
    """Return the first of each id; count the others."""
    first: dict[str, Message] = {}
    arrived: dict[Alert, list[Message]] = {}
    excused = Counter[tuple[float, float]]()
    distinct: list[Message] = []
    for message in messages:
        original = first.setdefault(message.id, message) if message.id else message
        if original is message:
            distinct.append(message)
            if not message.id:
                verdict.blame(f"{message.channel}: no id: {message.title!r}")
        else:
            verdict.duplicated += 1
            before = [each for news in original.news for each in arrived[news.alert]] or [original]
            reason = _objection(message, before, circumstances, excused)
            if reason:
                verdict.blame(f"{message.channel}: {reason}: {message.title!r} id {message.id}")
        for news in message.news:
            arrived.setdefault(news.alert, []).append(message)
    return distinct


def _objection(
    copy: Message, arrived: Sequence[Message], circumstances: Circumstances, excused: Counter[tuple[float, float]]
) -> str:
    """Return what is wrong with a copy, if anything.

    `arrived` is what came before it about the same alerts; `excused` counts copies by the stall that explains them.
    """
    same = [message for message in arrived if message.id == copy.id]
    if [news[:2] for news in same[0].news] != [news[:2] for news in copy.news]:
        return "the same id with other news"
    breaks = (*circumstances.breaks, *(frozen for frozen, _ in circumstances.stalls))

    def is_unrecorded(message: Message) -> bool:
        return any(message.at - GRACE <= at <= min(message.at + RECORDING, copy.at) for at in breaks)

    overtaken = {message.id for message in arrived[: arrived.index(same[0])]}
    later = [message for message in arrived if message.at > same[-1].at and message.id not in overtaken]
    if is_unrecorded(same[-1]) and all(map(is_unrecorded, later)):
        return ""
    for stall in circumstances.stalls:
        frozen, thawed = stall
        is_of_stall = frozen <= same[0].at and thawed <= copy.at <= thawed + RECORDING
        if is_of_stall and excused[stall] < IN_FLIGHT:
            excused[stall] += 1
            return ""
    return "told again after later news" if is_unrecorded(same[-1]) else "told twice without a cause"


def _by_alert(messages: Sequence[Message], verdict: Verdict) -> dict[Alert, list[tuple[News, float]]]:
    """Return the news of each alert; of pictures only what they change."""
    told: dict[Alert, list[tuple[News, float]]] = {}
    for message in messages:
        for news in message.news:
            if news.kind not in (FIRING, RESOLVED):
                verdict.blame(f"{message.channel}: unexpected kind: {message.title!r}")
                continue
            before = told.setdefault(news.alert, [])
            if not (message.is_picture and before and before[-1][0].kind == news.kind):
                before.append((news, message.at))
    return told


def _check_order(alert: Alert, told: Sequence[tuple[News, float]], verdict: Verdict) -> None:
    """Complain of two firings of the same alert in a row, or two resolves."""
    kinds = [news.kind for news, _ in told]
    for first, second in pairwise(kinds):
        if first == second:
            verdict.blame(f"{alert}: {first} twice")


# --- the alignment ---------------------------------------------------------------------------------------------------


class _Case:
    """One alert on one channel; what is asked of its edges over and over is worked out once."""

    def __init__(
        self, name: str, edges: Sequence[Edge], told: Sequence[tuple[News, float]], windows: Sequence[Window]
    ) -> None:
        self.name = name
        self.edges = edges
        self.told = told
        self._windows = windows
        self._blind = [window for window in windows if not window.is_watched]
        self._latest = [self._leave_until(first) for first in range(len(edges) - 1)]
        self._due = [self._expected(edge) for edge in edges]
        self._skips: dict[tuple[int, int, float], int] = {}

    def cost(self, first: int, claimed: Edge | None) -> int:
        """Return how many of the two edges from `first` on are lost if nobody tells them before `claimed`."""
        return 2 if _since(claimed) > self._latest[first] else 0

    def skipped(self, start: int, stop: int, claimed: Edge | None) -> int:
        """Return how many edges are lost if those from `start` to before `stop` are told by nobody."""
        key = (start, stop, _since(claimed))
        if key not in self._skips:
            self._skips[key] = sum(self.cost(first, claimed) for first in range(start, stop - 1, 2))
        return self._skips[key]

    def is_late(self, first: int) -> bool:
        """Return whether the firing at the edge `first` ought to have been told before its end."""
        return _stretch(self.edges[first].by, self.edges[first + 1].since, self._windows) >= LATE

    def tail(self, start: int) -> float:
        """Return the cost of telling nothing from the edge `start` on."""
        rest = len(self.edges) - start
        return self.skipped(start, start + rest - rest % 2, None) + (1 + _WRONG) * (rest % 2)

    def delay(self, place: int, at: float) -> float:
        """Return the seconds from the edge `place` to its message that no window excuses."""
        return max(at - self._due[place], 0.0)

    def _leave_until(self, first: int) -> float:
        """Return until when the two edges from `first` on may be left to a message about later ones; -inf: never."""
        start, end = self.edges[first].by, self.edges[first + 1].since
        if _stretch(start, end, self._windows) >= GRACE:
            return -inf
        if not self.edges[first].is_firing or _stretch(start, end, self._blind) < GRACE:
            return inf
        touched = (window.end for window in self._windows if window.start < end and window.end > start)
        return max(touched, default=end) + GRACE

    def _expected(self, edge: Edge) -> float:
        """Return when an edge could be told, be it for windows."""
        due = edge.by
        for window in self._windows:
            if window.start <= due + GRACE and window.end > due:
                due = window.end
        return due


def _since(claimed: Edge | None) -> float:
    return inf if claimed is None else claimed.since


def _stretch(start: float, end: float, windows: Sequence[Window]) -> float:
    """Return the longest time from `start` to `end` outside of `windows`, which are in order, and their GRACE."""
    longest = 0.0
    for window in windows:
        if window.end + GRACE > start:
            longest = max(longest, min(window.start, end) - start)
            start = max(start, window.end + GRACE)
    return max(longest, end - start)


class _Step(NamedTuple):
    """One message laid against the edges `first` to before `stop`; none if they are the same: nothing is told by it."""

    news: News
    at: float
    skipped_from: int
    first: int
    stop: int


class _Path(NamedTuple):
    """The cheapest way to where it leads."""

    cost: float
    step: _Step | None = None
    before: _Path | None = None

    def steps(self) -> list[_Step]:
        """Return all steps, the first one first."""
        found: list[_Step] = []
        path: _Path | None = self
        while path is not None:
            if path.step is not None:
                found.append(path.step)
            path = path.before
        return found[::-1]


def _align(case: _Case) -> tuple[_Path, int]:
    """Return the cheapest way to lay the messages against the edges, and how many edges it comes to."""
    best = {0: _Path(0.0)}
    for news, at in case.told:
        reached: dict[int, _Path] = {}
        for place, path in best.items():
            rejected = _Step(news, at, place, place, place)
            _improve(reached, place, _Path(path.cost + _WRONG, rejected, path))
            for first, stop in _claims(case, place, news, at):
                edge = case.edges[stop - 1]
                lost = case.skipped(place, first, edge) + (stop - first == 2 and case.is_late(first))
                cost = lost + _SOONER * case.delay(stop - 1, at)
                _improve(reached, stop, _Path(path.cost + cost, _Step(news, at, place, first, stop), path))
        best = reached
    place = min(best, key=lambda place: best[place].cost + case.tail(place))
    return best[place], place


def _claims(case: _Case, place: int, news: News, at: float) -> Iterator[tuple[int, int]]:
    """Yield which edges, from and to before, a message may tell when those before `place` are done with."""
    for stop in range(place + 1, len(case.edges) + 1):
        edge = case.edges[stop - 1]
        if edge.since > at:
            return
        if edge.is_firing is not (news.kind == FIRING):
            continue
        if (stop - place) % 2:
            yield stop - 1, stop
        elif news.kind == RESOLVED and news.has_both_times:
            yield stop - 2, stop


def _improve(reached: dict[int, _Path], place: int, path: _Path) -> None:
    if path.cost < reached.get(place, _Path(inf)).cost:
        reached[place] = path


def _settle(case: _Case, verdict: Verdict) -> None:
    """Add what came out for one alert on one channel."""
    path, place = _align(case)
    verdict.made += len(case.edges)
    for step in path.steps():
        if step.first == step.stop:
            verdict.blame(f"{case.name}: {step.news.kind} at {step.at:.3f} tells nothing that happened and was untold")
            continue
        verdict.told += step.stop - step.first
        if step.stop - step.first == 2 and case.is_late(step.first):
            verdict.lost += 1
            verdict.told -= 1
            verdict.complaints.append(
                f"{case.name}: the firing at {case.edges[step.first].by:.3f} was told by its end only"
            )
        _count_lost(case, step.skipped_from, step.first, case.edges[step.stop - 1], verdict)
        verdict.note_delay(case.delay(step.stop - 1, step.at), f"{case.name} at {step.at:.3f}")
    rest = (len(case.edges) - place) % 2
    _count_lost(case, place, len(case.edges) - rest, None, verdict)
    if rest:
        verdict.lost += 1
        edge = case.edges[-1]
        verdict.blame(
            f"{case.name}: the end is told as {'resolved' if edge.is_firing else 'firing'}, "
            f"but at {edge.by:.3f} (revision {edge.revision}) it {'fired' if edge.is_firing else 'ended'}"
        )


def _count_lost(case: _Case, start: int, stop: int, claimed: Edge | None, verdict: Verdict) -> None:
    """Count the pairs of edges that somebody ought to have told."""
    for first in range(start, stop - 1, 2):
        lost = case.cost(first, claimed)
        if lost:
            verdict.lost += lost
            begun, ended = case.edges[first], case.edges[first + 1]
            what = "firing" if begun.is_firing else "the end of firing"
            verdict.complaints.append(
                f"{case.name}: {what} from {begun.by:.3f} to {ended.since:.3f} (revisions {begun.revision} to "
                f"{ended.revision}) was not told"
            )
