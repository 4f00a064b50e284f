"""What a failed call means: whose fault it is, whether asking again or elsewhere can help, and how to say it.

The one place that reads gRPC status codes and the words that etcd and gRPC put into their details. Messages name the
endpoint, the user, what is wrong, and the cure; they never carry a password, a token or a value.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import grpc

from alertd.errors import EtcdRefused, EtcdUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from alertd.etcd.channel import EtcdSettings


class Compacted(EtcdUnavailable):
    """The revision asked for is no longer kept: read the present state instead."""


class WrongHistory(EtcdUnavailable):
    """etcd shows another cluster, or an older state: nothing that was remembered can be compared."""


class EtcdFull(EtcdRefused):
    """The database has reached its quota: writes are refused, while reads, watches and expiries go on."""


class NotGuarded(EtcdUnavailable):
    """etcd has its authentication switched off, so that nobody needs to log in."""


class Verdict(Enum):
    """What the caller of a failed call may do."""

    UNSENT = "unsent"
    """Not executed for certain: the same call may go to the next endpoint, whatever it does."""
    UNSURE = "unsure"
    """Perhaps executed: only a call that may be repeated goes to the next endpoint."""
    STALE_TOKEN = "stale-token"  # noqa: S105 - a word, not a secret
    """Not executed; wants a token, or a fresh one."""
    DENIED = "denied"
    """Not executed, and every endpoint would say the same to this user; one who logs in may be another user."""
    FINAL = "final"
    """Every endpoint would say the same."""


class Fault(NamedTuple):
    """A failed call, judged."""

    verdict: Verdict
    error: EtcdUnavailable


class _Saying(NamedTuple):
    """Words in the details of a status, in lower case, and what they mean.

    `says` is a sentence without the address, in which `{user}` and `{attempt}` stand for who wanted what.
    """

    words: str
    verdict: Verdict
    kind: type[EtcdUnavailable]
    says: str


_CLIENT_CERTIFICATE = (
    "wants a client certificate that its CA vouches for, made for clients and not expired; "
    "give --etcd-cert and --etcd-key, or check them"
)

_SAYINGS: Sequence[_Saying] = (
    # etcd's own answers
    _Saying("invalid auth token", Verdict.STALE_TOKEN, EtcdUnavailable, "the session has ended"),
    _Saying("revision of auth store is old", Verdict.STALE_TOKEN, EtcdUnavailable, "users or roles have changed"),
    _Saying("auth: revision in header is old", Verdict.STALE_TOKEN, EtcdUnavailable, "users or roles have changed"),
    _Saying(
        "user name is empty",
        Verdict.STALE_TOKEN,
        EtcdRefused,
        "wants a user and a password; give --etcd-user and ALERTD_ETCD_PASSWORD[_FILE]",
    ),
    _Saying(
        "invalid user id or password",
        Verdict.FINAL,
        EtcdRefused,
        "refused {user}, or the password; check --etcd-user and ALERTD_ETCD_PASSWORD[_FILE]",
    ),
    _Saying(
        "password was given for no password user",
        Verdict.FINAL,
        EtcdRefused,
        "knows {user} without a password; leave --etcd-user out and give its certificate, or set a password",
    ),
    _Saying("authentication is not enabled", Verdict.FINAL, NotGuarded, "has authentication switched off"),
    _Saying(
        "permission denied",
        Verdict.DENIED,
        EtcdRefused,
        "does not permit {user} to {attempt}; grant it with `etcdctl role grant-permission`",
    ),
    _Saying("has been compacted", Verdict.FINAL, Compacted, "no longer keeps that revision"),
    _Saying("is a future revision", Verdict.FINAL, WrongHistory, "has not come as far as that revision: it is older"),
    _Saying(
        "database space exceeded",
        Verdict.FINAL,
        EtcdFull,
        "takes no writes: its database is full; compact, defragment, then `etcdctl alarm disarm`",
    ),
    _Saying("no leader", Verdict.UNSENT, EtcdUnavailable, "has no leader: most of its members are down or cut off"),
    _Saying("leader changed", Verdict.UNSURE, EtcdUnavailable, "has just changed its leader"),
    _Saying("lease not found", Verdict.FINAL, EtcdRefused, "knows no such lease: it has ended"),
    # the way there
    _Saying(
        "hostname verification check failed",
        Verdict.UNSENT,
        EtcdRefused,
        "shows a certificate for other names; use one of them in --etcd, or add this one to its subjectAltName",
    ),
    _Saying(
        "certificate has expired",
        Verdict.UNSENT,
        EtcdRefused,
        "shows a certificate that has expired; renew it, or set the clock here",
    ),
    _Saying(
        "certificate_verify_failed",
        Verdict.UNSENT,
        EtcdRefused,
        "shows a certificate that the CA does not vouch for; check --etcd-ca",
    ),
    _Saying(
        "wrong_version_number",
        Verdict.UNSENT,
        EtcdRefused,
        "does not speak TLS; leave --etcd-ca and --etcd-cert out, or check the port",
    ),
    *(
        _Saying(words, Verdict.UNSENT, EtcdRefused, _CLIENT_CERTIFICATE)
        for words in (
            "certificate_required",
            "bad_certificate",
            "unsupported_certificate",
            "certificate_expired",
            "certificate_unknown",
            "unknown_ca",
            "tsi_data_corrupted",  # what gRPC makes of any of these once TLS 1.3 has shaken hands
        )
    ),
    _Saying(
        "handshake read failed",
        Verdict.UNSENT,
        EtcdUnavailable,
        "hangs up on a TLS handshake; if it speaks plain text, leave --etcd-ca and --etcd-cert out",
    ),
    _Saying("handshake failed", Verdict.UNSENT, EtcdRefused, "does not complete a TLS handshake; check --etcd-ca"),
    _Saying(
        "trying to connect an http1",
        Verdict.UNSENT,
        EtcdRefused,
        "is not etcd's client port, or wants TLS; check --etcd and --etcd-ca",
    ),
    _Saying("connection refused", Verdict.UNSENT, EtcdUnavailable, "refuses the connection; is etcd running there?"),
    _Saying("dns resolution failed", Verdict.UNSENT, EtcdUnavailable, "has a name that does not resolve; check --etcd"),
    _Saying("domain name not found", Verdict.UNSENT, EtcdUnavailable, "has a name that does not resolve; check --etcd"),
)

_CLOSED_AT_ONCE = "closed the connection at once; is it etcd's client port, and does it want TLS (--etcd-ca)?"
_CLOSED_IN_TLS = "hangs up on TLS; is it etcd's client port, and does it want a certificate (--etcd-cert, --etcd-key)?"


class Call(NamedTuple):
    """What failed: who asked whom for what. `address` is `host:port`, `seconds` the deadline that the call had."""

    address: str
    settings: EtcdSettings
    seconds: float
    attempt: str = "do that"


def explain(call: Call, code: grpc.StatusCode, details: str | None) -> Fault:
    """Judge the status that a call ended with."""
    text, where = (details or "").lower(), f"etcd at {call.address}"
    for saying in _SAYINGS:
        if saying.words in text:
            says = saying.says.format(user=_user(call.settings), attempt=call.attempt)
            return Fault(saying.verdict, saying.kind(f"{where} {says}"))
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Fault(Verdict.UNSURE, EtcdUnavailable(f"{where} did not answer within {call.seconds:g} s"))
    if code is grpc.StatusCode.UNAVAILABLE and "failed to connect" in text:
        return Fault(Verdict.UNSENT, EtcdUnavailable(f"{where} {_unreached(text, is_tls=call.settings.is_tls)}"))
    if code in _PASSING:
        return Fault(Verdict.UNSURE, EtcdUnavailable(f"{where} broke off: {_first_line(details)}"))
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return Fault(Verdict.FINAL, EtcdRefused(f"{call.address} is not etcd's client port; check --etcd"))
    return Fault(Verdict.FINAL, EtcdRefused(f"{where} refused: {_first_line(details)}"))


def _unreached(text: str, *, is_tls: bool) -> str:
    """Return what to say of a connection that was never ready; `text` is what gRPC says, in lower case."""
    if is_tls and ("socket closed" in text or "connection reset" in text):
        return _CLOSED_IN_TLS
    return "cannot be reached" if is_tls or "timed out" in text or "no route" in text else _CLOSED_AT_ONCE


def _user(settings: EtcdSettings) -> str:
    if settings.user:
        return f"user {settings.user}"
    return "the user whom --etcd-cert names" if settings.cert else "this user"


_VERBS = {"RangeRequest": "read", "WatchCreateRequest": "watch", "PutRequest": "write", "DeleteRangeRequest": "delete"}
_ON_A_LEASE = frozenset({"LeaseKeepAliveRequest", "LeaseRevokeRequest"})


def attempt_of(request: Any) -> str:
    """Return what one of etcd's requests wants, in words: `write /services/apache/a`."""
    kind = request.DESCRIPTOR.name
    if kind == "TxnRequest":
        return f"read and write {_shown(request.compare[0].key)}" if request.compare else "do that"
    if kind in _ON_A_LEASE:
        return f"use lease {request.ID:x}"
    if kind not in _VERBS:
        return "do that"
    verb, key = _VERBS[kind], _shown(request.key)
    return f"{verb} keys from {key} on" if getattr(request, "range_end", b"") else f"{verb} {key}"


def _shown(key: bytes) -> str:
    """Return a key for a message: one line, and no longer than one."""
    return "".join(letter for letter in key.decode(errors="backslashreplace")[:200] if letter.isprintable())


def not_understood(address: str) -> EtcdRefused:
    """Return the error for an answer that is no message of etcd's; gRPC gives None for one that it cannot read."""
    return EtcdRefused(f"{address} does not speak etcd's language; check --etcd")


_PASSING = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DATA_LOSS,
    }
)


def _first_line(details: str | None) -> str:
    """Return the start of what was said: gRPC's details can run to a page."""
    lines = (details or "").strip().splitlines()
    return lines[0][:200] if lines else "no reason given"
