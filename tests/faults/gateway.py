"""etcd's own HTTP gateway as a client: no code of alertd's, so that what one gets wrong the other does not repeat.

Keys and values are text. A call is tried at each endpoint in turn, from the one that answered last.
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_UNKNOWN, _DEADLINE, _UNAVAILABLE = 2, 4, 14
_NOT_FOUND = 5
_PASSING = (_UNKNOWN, _DEADLINE, _UNAVAILABLE)


class GatewayDown(Exception):
    """No endpoint answered; what was asked for may have been done."""


class GatewayRefused(Exception):
    """etcd says no; nothing was done. `code` is gRPC's."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text} ({code})")
        self.code = code

    @property
    def is_not_found(self) -> bool:
        """Whether what was asked for is not there, such as a lease."""
        return self.code == _NOT_FOUND


class Pair(NamedTuple):
    """One key of etcd; `lease` 0 is none."""

    key: str
    value: bytes
    revision: int
    lease: int
    made_at: int


def _text(value: str | bytes) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


def put_op(key: str, value: str | bytes, lease: int = 0) -> dict[str, Any]:
    """Return the operation of a transaction that writes a key."""
    return {"requestPut": {"key": _text(key), "value": _text(value), "lease": str(lease)}}


def delete_op(key: str) -> dict[str, Any]:
    """Return the operation of a transaction that deletes a key."""
    return {"requestDeleteRange": {"key": _text(key)}}


def _pair(answer: Mapping[str, Any]) -> Pair:
    return Pair(
        base64.b64decode(answer["key"]).decode(),
        base64.b64decode(answer.get("value", "")),
        int(answer["mod_revision"]),
        int(answer.get("lease", 0)),
        int(answer["create_revision"]),
    )


class Gateway:
    """A client of one etcd or of the members of one."""

    def __init__(self, endpoints: Sequence[str], *, timeout: float = 2.0) -> None:
        self._endpoints = list(endpoints)
        self.timeout = timeout
        """Seconds for an answer."""
        self._login: tuple[str, str] | None = None
        self._token = ""

    def move_to(self, endpoints: Sequence[str]) -> None:
        """Ask at other endpoints from now on."""
        self._endpoints = list(endpoints)

    def log_in(self, user: str, password: str) -> None:
        """Use an account from now on."""
        self._login = (user, password)
        self._token = ""

    def call(self, path: str, **members: Any) -> dict[str, Any]:
        """Call a method, such as `kv/put`; raise GatewayDown or GatewayRefused."""
        trouble: Exception | None = None
        for endpoint in tuple(self._endpoints):
            try:
                answer = self._ask(endpoint, path, members)
            except GatewayDown as error:
                trouble = error
                self._endpoints.append(self._endpoints.pop(0))
                continue
            return answer
        raise GatewayDown(str(trouble))

    def _ask(self, endpoint: str, path: str, members: Mapping[str, Any]) -> dict[str, Any]:
        if self._login is not None and not self._token and path != "auth/authenticate":
            user, password = self._login
            self._token = self._ask(endpoint, "auth/authenticate", {"name": user, "password": password})["token"]
        headers = {"Authorization": self._token} if self._token else {}
        request = urllib.request.Request(f"http://{endpoint}/v3/{path}", json.dumps(members).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:  # noqa: S310 - the same
                content: dict[str, Any] = json.load(answer)
                return content
        except urllib.error.HTTPError as error:
            with error:
                raise self._fault(error.read()) from None
        except (OSError, HTTPException, ValueError) as error:
            raise GatewayDown(f"{endpoint}: {error}") from None

    def _fault(self, body: bytes) -> Exception:
        try:
            content = json.loads(body)
            code, text = int(content.get("code", _UNKNOWN)), str(content.get("error", ""))
        except (ValueError, AttributeError, TypeError):
            return GatewayDown(repr(body[:200]))
        if "auth token" in text:
            self._token = ""
            return GatewayDown(text)
        return GatewayDown(text) if code in _PASSING else GatewayRefused(code, text)

    # --- keys --------------------------------------------------------------------------------------------------------

    def revision(self) -> int:
        """Return the present revision."""
        return int(self.call("kv/range", key=_text("none"))["header"]["revision"])

    def get(self, prefix: str, *, keys_only: bool = False) -> list[Pair]:
        """Return all keys that begin with `prefix`."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        answer = self.call("kv/range", key=_text(prefix), range_end=_text(end), keys_only=keys_only)
        return [_pair(each) for each in answer.get("kvs", ())]

    def get_at(self, key: str, revision: int = 0) -> Pair | None:
        """Return one key as it is, or was at a revision; None if it was not there."""
        answer = self.call("kv/range", key=_text(key), revision=str(revision))
        return next((_pair(each) for each in answer.get("kvs", ())), None)

    def put(self, key: str, value: str | bytes, lease: int = 0) -> int:
        """Write a key and return the revision."""
        answer = self.call("kv/put", key=_text(key), value=_text(value), lease=str(lease))
        return int(answer["header"]["revision"])

    def commit(self, guards: Mapping[str, int], operations: Sequence[Mapping[str, Any]]) -> int:
        """Do operations if each key of `guards` was last written at that revision (0: is not there).

        Return the revision, or 0 if that does not hold.
        """
        compare = [
            {"key": _text(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}
            for key, revision in guards.items()
        ]
        answer = self.call("kv/txn", compare=compare, success=list(operations))
        return int(answer["header"]["revision"]) if answer.get("succeeded") else 0

    def compact(self, revision: int) -> None:
        """Forget what was before a revision."""
        self.call("kv/compaction", revision=str(revision), physical=True)

    # --- leases ------------------------------------------------------------------------------------------------------

    def grant(self, seconds: int) -> int:
        """Return a new lease."""
        return int(self.call("lease/grant", TTL=str(seconds))["ID"])

    def revoke(self, lease: int) -> int:
        """End a lease, its keys with it, and return the revision; raise GatewayRefused if there is none."""
        return int(self.call("lease/revoke", ID=str(lease))["header"]["revision"])

    def leader(self, namespace: str = "/alertd/") -> tuple[str, int]:
        """Return the name and the lease of the replica that leads, ("", 0) if none does."""
        for pair in self.get(f"{namespace}leader"):
            if pair.key == f"{namespace}leader":
                return str(json.loads(pair.value).get("replica", "")), pair.lease
        return "", 0
