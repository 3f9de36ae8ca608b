"""An Intercom to test against: the events endpoints with their rate window, duplicates, errors and faults."""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

import anyio
from starlette.types import Message, Receive, Scope, Send

Fault = Literal["rate_limit", "server_error", "reset", "lost", "slow"]

_CONTACT_KEYS = ("user_id", "id", "email")


@dataclass(frozen=True, slots=True)
class FakeRequest:
    """A request that `FakeIntercom` got.

    Attributes:
        method: the HTTP method.
        path: the path without its query.
        query: the query's parameters.
        headers: the headers, with names in lower case; without ``Authorization``.
        body: the body.
        status: the answer's status; 0 where the connection was dropped instead.
        at: when it came, in Unix seconds of the fake's clock.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    status: int
    at: float


class FakeIntercom:
    """An ASGI app that answers like Intercom's Data Events API, and writes down what it got.

    Use it in process, ``httpx.AsyncClient(transport=httpx.ASGITransport(fake))``, or behind a server. It sends a
    ``Date`` of its own clock, so start uvicorn with ``date_header=False``.

    A fault is one of ``rate_limit`` (429), ``server_error`` (500), ``reset`` (the connection breaks before the event is
    recorded), ``lost`` (the event is recorded, then the connection breaks) and ``slow`` (recorded, answered after
    ``slow_for`` seconds).

    Args:
        access_token: the only token that is accepted.
        limit: requests in one window.
        window: seconds of a window.
        contacts: values of ``user_id``, ``id`` and ``email`` that exist; None if all do.
        latency: seconds before each answer.
        faults: the fault of each request in turn, or None for a proper answer; when it ends there are no more.
        slow_for: seconds that a slow answer takes.
        clock: tells the time in Unix seconds.

    Attributes:
        events: the events recorded, each once, in the order of their arrival.
        requests: every request, in the order of their answers.
        windows: requests counted in each window, by the Unix second of its start.
        rate_limited: requests answered with 429 because the window was used up.
    """

    def __init__(
        self,
        *,
        access_token: str = "fake-token",  # noqa: S107 - made up
        limit: int = 1667,
        window: float = 10.0,
        contacts: Collection[str] | None = None,
        latency: float = 0.0,
        faults: Iterable[Fault | None] = (),
        slow_for: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._authorization = f"Bearer {access_token}"
        self._limit = limit
        self._window = window
        self._contacts = contacts
        self._latency = latency
        self._faults = iter(faults)
        self._slow_for = slow_for
        self._clock = clock
        self._injected: deque[Fault] = deque()
        self._keys: set[tuple[str, str, str, int]] = set()
        self._summaries: dict[str, dict[str, dict[str, int]]] = {}
        self.events: list[dict[str, Any]] = []
        self.requests: list[FakeRequest] = []
        self.windows: dict[float, int] = {}
        self.rate_limited = 0

    def inject(self, *faults: Fault) -> None:
        """Give the next requests these faults.

        Args:
            faults: one for each request.
        """
        self._injected.extend(faults)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError("FakeIntercom speaks HTTP only")
        body = await _read(receive)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        fault = self._injected.popleft() if self._injected else next(self._faults, None)
        if self._latency:
            await anyio.sleep(self._latency)
        query = dict(parse_qsl(scope["query_string"].decode()))
        status, answer, rate = self._answer(scope["method"], scope["path"], query, headers, body, fault)
        dropped = fault in ("reset", "lost")
        headers.pop("authorization", None)  # not kept, so that no failing test prints it
        self.requests.append(
            FakeRequest(scope["method"], scope["path"], query, headers, body, 0 if dropped else status, self._clock())
        )
        if fault == "slow":
            await anyio.sleep(self._slow_for)
        if dropped:
            # A server cannot finish an answer that stops short, so it breaks the connection.
            await send(_start(202, {"content-length": "100"}))
            raise ConnectionResetError("FakeIntercom breaks the connection, as it was told to")
        content = b"" if answer is None else json.dumps(answer).encode()
        await send(_start(status, {**rate, "content-length": str(len(content)), "content-type": "application/json"}))
        await send({"type": "http.response.body", "body": content})

    def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
        fault: Fault | None,
    ) -> tuple[int, dict[str, Any] | None, dict[str, str]]:
        now = self._clock()
        start = math.floor(now / self._window) * self._window
        within = self.windows.get(start, 0) < self._limit
        if within:
            self.windows[start] = self.windows.get(start, 0) + 1
        remaining = self._limit - self.windows.get(start, 0)
        rate = {
            "date": formatdate(math.floor(now), usegmt=True),
            "x-ratelimit-limit": str(self._limit),
            "x-ratelimit-remaining": str(0 if fault == "rate_limit" else remaining),
            "x-ratelimit-reset": str(math.ceil(start + self._window)),
        }
        if headers.get("authorization") != self._authorization:
            return 401, self._error("unauthorized", "Access Token Invalid"), rate
        if not within or fault == "rate_limit":
            self.rate_limited += not within
            message = f"Exceeded rate limit of {self._limit} in {self._window:g}_seconds"
            return 429, self._error("rate_limit_exceeded", message), rate
        if fault == "server_error":
            return 500, self._error("server_error", "Something went wrong"), rate
        if fault == "reset":
            return 0, None, rate
        status, answer = self._endpoint(method, path, query, body)
        return status, answer, rate

    def _endpoint(
        self, method: str, path: str, query: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, Any] | None]:
        if (method, path) == ("GET", "/events"):
            return self._list(query)
        if method != "POST" or path not in ("/events", "/events/summaries"):
            return 404, self._error("not_found", "Resource Not Found")
        try:
            fields = json.loads(body)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            return 400, self._error("bad_request", "The body is no JSON object")
        return self._record(fields) if path == "/events" else self._record_summary(fields)

    def _record(self, event: dict[str, Any]) -> tuple[int, dict[str, Any] | None]:
        name, created_at = event.get("event_name"), event.get("created_at")
        given = [(key, event[key]) for key in _CONTACT_KEYS if isinstance(event.get(key), str)]
        if not isinstance(name, str) or not name or type(created_at) is not int or not given:
            return 422, self._error("parameter_invalid", "event_name, created_at and a contact are required")
        key, contact = given[0]
        if not self._knows(contact):
            return 404, self._error("not_found", "User Not Found")
        identity = (key, contact, name, created_at)
        if identity not in self._keys:
            self._keys.add(identity)
            # What Intercom keeps of the metadata: the first ten keys.
            metadata = dict(list((event.get("metadata") or {}).items())[:10])
            self.events.append({"type": "event", **event, "metadata": metadata})
        return 202, None

    def _record_summary(self, fields: dict[str, Any]) -> tuple[int, dict[str, Any] | None]:
        contact, summary = fields.get("user_id"), fields.get("event_summaries")
        if not isinstance(contact, str) or not isinstance(summary, dict) or "event_name" not in summary:
            return 422, self._error("parameter_invalid", "user_id and event_summaries are required")
        if not self._knows(contact):
            return 404, self._error("not_found", "User Not Found")
        times = {key: summary[key] for key in ("count", "first", "last")}
        self._summaries.setdefault(contact, {})[summary["event_name"]] = times
        return 200, None

    def _list(self, query: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        given = {"id" if k == "intercom_user_id" else k: v for k, v in query.items()}
        keys = [key for key in _CONTACT_KEYS if key in given]
        if given.get("type") != "user" or len(keys) != 1:
            return 400, self._error("parameter_invalid", "type=user and one contact are required")
        contact = given[keys[0]]
        if not self._knows(contact):
            return 404, self._error("not_found", "User Not Found")
        events = [event for event in self.events if event.get(keys[0]) == contact]
        events.sort(key=lambda event: int(event["created_at"]), reverse=True)
        if given.get("summary") == "true":
            return 200, {"type": "event.summary", keys[0]: contact, "events": self._summarize(contact, events)}
        begin, size = int(given.get("begin", "0")), int(given.get("per_page", "50"))
        following = None
        if begin + size < len(events):
            following = "https://api.intercom.test/events?" + urlencode({**query, "begin": begin + size})
        page = [{key: value for key, value in event.items() if key != "id"} for event in events[begin : begin + size]]
        return 200, {"type": "event.list", "events": page, "pages": {"next": following}}

    def _summarize(self, contact: str, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = {name: dict(times) for name, times in self._summaries.get(contact, {}).items()}
        for event in events:
            at = event["created_at"]
            times = found.setdefault(event["event_name"], {"count": 0, "first": at, "last": at})
            times["count"] += 1
            times["first"], times["last"] = min(times["first"], at), max(times["last"], at)
        return [
            {"name": name, "count": times["count"], "first": _iso(times["first"]), "last": _iso(times["last"])}
            for name, times in found.items()
        ]

    def _knows(self, contact: str) -> bool:
        return self._contacts is None or contact in self._contacts

    def _error(self, code: str, message: str) -> dict[str, Any]:
        return {
            "type": "error.list",
            "request_id": f"fake{len(self.requests):012d}",
            "errors": [{"code": code, "message": message}],
        }


def _iso(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000+00:00", time.gmtime(seconds))


def _start(status: int, headers: Mapping[str, str]) -> Message:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": pairs}


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    message: MutableMapping[str, Any] = {"more_body": True}
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        body += message.get("body", b"")
    return bytes(body)


async def _live(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
