"""How fast events go to Intercom, measured against the fake one behind uvicorn on loopback.

    python tests/benchmarks/events.py speed     # sequential loop, official SDK, raw httpx, track_many: 20 ms latency
    python tests/benchmarks/events.py window    # 10,000 events in windows of 1,667 per 10 s, one process (60 s)
    python tests/benchmarks/events.py shared    # the same in two processes that share the limit (60 s)
    python tests/benchmarks/events.py faults    # 5,000 events while a tenth of the requests fails
    python tests/benchmarks/events.py memory    # a million events from a generator, in-process transport (minutes)

The fake runs in a process of its own. CPU is the client's process alone. The official SDK is measured if it can be
imported (``pip install python-intercom``).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import random
import resource
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import anyio
import httpx
import uvicorn

from starlette_intercom.events import Event, EventsClient
from starlette_intercom.testing import FakeIntercom, Fault

TOKEN = "bench-token"
ENOUGH = 10_000_000  # a limit that is never reached


def some_faults(share: float) -> Iterator[Fault | None]:
    chance = random.Random(1)
    kinds: tuple[Fault, ...] = ("rate_limit", "server_error", "reset", "lost", "slow")
    while True:
        yield chance.choice(kinds) if chance.random() < share else None


def serve_fake(pipe: Connection, listener: socket.socket, limit: int, latency: float, fault_share: float) -> None:
    """Run the fake until told to stop; then send what it counted."""
    # Windows of a second, where a 429 is injected: the fake means it when it says to wait for the reset.
    fake = FakeIntercom(
        access_token=TOKEN,
        limit=limit,
        window=1.0 if fault_share else 10.0,
        latency=latency,
        faults=some_faults(fault_share),
        slow_for=3.0,
    )
    config = uvicorn.Config(fake, log_level="critical", access_log=False, date_header=False, lifespan="off")
    server = uvicorn.Server(config)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            while not server.started:
                await anyio.sleep(0.01)
            pipe.send("started")
            await anyio.to_thread.run_sync(pipe.recv)
            server.should_exit = True
        pipe.send((len(fake.events), fake.rate_limited, len(fake.requests), sorted(fake.windows.items())))

    anyio.run(main)


class Fake:
    """A fake in another process."""

    def __init__(self, address: str, pipe: Connection) -> None:
        self.address = address
        self._pipe = pipe

    def stop(self) -> tuple[int, int, int, list[tuple[float, int]]]:
        """Stop it: events recorded, answers of 429, requests, requests in each window."""
        self._pipe.send("stop")
        counted: tuple[int, int, int, list[tuple[float, int]]] = self._pipe.recv()
        return counted


@contextmanager
def fake_intercom(*, limit: int = ENOUGH, latency: float = 0.0, fault_share: float = 0.0) -> Iterator[Fake]:
    """Start a fake in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        process = multiprocessing.Process(
            target=serve_fake, args=(theirs, listener, limit, latency, fault_share), daemon=True
        )
        process.start()
        assert ours.recv() == "started"
        yield Fake(f"http://127.0.0.1:{listener.getsockname()[1]}", ours)
        process.join(10)


def make_events(count: int, prefix: str = "user") -> Iterator[Event]:
    for number in range(count):
        yield Event("placed-order", user_id=f"{prefix}-{number}", metadata={"items": 3, "shop": "berlin"})


def as_fields(event: Event) -> dict[str, object]:
    return {
        "event_name": event.name,
        "created_at": event.created_at,
        "user_id": event.user_id,
        "metadata": dict(event.metadata or {}),
    }


async def sequential(address: str, count: int) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(headers=headers) as client:
        for event in make_events(count):
            (await client.post(f"{address}/events", json=as_fields(event))).raise_for_status()


async def raw_httpx(address: str, count: int) -> None:
    """The least that httpx can do with 20 workers: the measure for the CPU of `track_many`."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Intercom-Version": "2.16", "User-Agent": "bench"}
    limits = httpx.Limits(max_connections=20, max_keepalive_connections=20)
    events = make_events(count)
    async with httpx.AsyncClient(headers=headers, limits=limits) as client, anyio.create_task_group() as workers:

        async def work() -> None:
            for event in events:
                (await client.post(f"{address}/events", json=as_fields(event))).raise_for_status()

        for _ in range(20):
            workers.start_soon(work)


async def ours(address: str, count: int) -> None:
    async with EventsClient(access_token=TOKEN, base_url=address) as client:
        result = await client.track_many(make_events(count))
        assert result.succeeded == count


async def official_sdk(address: str, count: int) -> None:
    from intercom import AsyncIntercom  # type: ignore[import-not-found, unused-ignore]

    client = AsyncIntercom(token=TOKEN, base_url=address)
    for event in make_events(count):
        fields = as_fields(event)
        fields["metadata"] = {"items": "3", "shop": "berlin"}  # it takes strings only
        await client.events.create(request=fields)


async def official_sdk_alone(address: str, count: int) -> None:
    try:
        await official_sdk(address, count)
    except TypeError as error:
        raise SystemExit(f"the official SDK changed its interface: {error}") from None


def measure(work: Callable[[str, int], Awaitable[None]], count: int, latency: float) -> tuple[float, float]:
    """Events per second, and CPU seconds per event of this process."""
    with fake_intercom(latency=latency) as fake:
        wall, cpu = time.perf_counter(), time.process_time()
        anyio.run(work, fake.address, count)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        recorded = fake.stop()[0]
    assert recorded == count, (recorded, count)
    return count / wall, cpu / count


def speed(count: int, rounds: int) -> None:
    ways = [
        ("sequential loop", sequential, 1),
        ("raw httpx, 20 at once", raw_httpx, rounds),
        ("track_many", ours, rounds),
    ]
    if importlib.util.find_spec("intercom") is not None:
        ways.insert(1, ("official SDK", official_sdk_alone, 1))
    results: dict[str, list[tuple[float, float]]] = {name: [] for name, _, _ in ways}
    # In turn, so that a busy moment of the machine does not hit one way alone.
    for turn in range(rounds):
        for name, work, times in ways:
            if turn < times:
                results[name].append(measure(work, count, 0.02))
    base = statistics.median(rate for rate, _ in results["sequential loop"])
    raw = statistics.median(cpu for _, cpu in results["raw httpx, 20 at once"])
    print(f"{count} events, 20 ms latency; medians of up to {rounds} rounds\n")
    print("| way | events/s | to sequential | CPU µs/event | to raw httpx |\n|---|---|---|---|---|")
    for name, figures in results.items():
        rate, cpu = (statistics.median(values) for values in zip(*figures, strict=True))
        print(f"| {name} | {rate:.0f} | {rate / base:.1f} | {cpu * 1e6:.0f} | {cpu / raw:.2f} |")


def send_share(address: str, count: int, prefix: str) -> None:
    async def main() -> None:
        async with EventsClient(access_token=TOKEN, base_url=address) as client:
            result = await client.track_many(make_events(count, prefix))
            assert result.succeeded == count, result

    anyio.run(main)


def window(count: int, processes: int) -> None:
    with fake_intercom(limit=1667, latency=0.02) as fake:
        began = time.perf_counter()
        senders = [
            multiprocessing.Process(target=send_share, args=(fake.address, count // processes, f"p{number}"))
            for number in range(processes)
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        took = time.perf_counter() - began
        recorded, rate_limited, requests, windows = fake.stop()
    used = [in_window for _, in_window in windows]
    print(f"{count} events from {processes} process(es) in {took:.1f} s: {recorded} recorded, {requests} requests")
    print(f"429: {rate_limited} ({rate_limited / requests:.2%}); requests in each window: {used}")
    full = used[1:-1]
    print(f"full windows used: {min(full) / 1667:.2%} at least" if full else "no full window")


def faults(count: int) -> None:
    async def main(address: str) -> None:
        async with EventsClient(access_token=TOKEN, base_url=address, timeout=1.0) as client:
            result = await client.track_many(make_events(count))
            assert result.succeeded == count, result

    with fake_intercom(fault_share=0.1) as fake:
        began = time.perf_counter()
        anyio.run(main, fake.address)
        took = time.perf_counter() - began
        recorded, _, requests, _ = fake.stop()
    print(f"{count} events in {took:.1f} s with {requests} requests: {recorded} recorded, each once")


def memory(count: int) -> None:
    body = json.dumps({}).encode()

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(202, content=body)

    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20

    async def main() -> None:
        highest = 0.0
        async with (
            httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http_client,
            EventsClient(access_token=TOKEN, http_client=http_client) as client,
        ):
            await client.track_many(make_events(1_000, "warm"))
            before = resident()

            def look(progress: object) -> None:
                nonlocal highest
                highest = max(highest, resident())

            began = time.perf_counter()
            done = (await client.track_many(make_events(count), on_progress=sampled(look, 5_000))).succeeded
            took = time.perf_counter() - began
        print(f"{done} events in {took:.0f} s; memory grew by {highest - before:.1f} MiB from {before:.0f} MiB")

    anyio.run(main)


def sampled(look: Callable[[object], None], every: int) -> Callable[[object], None]:
    calls = 0

    def sample(progress: object) -> None:
        nonlocal calls
        calls += 1
        if calls % every == 0:
            look(progress)

    return sample


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "window", "shared", "faults", "memory"])
    parser.add_argument("--events", type=int, default=None, help="how many events")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of `speed`")
    arguments = parser.parse_args()
    if arguments.what == "speed":
        speed(arguments.events or 2_000, arguments.rounds)
    elif arguments.what == "faults":
        faults(arguments.events or 5_000)
    elif arguments.what == "memory":
        memory(arguments.events or 1_000_000)
    else:
        window(arguments.events or 10_000, 1 if arguments.what == "window" else 2)
    sys.stdout.flush()
