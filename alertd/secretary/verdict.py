"""Whether a service is well, judged by its probes: thresholds, and what a probe that was cut off means.

A probe that finishes, well or not, shows that somebody watches: it keeps the lease alive until the verdict. One that
hangs until its timeout counts as a failure but keeps nothing alive, so a secretary or host that hangs as well ends with
its lease. Pure: what etcd holds is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Finding:
    """What one probe found. `reason` says why it is not good, in a few words; `hung` that its time ran out.

    `data` is what a good one has to say of the service; a `remark` is why there is less of it than could be.
    """

    good: bool
    reason: str = ""
    hung: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)
    remark: str = ""


GOOD = Finding(good=True)


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds after a probe: whether the service is up (its key belongs in etcd) and whether the lease is renewed.

    `reason` is that of the last bad probe, and goes into the value when the service is down; `data` is that of the last
    good one, and stays in the value until the next.
    """

    is_up: bool = False
    renews: bool = False
    reason: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


class Judge:
    """Follows the probes of one service: `failures` bad ones in a row bring it down, `successes` good ones up."""

    def __init__(self, *, failures: int, successes: int) -> None:
        self._needed = {True: failures, False: successes}
        self._against = 0
        self._is_up = False
        self._data: Mapping[str, Any] = {}

    def hear(self, finding: Finding) -> Standing:
        """Take the next probe into account and return what holds now."""
        self._against = self._against + 1 if finding.good != self._is_up else 0
        if self._against >= self._needed[self._is_up]:
            self._is_up, self._against = finding.good, 0
        if finding.good:
            self._data = finding.data
        return Standing(self._is_up, self._is_up and not finding.hung, finding.reason, self._data)
