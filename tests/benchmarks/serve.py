"""Run one of the Python servers: ``python -m tests.benchmarks.serve KIND --port PORT``; the measurements start it."""

from __future__ import annotations

import argparse

import uvicorn
from starlette.applications import Starlette

from .servers.ours import ours
from .servers.references import bare, handwritten, handwritten_redis

KINDS = ("bare", "handwritten", "handwritten-redis", "ours")


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--inbox", default="memory:")
    parser.add_argument("--redis", default="")
    parser.add_argument("--sleep", type=float, default=0.0)
    parser.add_argument("--reads-item", action="store_true")
    parser.add_argument("--handlers", type=int, default=1)
    parser.add_argument("--concurrency", type=int, default=1)
    options = parser.parse_args()
    # The same for all; uvloop and httptools are taken where they are installed.
    uvicorn.run(_app_of(options), port=options.port, access_log=False, log_level="warning", backlog=2048)


def _app_of(options: argparse.Namespace) -> Starlette:
    handler = {"sleep": options.sleep, "reads_item": options.reads_item}
    if options.kind == "bare":
        return bare()
    if options.kind == "handwritten":
        return handwritten(**handler)
    if options.kind == "handwritten-redis":
        return handwritten_redis(options.redis, **handler)
    return ours(options.inbox, handlers=options.handlers, concurrency=options.concurrency, **handler)


if __name__ == "__main__":
    main()
