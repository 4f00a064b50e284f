"""The shell around the engine: it owns etcd, the clock and the network, and decides nothing.

One wake-up reads the clock once, hands what happened to the engine, and does what the engine answers: notifications go
to the dispatcher, everything goes to the log and to whoever observes. All of it runs on one event loop, so the engine
is never entered twice; targets are slow, and have threads of their own.

Of several replicas all watch and judge, and one leads: it tells people, keeps in etcd what outlives it, and clears away
there what people said and is over. A single daemon is a cluster of one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING, Any

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from alertd import chronicle, duration, rulebook
from alertd.audits import Audits
from alertd.bulletin import Bulletin
from alertd.bustle import Bustle
from alertd.channels import LOOK_EVERY, ChannelWatch
from alertd.collector import settle_memory
from alertd.delivery.headline import counted
from alertd.engine.core import Engine
from alertd.engine.rules import SpecIndex
from alertd.errors import ConfigError, EtcdUnavailable
from alertd.etcd.client import Client
from alertd.etcd.election import Election
from alertd.etcd.formats import Formats
from alertd.etcd.mirror import Mirror
from alertd.etcd.orders import Orders
from alertd.etcd.retry import Backoff, Trouble
from alertd.etcd.rush import Rush
from alertd.etcd.spill import Spill
from alertd.etcd.store import Store
from alertd.etcd.watch import Events, GapOpened, Step, Watch
from alertd.handover import Handover
from alertd.heartbeat import Heartbeats
from alertd.keeper import Keeper
from alertd.leading import Leading
from alertd.mentions import Mentions
from alertd.model import Action, BuiltIn, Decision, Instant, Notification
from alertd.outage import Lookout, Outage
from alertd.people import People
from alertd.post import Listeners, Post
from alertd.report.ledger import Ledger
from alertd.report.reporter import Reporter
from alertd.report.summary import Origin
from alertd.sdnotify import ServiceManager
from alertd.settings import DaemonSettings
from alertd.sheets import Sheets
from alertd.speaker import LETTERS, SPOKE_LAST, Shell, Speaker
from alertd.statedir import StateDir
from alertd.web.server import WebServer

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator, Sequence

    from alertd.config.load import Loaded
    from alertd.config.schema import Ruleset
    from alertd.delivery.dead import DeadLetter
    from alertd.delivery.lane import Delivery, LaneStatus
    from alertd.delivery.step import Step as DeliveryStep
    from alertd.etcd.election import Term
    from alertd.model import Alert, ServiceFacts

_log = structlog.get_logger("alertd")

STALE_AFTER = 15.0
"""Seconds without a sign of life from the watch after which the daemon is no longer ready."""


def read_clock() -> Instant:
    """Read both clocks; nothing else in alertd does."""
    return Instant(time.monotonic(), datetime.now(UTC))


class Daemon:
    """One replica of alertd.

    `observe` is called on the event loop with every action of the engine and the end of every delivery, `observe_step`
    with how far which notification has come, wherever that happens.
    """

    def __init__(
        self,
        settings: DaemonSettings,
        *,
        environ: Mapping[str, str],
        rules: Loaded | None = None,
        observe: Callable[[Action | Delivery], None] | None = None,
        observe_step: Callable[[DeliveryStep, str], None] = lambda _step, _id: None,
    ) -> None:
        """Begin with `rules`; without, read those of the settings, and raise ConfigError if they are wrong."""
        self.settings = settings
        self._environ = environ
        self._manager = ServiceManager(environ)
        self._observe = observe
        self._observe_step = observe_step
        loaded = rules or rulebook.load_rules(settings.rules, environ, read_clock().wall)
        chronicle.log_problems(loaded.warnings)
        self._loaded = loaded
        ruleset = self._ruleset = loaded.ruleset
        self._engine = Engine(ruleset, settings.prefix.encode())
        listeners = Listeners(self._report, self._mark_letters, self._may_send, observe_step)
        self._post = Post(read_clock, listeners)
        self._bustle = Bustle(self._post)
        self._speaker: Speaker | None = None
        self._outage: Outage | None = None
        self._election: Election | None = None
        self._watch: Watch | None = None
        self._mirror: Mirror | None = None
        self._mentions = Mentions()
        self._chronicle = chronicle.Chronicle(lambda after, end: asyncio.get_running_loop().call_later(after, end))
        self._people: People | None = None
        self._rulebook: rulebook.Rulebook | None = None
        self._scheduler = AsyncIOScheduler(timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True})
        self._heartbeats = Heartbeats(self, read_clock, self._post.send)
        self._ledger = Ledger()
        self._reporter = Reporter(self, self._ledger, self._scheduler, read_clock, self._post.send)
        self._woken_at = inf
        """When the deadlines are looked at next, in monotonic seconds."""
        self._sooner = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._judged = asyncio.Event()
        self._judged_at: Instant | None = None
        self._has_recalled = False
        """Whether the first snapshot tells what happened since, not only what there is."""
        self._heard_at = 0.0
        self._histories = 0
        """How often etcd has shown another history, as far as all here knows."""
        self._trouble = Trouble("the watch on etcd does not work")

    # --- life --------------------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Watch, judge and tell until `stop` is set; then hand over.

        What is under way at targets has 4 s to end. All else that is to be told stays in etcd, for the next to lead, be
        that another replica, which leads at once, or this one when it is started again.

        Raises AlertdError if the address to listen on cannot be had.
        """
        web = WebServer(self.settings.listen, self, self._environ, self.settings.listener)
        async with web, Client(self.settings.etcd) as client:
            async with self._reloading:
                await self._post.open(self._ruleset)
            _log.info(
                "started",
                rules=len(self._ruleset.rules),
                ruleset=self._ruleset.digest,
                etcd=",".join(self.settings.etcd.endpoints),
                prefix=self.settings.prefix,
                page=web.url or "none",
            )
            await self._work(client, stop)

    async def _work(self, client: Client, stop: asyncio.Event) -> None:
        """Do all that goes on beside each other, until `stop` is set or one of it breaks."""
        namespace = self.settings.namespace.encode()
        state = StateDir(self.settings.state_dir)
        watch = self._watch = Watch(client, self.settings.prefix.encode(), trouble=self._trouble)
        sheets = Sheets(self._engine, self._mentions, lambda: self._ruleset.settings.timezone, read_clock)
        rush = Rush(self._bustle.is_on)
        mirror = self._mirror = Mirror(client, namespace + b"alerts/", sheets, read_clock, rush=rush)
        election = self._election = Election(client, namespace + b"leader", self.settings.replica, read_clock)
        lookout = Lookout(watch, election, self._engine, self._trouble, read_clock(), read_clock)
        outage = self._outage = Outage(lookout, lambda: self._ruleset.settings, state, self._post.send, self._doubt)
        store = Store(client, namespace)
        shell = Shell(self._do, read_clock, self._mention, self._revision_passed, self._observe_step)
        spill = Spill(store, state, SPOKE_LAST, read_clock, first=LETTERS)
        self._speaker = Speaker(self._engine, self._post.outbox, spill, shell)
        keeper = Keeper(self._engine, store, watch, read_clock, rush=rush)
        orders = Orders(client, self.settings.namespace)
        self._note_ruleset()
        self._people = People(self._engine, self._do, orders.spend, read_clock)
        bulletin = Bulletin(self._post, store, read_clock)
        self._scheduler.start()
        self._heartbeats.follow(self._ruleset)
        handover = Handover(client, namespace, self._post, self._speaker)
        book = self._rulebook = rulebook.Rulebook(self._loaded, store, read_clock)
        leader = Leading((keeper.keep, mirror.write, orders.clear, book.keep, bulletin.keep, self._watch_channels))
        leading = asyncio.create_task(self._lead(election, Formats(client, namespace), leader), name="lead")
        reporting = asyncio.create_task(self._manager.report(self._describe), name="report")
        tasks = [
            asyncio.create_task(self._follow(watch, orders, keeper, leader), name="follow"),
            asyncio.create_task(self._keep_time(), name="keep-time"),
            leading,
            asyncio.create_task(Audits(watch, self._tidy_up).keep(), name="audit"),
            asyncio.create_task(outage.watch(), name="outage"),
            asyncio.create_task(stop.wait(), name="stop"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._manager.stopping()
            await handover.begin(election.term)
            leading.cancel()
            await asyncio.gather(leading, return_exceptions=True)
            await self._end((*tasks, reporting), handover.finish(election))

    async def _end(self, tasks: Sequence[asyncio.Task[Any]], handing_over: Coroutine[Any, Any, None]) -> None:
        """Let another lead before all else, then end everything."""
        ending = asyncio.create_task(handing_over, name="hand-over")
        self._scheduler.shutdown(wait=False)
        self._heartbeats.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, ending, return_exceptions=True)
        _log.info("stopped")
        self._reporter.close()

    async def reload(self) -> None:
        """Read the rules again; what does not load leaves those in force, and says so. One at a time."""
        async with self._reloading:
            if self._judged.is_set():
                self._manager.reloading()
            await self._reload()
            if self._judged.is_set():
                self._manager.ready(self._describe())

    async def _reload(self) -> None:
        try:
            now = read_clock().wall
            loaded = await asyncio.to_thread(rulebook.load_rules, self.settings.rules, self._environ, now)
        except ConfigError as error:
            chronicle.log_problems(error.problems)
            _log.error("the rules do not load: those in force stay", in_force=self._ruleset.digest)
            self._note_ruleset(error)
            return
        chronicle.log_problems(loaded.warnings)
        ruleset = loaded.ruleset
        await self._post.follow(ruleset)
        self._loaded, self._ruleset = loaded, ruleset
        if self._rulebook is not None:
            self._rulebook.follow(loaded)
        self._do(self._engine.load(ruleset, read_clock()))
        self._note_ruleset()
        if self._mirror is not None:
            self._mirror.mark_all()
        self._heartbeats.follow(ruleset)
        if self._judged.is_set():
            self._keep_books(Origin.ADDED)
        _log.info("rules loaded", rules=len(ruleset.rules), ruleset=ruleset.digest)

    def _note_ruleset(self, error: ConfigError | None = None) -> None:
        """Let people know that the rules on disk do not load, or that they do again."""
        words = f"{self._ruleset.digest} in force" if error is None else rulebook.in_words(error)
        self._do(self._engine.note(BuiltIn.RULESET, words, read_clock(), holds=error is not None))

    # --- watching ----------------------------------------------------------------------------------------------------

    async def _follow(self, watch: Watch, orders: Orders, keeper: Keeper, leader: Leading) -> None:
        """Take in what happens to services; what was known before, and what people have said, is known first."""
        await self._recall(keeper)
        async with aclosing(watch.follow()) as steps, asyncio.TaskGroup() as group:
            listening: asyncio.Task[None] | None = None
            async for step in steps:
                if listening is None and self._people is not None:
                    listening = group.create_task(orders.follow(self._people), name="listen")
                    await orders.wait_until_listed()
                self._check_history(watch, leader)
                self._take(step)

    def _check_history(self, watch: Watch, leader: Leading) -> None:
        """Let begin anew what goes by what etcd has, if that shows another history."""
        if watch.counters.histories != self._histories:
            self._histories = watch.counters.histories
            self._engine.rebase(read_clock())
            if self._speaker is not None:
                self._speaker.rewrite()
            leader.begin_anew()

    async def _recall(self, keeper: Keeper) -> None:
        """Recall what an earlier daemon, or another, knew; however long etcd takes."""
        backoff, trouble = Backoff(0.1, 5.0), self._trouble
        while True:
            try:
                self._has_recalled = keeper.recall(await keeper.read())
            except EtcdUnavailable as error:
                trouble.note(error, time.monotonic())
                await asyncio.sleep(backoff.next_delay())
            else:
                trouble.end(time.monotonic())
                return

    def _take(self, step: Step) -> None:
        now = read_clock()
        self._heard_at = now.mono
        engine = self._engine
        if isinstance(step, Events):
            self._do(engine.feed(step.events, now))
        elif isinstance(step, GapOpened):
            _log.info("catching up", reason=step.reason)
            if self._people is not None:
                self._people.pause()
            self._do(engine.open_gap(now, None if step.since is None else now.shifted_to(step.since)))
            if step.since is not None and self._judged.is_set():  # at the start it was this daemon that was away
                away = now.mono - step.since
                if away > self._ruleset.settings.registry.unreachable_after:
                    self._doubt(away)
        else:
            self._do(engine.close_gap(now, step.revision))
            if self._people is not None:
                self._people.resume()
            if not self._judged.is_set():
                self._judged.set()
                self._judged_at = now
                self._keep_books(Origin.STARTED)
                self._heartbeats.begin()
                settle_memory()
                self._manager.ready(self._describe())
                _log.info("ready", revision=step.revision, **engine.counts)

    def _doubt(self, away: float) -> None:
        """Have losses wait that are found after etcd was away for so many seconds."""
        self._do(self._engine.hold(f"etcd was away for {duration.show(away)}", read_clock()))

    def _do(self, actions: list[Action]) -> None:
        """Do what the engine answered, and be woken when it wants to be."""
        for action in actions:
            self._hand_on(action)
        if actions:
            self._bustle.note()
            if self._mirror is not None:
                self._mirror.mark(*(action.alert_id for action in actions if isinstance(action, Decision)))
            if self._judged.is_set() or self._has_recalled:
                self._chronicle.log(actions)
            if self._people is not None:
                self._people.heed(actions)
        if self._speaker is not None and self._speaker.speaks and (actions or self._engine.has_told):
            self._speaker.wake()
        due = self._engine.next_deadline()
        if due is not None and due < self._woken_at:
            self._sooner.set()

    def _hand_on(self, action: Action) -> None:
        """Let those know of an answer who act on it."""
        self._ledger.take(action)
        if isinstance(action, Notification):
            self._mention(action)
            if self._speaker is not None:
                self._speaker.decide(action)
        if self._observe is not None:
            self._observe(action)

    def _mention(self, notification: Notification) -> None:
        """Let etcd show by which message people know the alerts that it speaks of."""
        self._mentions.note(notification)
        if self._mirror is not None:
            self._mirror.mark(*(entry.alert.id for entry in notification.entries))

    async def _keep_time(self) -> None:
        """Let the engine's deadlines pass when they are due."""
        while True:
            self._sooner.clear()
            due = self._engine.next_deadline()
            self._woken_at = inf if due is None else due
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._sooner.wait()
                    continue
            self._do(self._engine.advance(read_clock()))

    # --- delivering --------------------------------------------------------------------------------------------------

    def _mark_letters(self, name: str) -> None:
        if self._speaker is not None:
            self._speaker.mark(name)

    def _may_send(self) -> bool:
        """Tell whether this replica may tell people at this moment; asked in the targets' threads."""
        term = self._election.term if self._election is not None else None
        return term is not None and term.holds

    def _report(self, delivery: Delivery) -> None:
        if self._outage is not None:
            self._outage.note(delivery)
        is_heartbeat = self._heartbeats.note(delivery)
        if not is_heartbeat:
            chronicle.log_delivery(delivery)
        if not (is_heartbeat and delivery.ok):  # so many that they would drown the messages
            self._ledger.note(delivery)
        if self._observe is not None:
            self._observe(delivery)

    def _keep_books(self, origin: Origin) -> None:
        """Count for the reports of the ruleset in force."""
        self._ledger.follow(SpecIndex(self._ruleset.services), read_clock())
        self._reporter.follow(origin)

    # --- leading -----------------------------------------------------------------------------------------------------

    async def _lead(self, election: Election, formats: Formats, leader: Leading) -> None:
        """Stand for leader, but not before the first snapshot is judged: until then, nothing is known of alerts."""

        async def lead(term: Term) -> None:
            self._mentions.begin()
            async with asyncio.TaskGroup() as group:
                if self._speaker is not None:
                    group.create_task(self._speaker.lead(term), name="speak")
                group.create_task(leader.lead(term), name="lead")

        await self._judged.wait()
        await election.run(lead, formats.find_newer, lambda leads: self._engine.stand_by(another_speaks=leads))

    def _revision_passed(self) -> int:
        """Return up to which revision all is known here."""
        return max(self._engine.revision, 0 if self._watch is None else self._watch.resume_after)

    async def _watch_channels(self, _term: Term) -> None:
        """Let people know of channels that do not deliver; only who leads sends anything, and so knows."""
        watch = ChannelWatch()
        while True:
            await asyncio.sleep(LOOK_EVERY)
            now = read_clock()
            alerts = [alert for alert in self._engine.alerts() if alert.rule.name == BuiltIn.CHANNEL]
            for name, fails, words in watch.look(self.targets(), (each.instance or "" for each in alerts), now):
                self._do(self._engine.note(BuiltIn.CHANNEL, words, now, holds=fails, target=name))

    @property
    def may_speak(self) -> bool:
        """Whether it is for this replica to send heartbeats and reports."""
        return self._speaker is not None and self._speaker.speaks

    def _tidy_up(self) -> None:
        """See to what needs it now and then, when an audit begins."""
        self._scheduler.wakeup()  # reports go by the wall clock, which may have been set
        self._mentions.keep(self._engine.alert_ids())

    # --- what the page and the probes see ----------------------------------------------------------------------------

    @property
    def unready_reason(self) -> str:
        """Why the daemon is not ready, empty if it is."""
        if not self._judged.is_set():
            return "the first snapshot is not judged yet"
        streamed_at = self._watch.alive_at if self._watch is not None else None
        if time.monotonic() - max(self._heard_at, streamed_at or 0.0) > STALE_AFTER:
            return "the watch on etcd is stale"
        return ""

    @property
    def watched(self) -> str:
        """What is watched, in a few words."""
        counts = self._engine.counts
        instances, services = counted(counts["instances"], "instance"), counted(counts["services"], "service")
        return f"{instances} of {services} below {self.settings.prefix}"

    @property
    def watching_since(self) -> Instant | None:
        """When the first snapshot was judged."""
        return self._judged_at

    def _describe(self) -> str:
        """Return how things stand, in one line."""
        if self._election is not None and self._election.newer:
            return f"standing by: a newer alertd has written {self._election.newer}"
        facts = ", ".join(f"{what} {number}" for what, number in self._engine.counts.items())
        return self.unready_reason or f"watching: {facts}"

    @property
    def ruleset(self) -> Ruleset:
        """The ruleset in force."""
        return self._ruleset

    def services(self) -> Iterator[ServiceFacts]:
        """Return all services as the engine sees them."""
        return self._engine.services()

    def alerts(self) -> Iterator[Alert]:
        """Return the alerts under way."""
        return self._engine.alerts()

    def targets(self) -> tuple[LaneStatus, ...]:
        """Return every target of every channel as it is now."""
        return self._post.targets()

    def dead_letters(self) -> Iterable[DeadLetter]:
        """Return what was given up last, the latest last."""
        return self._post.dead_letters()
