"""The two ways in which Intercom writes times as text; conversations and tickets have Unix seconds instead."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(at: int) -> str:
    """Return Unix seconds as contacts and companies write them: ``2026-03-04T09:30:00.000+00:00``."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def iso_z(at: int) -> str:
    """Return Unix seconds as articles and statistics write them: ``2026-03-04T09:30:00.000Z``."""
    return iso(at).removesuffix("+00:00") + "Z"
