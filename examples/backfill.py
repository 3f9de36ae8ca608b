"""Send events from a script: one for each row of a CSV file, as fast as Intercom allows.

    INTERCOM_ACCESS_TOKEN=… python examples/backfill.py orders.csv

The file has the columns user_id, placed_at (Unix seconds) and cents. It may be sent again: Intercom drops an event of
the same name, contact and second as a repeat. The exit code is 0 if every event was taken.
"""

import asyncio
import csv
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from starlette_intercom import Event, EventsClient, Money, Progress, TrackResult


def read(path: Path) -> Iterator[Event]:
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            yield Event(
                "placed-order",
                user_id=row["user_id"],
                created_at=int(row["placed_at"]),
                metadata={"total": Money(int(row["cents"]), "eur")},
            )


def show(progress: Progress) -> None:
    if progress.done % 1000 == 0:
        print(f"{progress.done} done, {progress.failed} failed", flush=True)


async def send(events: EventsClient, path: Path) -> TrackResult:
    result = await events.track_many(read(path), on_progress=show)
    for failure in result.failed:
        print(f"{failure.event.user_id}: {failure.error}", file=sys.stderr)
    print(f"{result.succeeded} sent, {result.failed_count} failed")
    return result


async def main() -> int:
    async with EventsClient(access_token=os.environ["INTERCOM_ACCESS_TOKEN"]) as events:
        result = await send(events, Path(sys.argv[1]))
    return 0 if result.failed_count == 0 else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
