"""The demonstration: starts quickstart.py under a real server and sends it what Intercom would send.

python examples/demo.py

Exits with 0 only if every answer was as it should be and the handlers did what they should.
"""

import json
import os
import queue
import secrets
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import httpx

from starlette_intercom.testing import sample, signed

PATH = "/webhooks/intercom"
SECRET = secrets.token_hex(16)


class Step(NamedTuple):
    """One request: what it shows, and the answer that it must get."""

    what: str
    method: str
    body: bytes
    headers: dict[str, str]
    status: int
    answer: object
    handled: str | None = None


def steps() -> list[Step]:
    conversation = sample("conversation.user.created")
    new = signed(conversation, SECRET)
    handled = f"handled conversation.user.created: conversation {conversation['data']['item']['id']}"
    forged = signed(sample("conversation.user.created"), "somebody else's secret")
    unknown = signed(sample("moon.phase.changed", item={"type": "moon"}), SECRET)
    ping = signed(sample("ping"), SECRET)
    received, wrong, missing = {"received": True}, {"error": "Invalid signature"}, {"error": "Missing X-Hub-Signature"}
    return [
        Step("a new conversation", "POST", new.body, new.headers, 200, received, handled),
        Step("the same again", "POST", new.body, new.headers, 200, {"received": True, "duplicate": True}),
        Step("a wrong signature", "POST", forged.body, forged.headers, 401, wrong),
        Step("no signature", "POST", new.body, {"content-type": "application/json"}, 401, missing),
        Step("an unknown topic", "POST", unknown.body, unknown.headers, 200, received),
        Step("a ping", "POST", ping.body, ping.headers, 200, received, "handled ping"),
        Step("Intercom's check of the URL", "HEAD", b"", {}, 200, None),
    ]


class Server:
    """quickstart.py in a process of its own, on a free port of this machine."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", "quickstart:app", "--port", str(self.port), "--no-access-log"]
        self.process = subprocess.Popen(  # noqa: S603 - our own example
            [*command, "--log-level", "warning"],
            cwd=Path(__file__).parent,
            env={**os.environ, "INTERCOM_CLIENT_SECRET": SECRET, "INTERCOM_INBOX": "memory:"},
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None  # noqa: S101 - it was asked for above
        for line in self.process.stdout:
            self._lines.put(line.rstrip())

    def wait_until_up(self, client: httpx.Client) -> None:
        deadline = time.monotonic() + 20
        while True:
            try:
                client.get("/")
                return
            except httpx.TransportError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise SystemExit("The server did not start; its output is above.") from None
                time.sleep(0.05)

    def said(self, line: str) -> bool:
        """Wait for a handler to print a line."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                if self._lines.get(timeout=0.1) == line:
                    return True
            except queue.Empty:
                continue
        return False

    def stop(self) -> list[str]:
        """Stop as a deployment would, and return what nobody waited for."""
        self.process.terminate()
        self.process.wait(timeout=30)
        return list(self._lines.queue)


def run(server: Server, client: httpx.Client) -> bool:
    print(f"{'sent':<29}{'answered':<52}{'in':>8}   handlers")
    good = True
    for step in steps():
        began = time.perf_counter()
        response = client.request(step.method, PATH, content=step.body, headers=step.headers)
        elapsed = (time.perf_counter() - began) * 1000
        content = json.loads(response.content) if response.content else None
        right = response.status_code == step.status and content == step.answer
        did = "-"
        if step.handled is not None:
            did = step.handled if server.said(step.handled) else "NOT HANDLED"
            right = right and did == step.handled
        answered = f"{response.status_code} {response.text}"
        print(f"{step.what:<29}{answered:<52}{elapsed:>5.1f} ms   {did}{'' if right else '   <- WRONG'}")
        good = good and right
    return good


def main() -> int:
    print("Starting examples/quickstart.py under a real server …\n", flush=True)
    server = Server()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=10, trust_env=False) as client:
            server.wait_until_up(client)
            client.head(PATH)  # so that the first figure below is not the server's first request
            good = run(server, client)
    finally:
        rest = server.stop()
    if rest:
        print(f"\nHandlers ran that should not have: {rest}")
    good = good and not rest and server.process.returncode in (0, -15)
    print(f"\n{'All was as it should be.' if good else 'Something was not as it should be.'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
