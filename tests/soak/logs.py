"""What the servers may say in their logs, and how much."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from .settings import SECRET

EXPECTED_ERRORS = (
    "starlette_intercom: Dead letter ",
    "starlette_intercom: The inbox cannot be reached, trying again: ",
    "starlette_intercom.inbox: The inbox .* cannot be written: ",
)
"""What is logged as an error, and is none of ours."""

LINES_PER_START = 60
"""The stubs for topics that nobody handles, and the first of each kind of rejection."""
LINES_PER_TROUBLE = 12
"""The inbox went and came, from the side of each process's workers, writer and requests."""
LINES_PER_MINUTE = 60
"""Dead letters that were erased, each time that is done, and once a minute each kind of rejection."""

_ERROR = re.compile(r"(ERROR|CRITICAL): *(.*)")
_ATTEMPT = re.compile(r"WARNING: starlette_intercom: Delivery \S+ \(.*\): handler .* failed in attempt ")


def judge(texts: Sequence[str], *, starts: int, troubles: int, minutes: float) -> tuple[Counter[str], list[str]]:
    """Read logs.

    Args:
        texts: of each process.
        starts: how often one was started.
        troubles: how often something was done to them.
        minutes: how long it took.

    Returns:
        Counts, and what is wrong.
    """
    counts: Counter[str] = Counter()
    wrong = []
    for line in (line for text in texts for line in text.splitlines()):
        error = _ERROR.match(line)
        if error is None:
            counts["failed attempts" if _ATTEMPT.match(line) else "other lines"] += 1
        elif re.match(EXPECTED_ERRORS[0], error[2]):
            counts["dead letters"] += 1
        elif any(re.match(expected, error[2]) for expected in EXPECTED_ERRORS):
            counts["errors of the inbox"] += 1
        else:
            wrong.append(f"an error in the log: {line}")
        if line.startswith("Traceback"):
            wrong.append("a traceback in the log")
    most = LINES_PER_START * starts + LINES_PER_TROUBLE * troubles + LINES_PER_MINUTE * minutes
    lines = counts["other lines"] + counts["errors of the inbox"]
    if lines > most:
        wrong.append(f"{lines} lines in the logs beside those on failures, which is more than {most:.0f}")
    if any(SECRET in text for text in texts):
        wrong.append("the secret is in a log")
    return counts, wrong
