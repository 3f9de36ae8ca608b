"""What the app under test and those who watch it must agree on."""

from __future__ import annotations

SECRET = "a-made-up-client-secret"
PREFIX = "soak"
"""Of the ids of notifications."""

LEASE = 5.0
"""Seconds; short, so that outages outlast it, too."""
READ_TIMEOUT = 2.5
"""Seconds; more than SQLite waits for a lock, and less than our Intercom waits for an answer."""
INTERCOM_GIVES_UP_AFTER = 5.0
"""Seconds without an answer."""
INTERCOM_TRIES_AGAIN_AFTER = 5.0
"""Seconds; a minute with the real one, but a minute is half of the short test."""
DRAIN_TIMEOUT = 5.0
"""Seconds."""
MAX_BODY_SIZE = 2**18
"""Bytes."""
RETENTION = 30.0
"""Seconds for which completed deliveries are known, and for which dead letters are kept. Longer than any copy of a
notification is under way, and short, so that erasing is a part of what is tested."""
TIDY_INTERVAL = 5.0
"""Seconds between two times that old deliveries are erased; a minute outside of this test."""
