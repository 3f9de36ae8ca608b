"""Write starlette_intercom/known_topics.py from .ci/topics.csv.

Usage: python .ci/generate_topics.py [--check]

With --check nothing is written: exit code 1 says that the file is not what would be written.
"""

from __future__ import annotations

import csv
import itertools
import json
import sys
from pathlib import Path

TABLE = Path(__file__).with_name("topics.csv")
TARGET = Path(__file__).parents[1] / "starlette_intercom" / "known_topics.py"
LINE_LENGTH = 120

HEAD = '''"""The topics that Intercom is known to send.

Generated from .ci/topics.csv by .ci/generate_topics.py. Do not edit: change the table and run

    python .ci/generate_topics.py

The set of topics is open, so a topic that is not listed here is a normal topic.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from .topics import Topic
'''


def module(rows: list[dict[str, str]]) -> str:
    """Return the source of the module, formatted as ruff would."""
    lines = [HEAD, "TopicName: TypeAlias = Literal["]
    lines += [f"    {json.dumps(row['topic'])}," for row in rows]
    lines += [
        "]",
        '"""Name of a known topic, for editors to complete; ``TopicName | str`` where any topic may come."""',
    ]
    lines += ["", "_TOPICS: Final = ("]
    for row in rows:
        values = [json.dumps(row[column], ensure_ascii=False) for column in ("topic", "item", "summary", "status")]
        values.append(json.dumps(row["since"]) if row["since"] else "None")
        line = f"    Topic({', '.join(values)}),"
        if len(line) <= LINE_LENGTH:
            lines.append(line)
        else:
            lines += ["    Topic(", *(f"        {value}," for value in values), "    ),"]
    lines += [
        ")",
        "",
        "KNOWN_TOPICS: Final[Mapping[str, Topic]] = MappingProxyType({topic.name: topic for topic in _TOPICS})",
        '"""Every known topic by its name, in alphabetical order."""',
    ]
    return "\n".join(lines) + "\n"


def read_table() -> list[dict[str, str]]:
    """Return the rows of the table in alphabetical order; a topic that is listed twice is an error."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["topic"])
    for row, following in itertools.pairwise(rows):
        if row["topic"] == following["topic"]:
            sys.exit(f"{TABLE.name} lists {row['topic']} twice")
    return rows


def main() -> None:
    """Write the module, or check it."""
    source = module(read_table())
    if sys.argv[1:] == ["--check"]:
        if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != source:
            sys.exit(f"{TARGET.name} is out of date: run python .ci/{Path(__file__).name}")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        TARGET.write_text(source, encoding="utf-8")
        print(f"Wrote {TARGET.name}")


if __name__ == "__main__":
    main()
