"""What a replica does while it leads: it goes on where the last speaker left off, and tells people.

What was told lies in etcd, below `outbox/`: what each channel knows of each group (`told/<group>`), how far a storm has
come (`storm/<channel>`), and what is decided and not delivered (`letters/<name>`). A decision and its letters are one
transaction that holds only while this replica leads; what is in it is attempted after that, and taken out once it was
delivered. So whoever dies at whatever moment leaves all that the next needs, and what was not written was not told.

Who spoke last, and is the next to speak, goes on from what it remembers: it knows what it could not write, and what was
taken by a target when it led no more. So also in an etcd that was set back to an older state, or is another one: all is
written anew there.

Invariant: nobody is told anything that etcd does not know; and what etcd knows as told, the engine takes for told.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from alertd.claims import CLAIMS, Claims
from alertd.delivery.step import Step
from alertd.errors import EtcdUnavailable, NotUnderstood
from alertd.etcd.election import NotLeading
from alertd.etcd.retry import Backoff, Trouble
from alertd.etcd.store import AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from alertd.delivery.outbox import Outbox
    from alertd.engine.core import Engine
    from alertd.engine.memory import Record
    from alertd.etcd.election import Term
    from alertd.etcd.spill import Spill
    from alertd.etcd.store import Documents
    from alertd.model import Action, Instant, Notification

_log = structlog.get_logger("alertd")

FOLDER = "outbox/"
SPOKE_LAST = f"{FOLDER}term"
"""The document that says whose term wrote here last."""
LETTERS = f"{FOLDER}letters/"
_TOLD, _STORM = f"{FOLDER}told/", f"{FOLDER}storm/"

_CATCH_UP_WITHIN = 6.0
"""Seconds to wait for the watch to pass what people were told of; in another history it never does."""

_LOOK_EVERY = 0.05
"""Seconds between two looks at what a speaker that stops is still sending. Its claim lasts for 5 s at most."""


@dataclass(frozen=True, slots=True)
class Shell:
    """What surrounds the speaker: `do` takes what the engine answers, `observe` hears how far a notification is.

    `restored` hears of each notification that the last speaker decided and did not deliver.
    """

    do: Callable[[list[Action]], None]
    clock: Callable[[], Instant]
    restored: Callable[[Notification], None]
    passed: Callable[[], int]
    observe: Callable[[Step, str], None] = lambda _step, _id: None


class Speaker:
    """The one who tells, if this replica leads. To be used on one event loop; only `lead` waits for anything."""

    def __init__(self, engine: Engine, outbox: Outbox, store: Spill, shell: Shell) -> None:
        """Tell nobody yet."""
        self._engine = engine
        self._outbox = outbox
        self._store = store
        self._shell = shell
        self._speaks = False
        self._letters: dict[str, None] = {}
        """Documents with letters that are to be written."""
        self._unwritten: dict[str, Record | None] = {}
        """What was told by a decision whose writing failed."""
        self._fresh: dict[str, None] = {}
        """Notifications that are decided, and not written."""
        self._claims = Claims(outbox)
        self._spent: dict[str, None] = {}
        """Claims that have said all they will."""
        self._is_all_unwritten = False
        """Whether etcd has not what it had, so that all is to be written."""
        self._wake = asyncio.Event()
        self._is_written = asyncio.Event()
        self._sooner = asyncio.Event()
        self._backoff = Backoff(0.1, 2.0)
        self._trouble = Trouble("what is to be told cannot be written, and so is not told")
        engine.hush()

    @property
    def speaks(self) -> bool:
        """Whether this replica tells people."""
        return self._speaks

    # --- for the daemon ----------------------------------------------------------------------------------------------

    def decide(self, notification: Notification) -> None:
        """Take in what the engine decided; it is sent once it is written."""
        if self._speaks:
            self._shell.observe(Step.DECIDED, notification.id)
            self._fresh[notification.id] = None
            self.mark(self._outbox.decide(notification))

    def mark(self, name: str) -> None:
        """Take note that the letters of a document have changed."""
        self._letters[name] = None
        self.wake()

    def wake(self) -> None:
        """See whether anything is to be written: what was told has changed, perhaps."""
        self._wake.set()
        self._sooner.set()

    def rewrite(self) -> None:
        """Write all that etcd is to hold: it shows another history, and may hold anything."""
        self._is_all_unwritten = True
        self.wake()

    async def flush(self) -> None:
        """Wait until all that has changed by now is written, for ever if this replica does not lead."""
        self._is_written.clear()
        self.wake()
        await self._is_written.wait()

    async def lead(self, term: Term) -> None:
        """Speak until `term` is over."""
        self._is_all_unwritten = False
        try:
            documents = await self._read(term)
            if documents is not None:
                if self._store.is_own:
                    self._go_on(documents)
                else:
                    await self._catch_up(documents, term)
                    self._take_over(documents)
                await asyncio.gather(
                    self._keep_writing(term),
                    self._keep_time(),
                    self._wait_for_claims(term),
                    self._tidy(term),
                    self._store.bring_back(term),
                )
        finally:
            self._speaks = False
            self._engine.hush()
            self._outbox.recall()
            self._claims.clear()
            self._letters, self._unwritten, self._fresh, self._spent = {}, {}, {}, {}

    # --- taking over -------------------------------------------------------------------------------------------------

    async def _read(self, term: Term) -> Documents | None:
        """Return what the last speaker left; None if the term is over before etcd answers."""
        while not term.is_over:
            try:
                documents = await self._store.read(FOLDER, CLAIMS)
            except EtcdUnavailable as error:
                self._trouble.note(error, time.monotonic())
                await asyncio.sleep(self._backoff.next_delay())
            else:
                return documents
        return None

    async def _catch_up(self, documents: Documents, term: Term) -> None:
        """Wait until what people were told is known here too: the last speaker may have seen more than this watch."""
        told = (content.get("at", 0) for name, content in documents.contents.items() if name.startswith(_TOLD))
        needed = max((at for at in told if isinstance(at, int)), default=0)
        until = time.monotonic() + _CATCH_UP_WITHIN
        while self._shell.passed() < needed and time.monotonic() < until and not term.is_over:
            await term.rest(_LOOK_EVERY)

    def _go_on(self, documents: Documents) -> None:
        """Go on from what this replica remembers, and write what etcd lacks of it; what is claimed there holds."""
        if self._store.is_set_back:
            _log.warning("etcd has lost what was told: this replica goes on from what it remembers, and writes it anew")
            self._engine.rebase(self._shell.clock())
        told, storms = self._engine.take_told(self._shell.clock(), everything=True)
        self._speaks = True
        groups = [record for record in told.values() if record is not None]
        self._begin_to_speak(documents, groups, storms, was_own=True)
        self._draft_all([name for name in documents.contents if name.startswith(FOLDER) and name != SPOKE_LAST])

    def _take_over(self, documents: Documents) -> None:
        """Go on from what another left."""
        now = self._shell.clock()
        for name in documents.damaged:
            _log.error("what was told there cannot be read, and is taken for not told", key=name)
        by_folder: dict[str, dict[str, Record]] = {_TOLD: {}, _STORM: {}, LETTERS: {}}
        for name, content in documents.contents.items():
            for folder, found in by_folder.items():
                if name.startswith(folder):
                    found[name.removeprefix(folder)] = content
        self._speaks = True
        self._outbox.clear()
        for name, content in by_folder[LETTERS].items():
            try:
                self._outbox.restore(name, content.get("letters"), now)
            except NotUnderstood as why:
                _log.error("letters cannot be read, and are not delivered", key=LETTERS + name, error=str(why))
        self._begin_to_speak(documents, list(by_folder[_TOLD].values()), by_folder[_STORM], was_own=False)
        self._store.take_on()

    def _begin_to_speak(
        self,
        documents: Documents,
        told: Sequence[Mapping[str, Any]],
        storms: Mapping[str, Mapping[str, Any]],
        *,
        was_own: bool,
    ) -> None:
        """Tell what is due, by what was told of groups and of storms; the outbox holds what is not delivered."""
        now = self._shell.clock()
        for notification in self._outbox.undelivered():
            self._shell.restored(notification)
        actions, damaged = self._engine.speak(told, storms, now, was_own=was_own)
        for error in damaged:
            _log.error("taken for not told", error=str(error))
        left = len(self._outbox)
        self._take_claims(documents, now)
        self._outbox.take_up(now)
        _log.info("speaks now", groups=len(told), undelivered=left)
        self._shell.do(actions)
        self.wake()

    def _take_claims(self, documents: Documents, now: Instant) -> None:
        claims = {name: content for name, content in documents.contents.items() if name.startswith(CLAIMS)}
        spent = self._claims.take(claims, now)
        self._spent |= dict.fromkeys(spent)
        if spent:
            self.wake()

    async def _wait_for_claims(self, term: Term) -> None:
        """See how what the last speaker is still sending ends."""
        while self._claims.is_waiting and not term.is_over:
            await asyncio.sleep(_LOOK_EVERY)
            with suppress(EtcdUnavailable):
                self._take_claims(await self._store.read(CLAIMS), self._shell.clock())

    # --- writing -----------------------------------------------------------------------------------------------------

    async def _keep_writing(self, term: Term) -> None:
        """Write what is decided, then let it be sent; write what was delivered."""
        while not term.is_over:
            if not self._wake.is_set():
                self._is_written.set()
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._write(term)
            except NotLeading:
                return
            except EtcdUnavailable as error:
                self._trouble.note(error, time.monotonic())
                await asyncio.sleep(self._backoff.next_delay())
                self._wake.set()
            else:
                self._backoff.reset()
                self._trouble.end(time.monotonic())

    async def _write(self, term: Term) -> None:
        """Write all that has changed, as one if there is room; raise what writing raises, with nothing forgotten."""
        if self._is_all_unwritten:
            await self._draft_anew()
        self._unwritten |= self._take_told()
        letters, self._letters = self._letters, {}
        fresh, self._fresh = self._fresh, {}
        spent, self._spent = self._spent, {}
        told = dict(self._unwritten)
        contents = {name: self._outbox.content(name) for name in letters}
        wanted = {LETTERS + name: None for name in contents} | _documents_of(contents) | dict.fromkeys(spent)
        try:
            for part in _parts(wanted, told):
                await self._store.commit(term, part)
        except EtcdUnavailable:
            self._letters = letters | self._letters
            self._fresh = fresh | self._fresh
            self._spent = spent | self._spent
            raise
        for name, record in told.items():
            if self._unwritten.get(name) is record:
                del self._unwritten[name]
        for identifier in fresh:
            self._shell.observe(Step.WRITTEN, identifier)
        for name, items in contents.items():
            self._outbox.release(name)
            if not items:
                self._shell.observe(Step.RECORDED, name)

    async def _draft_anew(self) -> None:
        """Draft all, by what etcd has now; if another history shows meanwhile, once more at the next write."""
        self._is_all_unwritten = False
        try:
            self._draft_all(await self._store.look(FOLDER))
        except EtcdUnavailable:
            self._is_all_unwritten = True
            raise

    def _draft_all(self, there: Iterable[str]) -> None:
        """Have all be written that is to be there, and nothing else be left of what is there."""
        letters = {name.removeprefix(LETTERS): None for name in there if name.startswith(LETTERS)}
        self._letters |= letters | dict.fromkeys(self._outbox.contents())
        self._unwritten |= dict.fromkeys(name for name in there if not name.startswith(LETTERS))
        self._unwritten |= self._take_told(everything=True)

    def _take_told(self, *, everything: bool = False) -> dict[str, Record | None]:
        """Return the documents that say what was told, as far as that has changed."""
        groups, storms = self._engine.take_told(self._shell.clock(), everything=everything)
        of_groups = {_TOLD + name: record for name, record in groups.items()}
        return of_groups | {_STORM + name: record for name, record in storms.items()}

    async def _tidy(self, term: Term) -> None:
        """Clear away what one who died in the middle of writing left, if that can be; else the next does."""
        with suppress(EtcdUnavailable):
            await self._store.clear_pieces(term)

    async def _keep_time(self) -> None:
        """Let the outbox's deadlines pass: fallbacks are told, what is too old is given up."""
        while True:
            self._sooner.clear()
            due = self._outbox.next_deadline()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._sooner.wait()
                    continue
            self._outbox.advance(self._shell.clock())


def _documents_of(letters: Mapping[str, list[Any]]) -> dict[str, Record]:
    return {LETTERS + name: {"letters": items} for name, items in letters.items() if items}


def _parts(letters: Mapping[str, Record | None], told: Mapping[str, Record | None]) -> list[dict[str, Record | None]]:
    """Return what is written at once: all, or, where that is too much, letters before what says that they were told.

    Whoever dies between two parts has told twice, under two ids, rather than never.
    """
    if len(letters) + len(told) <= AT_ONCE:
        return [{**letters, **told}]
    both = [*letters.items(), *told.items()]
    return [dict(both[start : start + AT_ONCE]) for start in range(0, len(both), AT_ONCE)]
