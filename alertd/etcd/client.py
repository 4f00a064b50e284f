"""Ask etcd one thing at a time: reads, writes, leases, over several endpoints, with a deadline on every call.

The client decides which endpoint is asked and whether a failed call may be sent again: reads always, writes only if
the failed attempt was certainly not executed. Where a user is named it logs in before all else (a client certificate
would make it another user, by its common name), and again when its token has ended, so that authentication may be
switched on while it runs. It knows nothing of services or watches.

Every method raises EtcdUnavailable where trying again later can help, and EtcdRefused where an operator must act.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import grpc
import grpc.aio

from alertd.errors import EtcdRefused, EtcdUnavailable
from alertd.etcd.channel import EtcdSettings, credentials_for, open_channel
from alertd.etcd.faults import Call, Fault, NotGuarded, Verdict, attempt_of, explain, not_understood
from alertd.etcd.wire import rpc, stubs

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from types import TracebackType

FIRST_PAGE_KEYS = 1_000
PAGE_KEYS_CAP = 10_000
PAGE_BYTES = 4 << 20
"""A listing starts with pages of so many keys, then aims at so many bytes: values may have 1 MiB each."""


class KeyValue(Protocol):
    """A key as etcd returns it; `value` is empty in a listing of keys only. `lease` is 0 if there is none."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int


class Page(NamedTuple):
    """One answer to a range, or one part of a listing. `total` counts the keys of the whole range."""

    kvs: Sequence[KeyValue]
    revision: int
    cluster_id: int
    raft_term: int
    more: bool
    total: int


class TxnResult(NamedTuple):
    """What became of a transaction. `responses` are etcd's `ResponseOp` messages, one an operation."""

    succeeded: bool
    revision: int
    responses: Sequence[Any]


class Member(NamedTuple):
    """What one endpoint says of itself. `has_leader` is false for one cut off from the quorum."""

    endpoint: str
    version: str
    revision: int
    cluster_id: int
    has_leader: bool
    db_bytes: int


_STATUS = ("Maintenance", "Status")
_LOGIN = ("Auth", "Authenticate")
_ENDING = frozenset({Verdict.DENIED, Verdict.FINAL})
"""What every endpoint would answer."""


def range_end_of(prefix: bytes) -> bytes:
    r"""Return the first key after all that start with `prefix`; `\0` (etcd's word for "no end") if there is none."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else b"\0"


def created_at(key: bytes, create_revision: int) -> Any:
    """Return the comparison "the key was created at this revision"; 0 means that it does not exist."""
    return rpc.Compare(result=rpc.Compare.EQUAL, target=rpc.Compare.CREATE, key=key, create_revision=create_revision)


def leased_by(key: bytes, lease: int) -> Any:
    """Return the comparison "the key is there, under this lease"."""
    return rpc.Compare(result=rpc.Compare.EQUAL, target=rpc.Compare.LEASE, key=key, lease=lease)


def put_op(key: bytes, value: bytes, lease: int = 0) -> Any:
    """Return a put for a transaction."""
    return rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value, lease=lease))


def delete_op(key: bytes, *, is_prefix: bool = False) -> Any:
    """Return a deletion of one key, or of all that start with it, for a transaction."""
    end = range_end_of(key) if is_prefix else b""
    return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key, range_end=end))


def together(operations: Sequence[Any], most: int) -> Sequence[Any]:
    """Return operations that do the same in one transaction, and are not more than `most`, by nesting them.

    etcd counts the operations of a transaction within another by themselves, against what those around it leave. Three
    levels hold 30,000 and more, which is beyond what one request has room for.
    """
    if len(operations) <= most:
        return operations
    size = most // 3
    while len(operations) > size:
        parts = [operations[start : start + size] for start in range(0, len(operations), size)]
        operations = [rpc.RequestOp(request_txn=rpc.TxnRequest(success=part)) for part in parts]
    return operations


def delete_version_op(key: bytes, mod_revision: int) -> Any:
    """Return a deletion of one key for a transaction, which does nothing unless the key was last put at a revision."""
    compare = rpc.Compare(result=rpc.Compare.EQUAL, target=rpc.Compare.MOD, key=key, mod_revision=mod_revision)
    return rpc.RequestOp(request_txn=rpc.TxnRequest(compare=[compare], success=[delete_op(key)]))


def get_op(key: bytes) -> Any:
    """Return a read of one key for a transaction."""
    return rpc.RequestOp(request_range=rpc.RangeRequest(key=key))


class Endpoint:
    """One member's address, its channel, and the stubs on it."""

    def __init__(self, address: str, credentials: grpc.ChannelCredentials | None) -> None:
        self.address = address
        self._credentials = credentials
        self._channel: Any = None
        self._stubs: dict[str, Any] = {}

    def method(self, service: str, name: str) -> Any:
        """Return the callable of `service.name`; the channel is opened at the first use."""
        if self._channel is None:
            self._channel = open_channel(self.address, self._credentials)
        if service not in self._stubs:
            self._stubs[service] = getattr(stubs, f"{service}Stub")(self._channel)
        return getattr(self._stubs[service], name)

    async def close(self) -> None:
        """Close the channel; the endpoint may be used again."""
        channel, self._channel = self._channel, None
        self._stubs = {}
        if channel is not None:
            await channel.close()


class Client:
    """A session with etcd; use it as an async context manager, within one event loop."""

    def __init__(self, settings: EtcdSettings) -> None:
        self.settings = settings
        self.credentials = credentials_for(settings)
        self._endpoints = [Endpoint(address, self.credentials) for address in settings.endpoints]
        self._current = 0
        self._token = ""
        self._login = asyncio.Lock()
        self._is_open = not settings.user
        """Whether etcd lets us in without a token, as far as we know."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        for endpoint in self._endpoints:
            await endpoint.close()

    @property
    def endpoint(self) -> str:
        """The address that is asked first: the last that answered."""
        return self._endpoints[self._current].address

    # --- keys ----------------------------------------------------------------------------------------------------

    async def range(self, request: Any, *, seconds: float | None = None) -> Page:
        """Send one `rpc.RangeRequest`."""
        answer = await self._call("KV", "Range", request, seconds=seconds)
        header = answer.header
        return Page(answer.kvs, header.revision, header.cluster_id, header.raft_term, answer.more, answer.count)

    async def get(self, key: bytes, *, revision: int = 0) -> KeyValue | None:
        """Return one key as it is now, or was at `revision`; raise Compacted if that is no longer kept."""
        page = await self.range(rpc.RangeRequest(key=key, revision=revision))
        return page.kvs[0] if page.kvs else None

    async def list_prefix(
        self,
        prefix: bytes,
        *,
        keys_only: bool = False,
        revision: int = 0,
        page: int = FIRST_PAGE_KEYS,
        modified_since: int = 0,
    ) -> AsyncGenerator[Page, None]:
        """Yield the keys that start with `prefix`, in order, in pages that all show one revision.

        The first page is linearizable and fixes the revision unless `revision` does; each page bears that one, also
        an empty last. `page` is the number of keys in the first; later ones follow the size of the answers. Keys that
        were last put before the revision `modified_since` are left out. Raises Compacted if the revision is compacted
        meanwhile.
        """
        start, end = prefix or b"\0", range_end_of(prefix)
        limit, more, cluster_id = page, True, 0
        while more:
            request = rpc.RangeRequest(key=start, range_end=end, limit=limit, revision=revision, keys_only=keys_only)
            request.min_mod_revision = modified_since
            answer = await self.range(request)
            if cluster_id not in {0, answer.cluster_id}:
                raise EtcdUnavailable("etcd became another cluster while it was listed")
            revision, cluster_id = revision or answer.revision, answer.cluster_id
            yield answer._replace(revision=revision)
            more = answer.more and len(answer.kvs) > 0
            if more:
                start = answer.kvs[-1].key + b"\0"
                limit = _next_limit(answer.kvs)

    async def put(self, key: bytes, value: bytes, *, lease: int = 0) -> int:
        """Put a key and return the revision at which that was done."""
        answer = await self._call("KV", "Put", rpc.PutRequest(key=key, value=value, lease=lease), is_write=True)
        return int(answer.header.revision)

    async def delete(self, key: bytes, *, is_prefix: bool = False) -> int:
        """Delete a key, or all that start with it, and return how many there were."""
        end = range_end_of(key) if is_prefix else b""
        request = rpc.DeleteRangeRequest(key=key, range_end=end)
        return int((await self._call("KV", "DeleteRange", request, is_write=True)).deleted)

    async def txn(self, compares: Sequence[Any], success: Sequence[Any], failure: Sequence[Any] = ()) -> TxnResult:
        """Do `success` if all `compares` hold, else `failure`, at once and at one revision."""
        request = rpc.TxnRequest(compare=compares, success=success, failure=failure)
        answer = await self._call("KV", "Txn", request, is_write=True)
        return TxnResult(answer.succeeded, answer.header.revision, answer.responses)

    # --- leases --------------------------------------------------------------------------------------------------

    async def lease_grant(self, ttl: int, *, lease: int = 0) -> int:
        """Make a lease of `ttl` seconds and return its id; etcd chooses one if `lease` is 0."""
        answer = await self._call("Lease", "LeaseGrant", rpc.LeaseGrantRequest(TTL=ttl, ID=lease), is_write=True)
        return int(answer.ID)

    async def lease_revoke(self, lease: int) -> None:
        """End a lease and its keys; EtcdRefused if it has ended already."""
        await self._call("Lease", "LeaseRevoke", rpc.LeaseRevokeRequest(ID=lease))

    async def lease_keepalive(self, lease: int, *, seconds: float | None = None) -> int:
        """Refresh a lease once and return its TTL in seconds; 0 if it has ended."""
        request = rpc.LeaseKeepAliveRequest(ID=lease)
        return int((await self._call("Lease", "LeaseKeepAlive", request, seconds=seconds, is_stream=True)).TTL)

    async def time_to_live(self, lease: int, *, seconds: float | None = None) -> int:
        """Return the seconds that a lease has left; -1 if it has ended, by itself or revoked."""
        answer = await self._call("Lease", "LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=lease), seconds=seconds)
        return int(answer.TTL)

    async def leases(self) -> list[int]:
        """Return the ids of all leases that live; etcd 3.5.28 tells only who may read every key that has a lease."""
        answer = await self._call("Lease", "LeaseLeases", rpc.LeaseLeasesRequest())
        return [status.ID for status in answer.leases]

    # --- members -------------------------------------------------------------------------------------------------

    async def members(self) -> list[Member | EtcdUnavailable]:
        """Ask every endpoint what it says of itself; in the order of the settings, a failure in its place.

        Some etcds say so to root alone (3.5.28 and 3.6.0 on, until etcd#21666): nothing may depend on it.
        """
        return list(await asyncio.gather(*map(self._member, self._endpoints)))

    async def _member(self, endpoint: Endpoint) -> Member | EtcdUnavailable:
        try:
            answer = await self._attempt(endpoint, _STATUS, rpc.StatusRequest(), self.settings.timeout)
        except _Failed as failed:
            return failed.fault.error
        header = answer.header
        has_leader = answer.leader != 0
        return Member(endpoint.address, answer.version, header.revision, header.cluster_id, has_leader, answer.dbSize)

    # --- one call ------------------------------------------------------------------------------------------------

    async def _call(
        self,
        service: str,
        name: str,
        request: Any,
        *,
        seconds: float | None = None,
        is_write: bool = False,
        is_stream: bool = False,
    ) -> Any:
        """Ask the current endpoint, then the others in turn, each once and with its own deadline."""
        deadline = self.settings.timeout if seconds is None else seconds
        first = self._current
        fault: Fault | None = None
        for step in range(len(self._endpoints)):
            index = (first + step) % len(self._endpoints)
            try:
                answer = await self._attempt_with_login(index, (service, name), request, deadline, is_stream=is_stream)
            except _Failed as failed:
                fault = _worse(fault, failed.fault)
                self._leave(index)
                if fault.verdict in _ENDING or (is_write and failed.fault.verdict is not Verdict.UNSENT):
                    break
            else:
                self._current = index
                return answer
        if fault is None:
            raise EtcdUnavailable("no etcd endpoint is given; use --etcd host:port")
        raise fault.error

    def _leave(self, index: int) -> None:
        """Ask another endpoint first from now on, unless that has happened meanwhile."""
        if self._current == index:
            self._current = (index + 1) % len(self._endpoints)

    async def _attempt_with_login(
        self, index: int, method: tuple[str, str], request: Any, seconds: float, *, is_stream: bool
    ) -> Any:
        endpoint = self._endpoints[index]
        if not self._token and not self._is_open:
            await self._renew_token(endpoint, "", seconds)
        token = self._token
        try:
            return await self._attempt(endpoint, method, request, seconds, is_stream=is_stream)
        except _Failed as failed:
            if not self._may_log_in(failed.fault, token):
                raise
            self._is_open = False
        await self._renew_token(endpoint, token, seconds)
        return await self._attempt(endpoint, method, request, seconds, is_stream=is_stream)

    def _may_log_in(self, fault: Fault, token: str) -> bool:
        """Whether to log in may help a call that failed and bore `token`."""
        is_nobody = fault.verdict is Verdict.DENIED and not token
        return bool(self.settings.user) and (is_nobody or fault.verdict is Verdict.STALE_TOKEN)

    async def _renew_token(self, endpoint: Endpoint, stale: str, seconds: float) -> None:
        """Log in, once for all the calls that found the same token stale."""
        async with self._login:
            if self._token != stale or self._is_open:
                return
            self._token = ""
            request = rpc.AuthenticateRequest(name=self.settings.user, password=self.settings.password)
            try:
                self._token = (await self._attempt(endpoint, _LOGIN, request, seconds)).token
            except _Failed as failed:
                if isinstance(failed.fault.error, NotGuarded):
                    self._is_open = True
                elif failed.fault.verdict is Verdict.UNSURE:  # of the login, not of the call that it is for
                    raise _Failed(failed.fault._replace(verdict=Verdict.UNSENT)) from None
                else:
                    raise

    async def _attempt(
        self, endpoint: Endpoint, method: tuple[str, str], request: Any, seconds: float, *, is_stream: bool = False
    ) -> Any:
        """Make one call at one endpoint; raise `_Failed`."""
        call = endpoint.method(*method)
        try:
            if is_stream:
                stream = call(iter((request,)), timeout=seconds, metadata=self.metadata())
                answer = await stream.read()
                stream.cancel()
            else:
                answer = await call(request, timeout=seconds, metadata=self.metadata())
        except grpc.aio.AioRpcError as error:
            failed_call = Call(endpoint.address, self.settings, seconds, attempt_of(request))
            raise _Failed(explain(failed_call, error.code(), error.details())) from None
        if answer is grpc.aio.EOF:
            raise _Failed(Fault(Verdict.UNSURE, EtcdUnavailable(f"etcd at {endpoint.address} ended without an answer")))
        if answer is None:
            raise _Failed(Fault(Verdict.UNSURE, not_understood(endpoint.address)))
        return answer

    # --- what the watch needs besides ----------------------------------------------------------------------------

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what each call bears: the token, if there is one."""
        return (("token", self._token),) if self._token else ()

    def forget_token(self) -> None:
        """Log in anew at the next call that needs it: a stream was told that the token is no good."""
        self._token = ""

    def leave(self, address: str) -> None:
        """Ask another endpoint first from now on: a stream from this one broke."""
        if self.endpoint == address:
            self._leave(self._current)


class _Failed(Exception):
    """One attempt failed. Never leaves this module."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault.error))
        self.fault = fault


def _worse(before: Fault | None, now: Fault) -> Fault:
    """Return the one to report of two endpoints' faults: what an operator must mend tells more."""
    if before is not None and isinstance(before.error, EtcdRefused) and not isinstance(now.error, EtcdRefused):
        return before._replace(verdict=now.verdict)
    return now


def _next_limit(kvs: Sequence[KeyValue]) -> int:
    """Return how many keys the next page may have, judged by the size of those in this one."""
    size = sum(len(kv.key) + len(kv.value) for kv in kvs) // len(kvs) + 32
    return max(1, min(PAGE_KEYS_CAP, PAGE_BYTES // size))
