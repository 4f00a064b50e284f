"""Whatever is written and whatever breaks: who applies the steps ends with what etcd holds, told without a hole.

Random stories on a real etcd behind a proxy. Beside the end state, each key's story is compared with what was written.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from alertd.errors import EtcdUnavailable
from alertd.etcd.channel import EtcdSettings
from alertd.etcd.client import Client, delete_op, put_op
from alertd.etcd.watch import Synced
from tests.etcd.following import GONE, PREFIX, Follower, agree, following, run, until
from tests.etcd_server import Cut, EtcdServer

KEYS = [PREFIX + b"s/%02d" % number for number in range(12)]
LEAST, MOST = 5, 40
"""How many writes happen between two troubles."""


@dataclass
class Writer:
    """Writes at random, and keeps the truth: of each key every (revision, value or None) in order."""

    client: Client
    chance: random.Random
    leases: list[int] = field(default_factory=list)
    truth: dict[bytes, list[tuple[int, bytes | None]]] = field(default_factory=dict)
    alive: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)
    serial: int = 0

    async def write(self) -> None:
        """Do one thing to one key, a few keys, or a lease."""
        await self.chance.choices([self.put, self.delete, self.replace, self.many, self.revoke], [6, 3, 2, 1, 1])[0]()

    def _value(self) -> bytes:
        self.serial += 1
        return b"%d" % self.serial

    def _note_put(self, key: bytes, value: bytes, lease: int, revision: int) -> None:
        self.alive[key] = (value, lease)
        self.truth.setdefault(key, []).append((revision, value))

    def _note_gone(self, key: bytes, revision: int) -> None:
        if self.alive.pop(key, None) is not None:
            self.truth[key].append((revision, None))

    async def _lease(self) -> int:
        if self.chance.random() < 0.4:
            return 0
        if not self.leases or self.chance.random() < 0.3:
            self.leases.append(await self.client.lease_grant(600))
        return self.chance.choice(self.leases)

    async def put(self) -> None:
        """Put a key, under the lease that it had, another, or none."""
        key, value, lease = self.chance.choice(KEYS), self._value(), await self._lease()
        self._note_put(key, value, lease, await self.client.put(key, value, lease=lease))

    async def delete(self) -> None:
        """Delete a key, there or not."""
        key = self.chance.choice(KEYS)
        answer = await self.client.txn([], [delete_op(key)])
        self._note_gone(key, answer.revision)

    async def replace(self) -> None:
        """Delete a key and make it again at once."""
        await self.delete()
        await self.put()

    async def many(self) -> None:
        """Put and delete several keys at one revision."""
        keys = self.chance.sample(KEYS, 6)
        values = [self._value() for _ in keys[:4]]
        puts = [put_op(key, value) for key, value in zip(keys, values, strict=False)]
        answer = await self.client.txn([], [*puts, *(delete_op(key) for key in keys[4:])])
        for key, value in zip(keys, values, strict=False):
            self._note_put(key, value, 0, answer.revision)
        for key in keys[4:]:
            self._note_gone(key, answer.revision)

    async def revoke(self) -> None:
        """End a lease: all its keys die at one revision, which only etcd knows."""
        if not self.leases:
            return
        lease = self.leases.pop(self.chance.randrange(len(self.leases)))
        await self.client.lease_revoke(lease)
        revision = (await anext(self.client.list_prefix(PREFIX, keys_only=True))).revision
        for key in [key for key, (_, held) in self.alive.items() if held == lease]:
            self._note_gone(key, revision)


def check(follower: Follower, truth: dict[bytes, list[tuple[int, bytes | None]]]) -> None:
    """Compare what was told with what was written.

    Every value that was told was written at that revision, in order. After the last listing nothing is left out, and
    nothing is told twice.
    """
    listed_at = max(step.revision for step in follower.steps if isinstance(step, Synced))
    for key, written in truth.items():
        story = [event for event in follower.events if event.key == key]
        revisions = [event.revision for event in story]
        assert revisions == sorted(revisions), f"{key!r} is told out of order: {story}"
        assert all((event.revision, event.value) in written for event in story if event.kind not in GONE)
        told = [(one.revision, None if one.kind in GONE else one.value) for one in story if one.revision > listed_at]
        assert told == [one for one in written if one[0] > listed_at], f"{key!r} is told with a hole, or twice"


async def trouble(kind: str, etcd: EtcdServer, cut: Cut, writer: Writer) -> None:
    """Cut the watch off, in one way or another, with writes meanwhile."""
    if kind == "break":
        cut.cut()
        cut.mend()
        return
    if kind == "hold":
        cut.hold()
    else:
        cut.cut()
    for _ in range(writer.chance.randint(LEAST, MOST)):
        await writer.write()
    if kind == "compact":
        etcd.compact()
    elif kind == "restart":
        etcd.restart()
        await settle(writer)
    if kind == "hold" and writer.chance.random() < 0.5:
        cut.cut()
    cut.mend()


async def settle(writer: Writer) -> None:
    """Wait until the writer is served again."""

    async def is_served() -> bool:
        try:
            await writer.client.get(b"none")
        except EtcdUnavailable:
            return False
        return True

    for _ in range(100):
        if await is_served():
            return
    pytest.fail("etcd does not serve")


async def tell(etcd: EtcdServer, seed: int) -> Follower:
    """Tell one random story; return who followed it."""
    chance = random.Random(seed)  # noqa: S311 - a story, not a secret
    kinds = ["break", "hold", "compact", "compact", "cut", *(["restart"] if seed % 2 else [])]
    with Cut(etcd.endpoint) as cut:
        async with Client(EtcdSettings((etcd.endpoint,), timeout=3.0)) as direct, following(cut.endpoint) as watching:
            follower, writer = watching[1], Writer(direct, chance)
            for _ in range(6):
                for _ in range(chance.randint(LEAST, MOST)):
                    await writer.write()
                if chance.random() < 0.5:
                    await until(lambda: follower.watch.is_connected)
                await trouble(chance.choice(kinds), etcd, cut, writer)
            await agree(direct, follower)
            assert follower.state == {key: value for key, (value, _) in writer.alive.items()}
            last = await direct.put(PREFIX + b"last", b"")
            await until(lambda: follower.watch.revision >= last and not follower.is_in_gap)
            assert {key: lease for key, (_, lease) in writer.alive.items()} == {
                key: lease for key, lease in follower.watch._view.leases.items() if key in KEYS
            }
            check(follower, writer.truth)
            return follower


@pytest.mark.parametrize("seed", range(1, 7))
def test_the_view_equals_etcd(etcd: EtcdServer, seed: int) -> None:
    """Puts, deletions, leases and transactions at random, with cuts, silences, compactions and restarts between."""
    follower = run(tell(etcd, seed))
    assert follower.watch.counters.streams > 1
