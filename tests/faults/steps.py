"""The steps of a delivery at which a daemon can be killed: the one place that knows what alertd calls them.

A daemon's observer is called with members of `alertd.delivery.outbox.Step`. An alertd without an outbox that lasts has
two of them: a notification is decided, and it was accepted.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from alertd.delivery.lane import Delivery
from alertd.model import Notification

STEPS = ("decided", "written", "attempted", "accepted", "recorded")

_OUTBOX = "alertd.delivery.outbox"
IS_DURABLE = find_spec(_OUTBOX) is not None
"""Whether what was decided and told outlives the daemon."""


def _step_type() -> Any:
    return getattr(import_module(_OUTBOX), "Step", None) if IS_DURABLE else None


STEP = _step_type()


def step_of(observed: object) -> str:
    """Return which of `STEPS` an observation is, empty if it is none."""
    if STEP is not None:
        return str(observed.name).lower() if isinstance(observed, STEP) else ""
    if isinstance(observed, Notification):
        return "decided"
    return "accepted" if isinstance(observed, Delivery) and observed.ok else ""
