"""Makes services come and go, and writes down what really happened, with its time and revision.

Each change is one transaction that holds only if the keys are as this driver left them. So a change whose answer was
lost can be asked for again: it is done once, and the driver knows. Invariant: the truth says what etcd says, which
`check` verifies.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any

from tests.faults.gateway import Gateway, GatewayDown, GatewayRefused, delete_op, put_op
from tests.faults.truth import Standing, Truth

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

PREFIX = "/services/"
LEASE_SECONDS = 3600
PATIENCE = 120.0
"""Seconds for which a change is tried while etcd does not answer."""

LOSSES = ("revoke", "delete", "failing", "failing, then delete")
STOPS = ("stopped", "stopped, then delete")


class Driver:
    """The services of one stage. Its methods may be called from one thread at a time, or while `traffic` is off."""

    def __init__(self, gateway: Gateway, truth: Truth, random: Random) -> None:
        self._gateway = gateway
        self.truth = truth
        self.random = random
        self._revisions: dict[str, int] = {}
        """When the key of an instance was last written; 0: it is not there."""
        self._leases: dict[str, int] = {}
        self._lock = threading.RLock()
        self.names: list[str] = []
        """The instances that random changes are made to."""
        self.stops: tuple[str, ...] = STOPS
        """How instances stop in random changes."""

    # --- single changes ----------------------------------------------------------------------------------------------

    def register(self, names: Iterable[str]) -> None:
        """Have instances be up, each under a lease of its own, before anybody watches."""
        for name in names:
            self.names.append(name)
            self._write({name: _value()}, lease=self.lease())
        self.truth.begin_with(dict.fromkeys(self.names, Standing.UP))

    def begin_anew(self, names: Iterable[str]) -> None:
        """Register instances in an etcd that is empty, though it was not before."""
        self._revisions.clear()
        self._leases.clear()
        self.register(names)

    def lease(self, seconds: int = LEASE_SECONDS) -> int:
        """Return a new lease."""
        return int(self._insist(lambda: self._gateway.grant(seconds)))

    def recover(self, *names: str, value: str | bytes | None = None, lease: int | None = None) -> None:
        """Have instances be up, at one revision, under one new lease or the one given."""
        content = _value() if value is None else value
        lease = self.lease() if lease is None else lease
        self._change(dict.fromkeys(names, content), dict.fromkeys(names, Standing.UP), lease)

    def lose(self, name: str, how: str) -> None:
        """Have an instance go down: one of `LOSSES` or `STOPS`."""
        if how == "revoke":
            self.revoke(name)
            return
        after = Standing.STOPPED if how in STOPS else Standing.LOST
        if self.truth.standing_of(name) is Standing.STOPPED:
            after = Standing.STOPPED  # it keeps that cause
        if how != "delete":
            status = how.partition(",")[0]
            self._change(
                {name: _value(status=status, reason="by the driver")}, {name: after}, self._leases.get(name, 0)
            )
        if how.endswith("delete"):
            self.delete(name)

    def delete(self, *names: str) -> None:
        """Delete keys at one revision; who was stopped stays so."""
        is_stopped = {name for name in names if self.truth.standing_of(name) is Standing.STOPPED}
        after = {name: Standing.STOPPED if name in is_stopped else Standing.LOST for name in names}
        self._change(dict.fromkeys(names, None), after)

    def revoke(self, name: str) -> None:
        """End the lease of an instance, and with it all that share it."""
        lease = self._leases.get(name, 0)
        if not lease:
            self.delete(name)
            return
        names = [other for other, its in self._leases.items() if its == lease and self._revisions.get(other)]
        with self._lock:
            since = time.monotonic()
            revision = self._insist(lambda: self._revoke(lease))
            self._forget(names)
            self.truth.note(self._lost(names), since, time.monotonic(), revision)

    def await_expiry(self, names: Sequence[str], since: float, seconds: float = 60.0) -> None:
        """Wait until etcd itself has ended the leases of instances; each may have gone at any time from `since` on."""
        deadline = time.monotonic() + seconds
        left = set(names)
        while left:
            assert time.monotonic() < deadline, f"not expired in {seconds} s: {sorted(left)[:5]}"
            there = {pair.key for pair in self._insist(lambda: self._gateway.get(PREFIX, keys_only=True))}
            gone = [name for name in left if PREFIX + name not in there]
            if gone:
                self._forget(gone)
                self.truth.note(self._lost(gone), since, time.monotonic(), 0)
                left -= set(gone)
            time.sleep(0.02 if len(left) < 200 else 0.2)

    def rewrite(self, name: str, value: str | bytes) -> None:
        """Write another value that does not say that the instance is down."""
        self._change({name: value}, {name: Standing.UP}, self._leases.get(name, 0))

    def change_lease(self, name: str) -> None:
        """Put the key of an instance that is up under another lease, and end the old one: it does not notice."""
        old = self._leases.get(name, 0)
        self._write({name: _value()}, lease=self.lease())
        if old and old not in self._leases.values():
            self._insist(lambda: self._revoke(old))

    def _lost(self, names: Iterable[str]) -> dict[str, Standing]:
        """Return how instances stand whose keys have gone."""
        stopped = Standing.STOPPED
        return {name: stopped if self.truth.standing_of(name) is stopped else Standing.LOST for name in names}

    def never_stop(self) -> None:
        """Make no random change that stops an instance on purpose.

        Who has only a listing to compare with cannot tell whether an instance that is gone was stopped, or one that was
        stopped has come and been lost since; so where there may be a listing the truth would be a matter of luck.
        """
        self.stops = LOSSES

    # --- random changes ----------------------------------------------------------------------------------------------

    def move(self) -> None:
        """Make one random change."""
        name = self.random.choice(self.names)
        with self._lock:
            if self.truth.standing_of(name) is not Standing.UP:
                self.recover(name)
            elif self.random.random() < 0.15:
                self.random.choice((self.change_lease, lambda name: self.rewrite(name, _value(weight="2"))))(name)
            else:
                self.lose(name, self.random.choice(LOSSES if self.random.random() < 0.85 else self.stops))

    @contextmanager
    def traffic(self, pause: float = 0.4) -> Iterator[None]:
        """Make random changes during the block, about `pause` seconds apart."""
        stop = threading.Event()
        trouble: list[BaseException] = []

        def work() -> None:
            try:
                while not stop.wait(self.random.expovariate(1 / pause)):
                    self.move()
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                trouble.append(error)

        thread = threading.Thread(target=work, name="traffic", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(PATIENCE + 30)
        assert not thread.is_alive(), "the driver hangs"
        if trouble:
            raise trouble[0]

    # --- truth -------------------------------------------------------------------------------------------------------

    def adopt(self, since: float) -> None:
        """Take over what etcd says, after it was set back or replaced at some time from `since` on."""
        pairs = {pair.key.removeprefix(PREFIX): pair for pair in self._insist(lambda: self._gateway.get(PREFIX))}
        changes = {}
        for name in {*self.names, *self._revisions}:
            pair = pairs.get(name)
            self._revisions[name] = pair.revision if pair else 0
            self._leases[name] = pair.lease if pair else 0
            standing = _standing(pair.value) if pair else Standing.LOST
            if pair is None and self.truth.standing_of(name) is Standing.STOPPED:
                standing = Standing.STOPPED
            if standing is not self.truth.standing_of(name):
                changes[name] = standing
        self.truth.note(changes, since, time.monotonic(), self._gateway.revision())

    def check(self) -> None:
        """Fail if the truth is not what etcd says: then the harness is wrong, and no verdict means anything."""
        pairs = {pair.key.removeprefix(PREFIX): pair.value for pair in self._insist(lambda: self._gateway.get(PREFIX))}
        for name, standing in self.truth.instances().items():
            found = _standing(pairs[name]) if name in pairs else None
            is_up = found is Standing.UP
            assert is_up is (standing is Standing.UP), f"{name} is {found} in etcd and {standing} in the record"

    # --- writing -----------------------------------------------------------------------------------------------------

    def _change(self, values: Mapping[str, str | bytes | None], after: Mapping[str, Standing], lease: int = 0) -> None:
        with self._lock:
            since = time.monotonic()
            revision = self._write(values, lease)
            self.truth.note(after, since, time.monotonic(), revision)

    def _write(self, values: Mapping[str, str | bytes | None], lease: int = 0) -> int:
        """Write values, None deletes, at one revision, which is returned; try on while etcd does not answer."""
        guards = {PREFIX + name: self._revisions.get(name, 0) for name in values}
        operations: list[dict[str, Any]] = [
            delete_op(PREFIX + name) if value is None else put_op(PREFIX + name, value, lease)
            for name, value in values.items()
        ]
        revision: int = self._insist(lambda: self._gateway.commit(guards, operations))
        if not revision:
            revision = self._done_before(values)
        for name, value in values.items():
            self._revisions[name] = 0 if value is None else revision
            self._leases[name] = 0 if value is None else lease
        return revision

    def _done_before(self, values: Mapping[str, str | bytes | None]) -> int:
        """Return the revision of a change that had been made though its answer was lost; fail if it had not."""
        name, value = next(iter(values.items()))
        pairs = {pair.key: pair for pair in self._insist(lambda: self._gateway.get(PREFIX))}
        pair = pairs.get(PREFIX + name)
        assert (pair is None) is (value is None), f"somebody else wrote {name}"
        return pair.revision if pair else self._gateway.revision()

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            self._revisions[name] = self._leases[name] = 0

    def _revoke(self, lease: int) -> int:
        try:
            return self._gateway.revoke(lease)
        except GatewayRefused as error:
            if error.is_not_found:
                return self._gateway.revision()
            raise

    def _insist(self, call: Any) -> Any:
        """Call until etcd answers."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return call()
            except GatewayDown:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def _value(**members: str) -> str:
    return json.dumps({"host": "core01", "port": 8080, **members})


def _standing(value: bytes) -> Standing:
    """Return what a value says of its instance, as the contract has it."""
    try:
        status = json.loads(value).get("status")
    except (ValueError, AttributeError, RecursionError):
        return Standing.UP
    return {"failing": Standing.LOST, "stopped": Standing.STOPPED}.get(str(status), Standing.UP)
