"""For any bytes whatever: a listed answer, no exception, and nothing in the log that does not belong there."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from starlette_intercom import Intercom, IntercomMiddleware, Notification, SignatureGuard, VerifiedBody
from tests.asgi import Answer, call, deliver
from tests.factories import SECRET, Headers, envelope, headers_of, signature

PATH = "/webhooks/intercom"
LISTED = {200, 400, 401, 405, 408, 413, 503}
MARK = "personal-data-of-a-contact"
SIGNED_MARK = signature(envelope(item=MARK))[1].decode().removeprefix("sha1=")

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])
quick = settings(max_examples=100, deadline=None)


class Everything(logging.Handler):
    """Keeps every line that is logged, as it would be written."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(logging.Formatter().format(record))


@contextmanager
def nothing_private_in_the_log() -> Iterator[None]:
    handler = Everything()
    logger = logging.getLogger("starlette_intercom")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
    text = "\n".join(handler.lines)
    for private in (SECRET, MARK, SIGNED_MARK):
        assert private not in text
    assert all(len(line) < 1000 for line in handler.lines)


class Behind:
    """The app behind the middleware: notes the paths that reach it."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def respond(backend: str, *, behind: Behind | None = None, **request: Any) -> Answer:
    """Make one request to a started middleware."""

    async def main() -> Answer:
        read_timeout = 0.02 if request.get("then") == "stall" else 4
        intercom = Intercom(SECRET, read_timeout=read_timeout, max_body_size=10_000)

        @intercom.on("*", retries=0)
        async def handle(notification: Notification) -> None:
            """Take everything."""

        app = IntercomMiddleware(behind or Behind(), intercom=intercom)
        async with intercom.lifespan(Starlette()):
            if "body" in request:
                return await deliver(app, **request)
            return await call(app, **request)

    with nothing_private_in_the_log():
        return anyio.run(main, backend=backend)


header_names = st.sampled_from(
    [b"x-hub-signature", b"content-length", b"transfer-encoding", b"host", b"connection"]
) | st.binary(max_size=20)
header_values = st.sampled_from([signature(b"body")[1], b"sha1=", b"0", b"4", b"-1", b"9" * 30]) | st.binary(
    max_size=80
)
headers = st.lists(st.tuples(header_names, header_values), max_size=6)
chunkings = st.lists(st.binary(max_size=40), min_size=1, max_size=8)
methods = st.sampled_from(["POST", "HEAD", "GET", "PUT", "OPTIONS", "post"]) | st.text(max_size=10)


@backends
@quick
@given(
    headers=headers, chunks=chunkings, method=methods, then=st.sampled_from(["complete", "complete", "stall", "gone"])
)
def test_any_headers_chunks_and_methods(
    backend: str, headers: Headers, chunks: list[bytes], method: str, then: str
) -> None:
    answer = respond(backend, headers=headers, chunks=chunks, method=method, then=then)
    assert answer.status in LISTED
    if answer.content:
        assert list(answer.json) == ["error"]  # none of these is a notification
    if method != "POST" or answer.status == 200:
        assert answer.status == (200 if method == "HEAD" else 405)


@backends
@quick
@given(st.data())
def test_any_chunking_of_a_signed_body(backend: str, data: st.DataObject) -> None:
    body = envelope(id="chunked", item=MARK)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    chunks = [body[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    answer = respond(backend, headers=headers_of(body), chunks=chunks)
    assert (answer.status, answer.json) == (200, {"received": True})


@backends
@quick
@given(body=st.binary(max_size=200))
@example(body=b"[" * 9000)
@example(body=b'{"data":' * 1200)
@example(body=b'{"a":' + b"9" * 9000 + b"}")
@example(body=envelope(item=MARK).replace(b'"item"', b'"\\ud800"'))
@example(body=envelope(item=MARK).replace(b"a-contact", b"\xed\xa0\x80"))
@example(body=envelope(item=MARK)[:-1])
@example(body=envelope(item=MARK) + b"x")
@example(body=envelope(item=MARK) * 2)
def test_any_signed_bytes(backend: str, body: bytes) -> None:
    assert respond(backend, body=body).status in (200, 400)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**300, 10**320)
    | st.floats()
    | st.text()
    | st.text(st.characters(categories=["Cs", "Cc", "Lu"]), max_size=5)
    | st.just(MARK),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=15,
)
envelopes = st.fixed_dictionaries(
    {},
    optional={
        key: json_values | good
        for key, good in {
            "type": st.just("notification_event"),
            "app_id": st.text(min_size=1, max_size=10),
            "topic": st.text(min_size=1, max_size=10),
            "data": st.fixed_dictionaries({"item": json_values}),
            "created_at": st.integers(0, 2 * 10**9) | st.floats(),
            "id": st.none() | st.text(max_size=300),
            "delivery_status": json_values,
            "delivery_attempts": json_values,
        }.items()
    },
)


@backends
@quick
@given(content=json_values | envelopes)
def test_any_json(backend: str, content: object) -> None:
    answer = respond(backend, body=json.dumps(content).encode())
    assert answer.status in (200, 400)
    assert len(answer.content) < 500
    if answer.status == 400:
        assert answer.json["error"].startswith("Not a notification: ")
        assert MARK not in answer.json["error"]


@backends
@quick
@given(item=json_values, wrap=st.sampled_from([0, 1, 900, 1500]))
def test_any_item_of_a_notification(backend: str, item: object, wrap: int) -> None:
    inner = json.dumps(item).encode()
    body = envelope(item="here").replace(b'"here"', b"[" * wrap + inner + b"]" * wrap)
    assert respond(backend, body=body).status in (200, 400, 413)


paths = st.lists(
    st.sampled_from(["/", "//", "webhooks", "intercom", "/webhooks/intercom", "..", ".", "%69", "\x00", "\udcff", "é"]),
    max_size=6,
).map("".join)


@backends
@quick
@given(
    path=paths | st.text(max_size=20),
    root_path=st.sampled_from(["", "/", "/api", "/api/", "/webhooks"]),
    method=methods,
)
@example(path=PATH, root_path="", method="POST")
@example(path="/api" + PATH, root_path="/api", method="POST")
@example(path="/api" + PATH, root_path="/api/", method="DELETE")
@example(path=PATH, root_path="/api", method="GET")
@example(path=PATH + "/", root_path="", method="POST")
def test_any_path_reaches_either_intercom_or_the_app(backend: str, path: str, root_path: str, method: str) -> None:
    behind = Behind()
    answer = respond(backend, behind=behind, path=path, root_path=root_path, method=method)
    if path in (PATH, root_path.rstrip("/") + PATH):
        assert behind.paths == []
        assert answer.status == {"POST": 401, "HEAD": 200}.get(method, 405)
    else:
        assert behind.paths == [path]
        assert answer.status == 204


@backends
@quick
@given(headers=headers, chunks=chunkings)
def test_no_unverified_byte_reaches_a_guarded_app(backend: str, headers: Headers, chunks: list[bytes]) -> None:
    seen: list[VerifiedBody] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["intercom.verified"])
        await Behind()(scope, receive, send)

    async def main() -> Answer:
        return await call(SignatureGuard(app, secrets=SECRET), chunks, headers=headers)

    body = b"".join(chunks)
    answer = anyio.run(main, backend=backend)
    if [value for name, value in headers if name == b"x-hub-signature"] == [signature(body)[1]] and not any(
        name == b"content-length" and value == b"9" * 30 for name, value in headers
    ):
        assert [one.content for one in seen] == [body]
    else:
        assert seen == []
        assert answer.status in (401, 413)
