"""Alerts as documents show them, for the tests of commands that act on them."""

from __future__ import annotations

from typing import Any

from alertd import document
from alertd.cli.scene import AlertRow


def row(rule: str, service: str, instance: str | None = None, **fields: Any) -> AlertRow:
    """Return an alert as it is read; it fires unless `is_firing` is false."""
    alert_id = fields.pop("id", f"{rule}-{service}-{instance}")
    told_by = fields.pop("told_by", ())
    state = "firing" if fields.pop("is_firing", True) else "pending"
    content = {"id": alert_id, "rule": rule, "service": service, "instance": instance, "state": state}
    content |= {"severity": "warning", "labels": {}, "notifications": list(told_by), **fields}
    read = AlertRow.read(document.encode(content))
    assert read is not None
    return read
