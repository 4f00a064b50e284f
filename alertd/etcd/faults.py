"""What a failed call means: whose fault it is, whether asking again or elsewhere can help, and how to say it.

The one place that reads gRPC status codes and the words that etcd and gRPC put into their details. Messages name the
endpoint, what is wrong, and the cure; they never carry a password, a token or a value.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import grpc

from alertd.errors import EtcdRefused, EtcdUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence


class Compacted(EtcdUnavailable):
    """The revision asked for is no longer kept: read the present state instead."""


class Verdict(Enum):
    """What the caller of a failed call may do."""

    UNSENT = "unsent"
    """Not executed for certain: the same call may go to the next endpoint, whatever it does."""
    UNSURE = "unsure"
    """Perhaps executed: only a call that may be repeated goes to the next endpoint."""
    STALE_TOKEN = "stale-token"  # noqa: S105 - a word, not a secret
    """Not executed; wants a token, or a fresh one."""
    FINAL = "final"
    """Every endpoint would say the same."""


class Fault(NamedTuple):
    """A failed call, judged."""

    verdict: Verdict
    error: EtcdUnavailable


class _Saying(NamedTuple):
    """Words in the details of a status, in lower case, and what they mean. `says` is a sentence without the address."""

    words: str
    verdict: Verdict
    kind: type[EtcdUnavailable]
    says: str


_SAYINGS: Sequence[_Saying] = (
    # etcd's own answers
    _Saying("invalid auth token", Verdict.STALE_TOKEN, EtcdUnavailable, "the session has ended"),
    _Saying("revision of auth store is old", Verdict.STALE_TOKEN, EtcdUnavailable, "users or roles have changed"),
    _Saying("auth: revision in header is old", Verdict.STALE_TOKEN, EtcdUnavailable, "users or roles have changed"),
    _Saying(
        "user name is empty",
        Verdict.STALE_TOKEN,
        EtcdRefused,
        "wants a user and a password; give --etcd-user and ALERTD_ETCD_PASSWORD",
    ),
    _Saying(
        "invalid user id or password",
        Verdict.FINAL,
        EtcdRefused,
        "refused the user or the password; check --etcd-user and ALERTD_ETCD_PASSWORD",
    ),
    _Saying(
        "permission denied",
        Verdict.FINAL,
        EtcdRefused,
        "does not permit that to this user; grant it with `etcdctl role grant-permission`",
    ),
    _Saying("has been compacted", Verdict.FINAL, Compacted, "no longer keeps that revision"),
    _Saying(
        "database space exceeded",
        Verdict.FINAL,
        EtcdRefused,
        "takes no writes: its database is full; compact, defragment, then `etcdctl alarm disarm`",
    ),
    _Saying("no leader", Verdict.UNSENT, EtcdUnavailable, "has no leader: most of its members are down or cut off"),
    _Saying("leader changed", Verdict.UNSURE, EtcdUnavailable, "has just changed its leader"),
    _Saying("lease not found", Verdict.FINAL, EtcdRefused, "knows no such lease: it has ended"),
    # the way there
    _Saying(
        "certificate_verify_failed",
        Verdict.UNSENT,
        EtcdRefused,
        "shows a certificate that the CA does not vouch for; check --etcd-ca and the host name",
    ),
    _Saying(
        "wrong_version_number",
        Verdict.UNSENT,
        EtcdRefused,
        "does not speak TLS; leave --etcd-ca and --etcd-cert out, or check the port",
    ),
    _Saying(
        "certificate_required",
        Verdict.UNSENT,
        EtcdRefused,
        "wants a client certificate; give --etcd-cert and --etcd-key",
    ),
    _Saying(
        "bad_certificate",
        Verdict.UNSENT,
        EtcdRefused,
        "wants a client certificate that its CA vouches for; give --etcd-cert and --etcd-key, or check them",
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


def explain(address: str, code: grpc.StatusCode, details: str | None, *, seconds: float, is_tls: bool) -> Fault:
    """Judge a status. `address` is `host:port`, `seconds` the deadline that the call had."""
    text = (details or "").lower()
    for saying in _SAYINGS:
        if saying.words in text:
            return Fault(saying.verdict, saying.kind(f"etcd at {address} {saying.says}"))
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Fault(Verdict.UNSURE, EtcdUnavailable(f"etcd at {address} did not answer within {seconds:g} s"))
    if code is grpc.StatusCode.UNAVAILABLE and "failed to connect" in text:
        says = "cannot be reached" if is_tls or "timed out" in text or "no route" in text else _CLOSED_AT_ONCE
        return Fault(Verdict.UNSENT, EtcdUnavailable(f"etcd at {address} {says}"))
    if code in _PASSING:
        return Fault(Verdict.UNSURE, EtcdUnavailable(f"etcd at {address} broke off: {_first_line(details)}"))
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return Fault(Verdict.FINAL, EtcdRefused(f"{address} is not etcd's client port; check --etcd"))
    return Fault(Verdict.FINAL, EtcdRefused(f"etcd at {address} refused: {_first_line(details)}"))


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
