"""Promise 10: whatever is thrown at a server, its memory and its log are bounded, and good notifications get in."""

from __future__ import annotations

import pytest

from tests.factories import SECRET
from tests.hardening.exhaustion import LISTED, exhaustion_test


def test_an_attacked_server_serves_on_within_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    findings, returncode, log = exhaustion_test(scale=1)
    with capsys.disabled():
        print("", *(f"{name:>16}: {finding}" for name, finding in findings.items()), sep="\n")
    for name, finding in findings.items():
        assert set(finding.answers) <= LISTED[name], name
        assert set(finding.good_answers) == {200}, name
        assert finding.usual < 0.5, name
        assert finding.megabytes < 512, name
    # A topic that nobody handles has a stub to paste in the log, once; everything else is counted.
    topics = findings.pop("unknown topics")
    assert topics.log_lines <= 8 * topics.answers.total()
    assert sum(finding.log_lines for finding in findings.values()) < 200
    assert SECRET.encode() not in log
    assert returncode in (0, -15)
