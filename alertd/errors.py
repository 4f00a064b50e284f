"""What can go wrong, by whose fault it is and what the caller should do about it.

A message names the thing, what is wrong with it, and the cure. None carries a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alertd.model import Place


class AlertdError(Exception):
    """The root of all errors that alertd raises on purpose."""


class ConfigError(AlertdError):
    """The operator's to mend. `problems` holds every fault found, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Problem:
    """One fault of the configuration at one place; prints as `file:line:column: error: message`."""

    __slots__ = ("is_warning", "message", "place")

    def __init__(self, place: Place, message: str, *, is_warning: bool = False) -> None:
        self.place = place
        self.message = message
        self.is_warning = is_warning

    def __str__(self) -> str:
        return f"{self.place}: {'warning' if self.is_warning else 'error'}: {self.message}"

    def __repr__(self) -> str:
        return f"Problem({str(self)!r})"


class NotThere(AlertdError):
    """What somebody named is not there to act on: the answer is no."""


class EtcdUnavailable(AlertdError):
    """etcd did not answer, or not in time: retry."""


class EtcdRefused(EtcdUnavailable):
    """etcd answered and said no (wrong password, no permission, TLS mismatch): retry rarely, an operator must act."""


class NotUnderstood(AlertdError):
    """What lies in etcd has a shape that this alertd does not know: it must not act on it, nor overwrite it."""


class DeliveryError(AlertdError):
    """A target did not take a message.

    `recoverable` says whether trying again can help; `retry_after` is the target's own wish in seconds, where known.
    """

    def __init__(self, message: str, *, recoverable: bool = True, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.recoverable = recoverable
        self.retry_after = retry_after
