"""A file in which several processes write down what they do, a line at a time, until the moment they are killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


class Ledger:
    """Lines of words.

    Args:
        path: the file, which is made where it is not there.
    """

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, *words: object) -> None:
        """Write one line, in one call: lines of several processes do not mix."""
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())


def lines_of(path: Path) -> Iterator[list[str]]:
    """Read what was written so far."""
    for line in path.read_text().splitlines():
        yield line.split()
