"""Any bytes to each server: what was not verified reaches nobody, no answer is a 500, and good ones go on getting in.

A longer run: ``HOSTILE_EXAMPLES=20000 python -m pytest -n2 tests/servers/test_any_bytes.py``.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import envelope, signature
from tests.servers.conftest import Serve, Server
from tests.servers.raw import exchange, head, read, statuses

LISTED = {200, 400, 401, 404, 405, 408, 413, 503}
OF_SERVERS = {100, 403, 411, 414, 417, 426, 431, 501, 505}
"""What a server answers by itself to what is no HTTP that it speaks."""

any_number = settings(
    max_examples=int(os.environ.get("HOSTILE_EXAMPLES", "150")),
    derandomize="HOSTILE_EXAMPLES" not in os.environ,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


# Not hypercorn's trio worker: bytes that break the rules of HTTP may end all of it, with any app.
@pytest.fixture(scope="module", params=["uvicorn-h11", "uvicorn-httptools", "granian", "hypercorn-asyncio"])
def server(request: pytest.FixtureRequest, serve: Serve) -> Iterator[Server]:
    server = serve(request.param, "shop", READ_TIMEOUT="1")
    yield server
    assert server.deliver(envelope(id="the last")).status == 200
    server.until_said("handler: end the last")
    server.stop()
    assert "handler: begin unverified" not in server.output
    at = server.output.find("starlette_intercom/receiving")  # in a traceback
    assert at < 0, server.output[max(0, at - 1500) : at + 3000]


BODY = envelope(id="unverified")
RIGHT = b"%s: %s" % signature(BODY)
WRONG = b"X-Hub-Signature: sha1=" + b"0" * 40

signatures = st.one_of(
    st.just([]),
    st.just([WRONG]),
    st.just([RIGHT, RIGHT]),
    st.just([WRONG, RIGHT]),
    st.just([RIGHT[:40] + b"\r\n " + RIGHT[41:]]),  # one digit less, so that folding cannot make it right
    st.binary(max_size=60).map(lambda value: [b"X-Hub-Signature: " + value]),
    st.binary(min_size=1, max_size=4).map(lambda junk: [WRONG[:30] + junk + WRONG[30 + len(junk) :]]),
)
lengths = st.sampled_from(
    [
        [b"Content-Length: %d" % len(BODY)],
        [b"Content-Length: %d" % len(BODY)] * 2,
        [b"Content-Length: %d" % len(BODY), b"Content-Length: 1"],
        [b"Content-Length: %d" % len(BODY), b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Content-Length: 3"],
        [b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: gzip, chunked"],
        [b"Transfer-Encoding: chunked, chunked"],
        [b"Transfer-Encoding:\tchunked"],
        [b"Transfer-Encoding: cow"],
        [b"Content-Length: +5"],
        [b"Content-Length: -5"],
        [b"Content-Length: 0x5"],
        [b"Content-Length: 5, 5"],
        [b"Content-Length: " + b"9" * 30],
        [b"Content-Length:"],
        [],
    ]
)
others = st.lists(
    st.sampled_from([b"Connection: close", b"Expect: 100-continue", b"Upgrade: websocket", b"Host: other", b" folded"])
    | st.tuples(st.binary(max_size=10), st.binary(max_size=20)).map(b": ".join),
    max_size=3,
)
methods = st.sampled_from([b"POST", b"HEAD", b"GET", b"PUT", b"post", b"CONNECT", b"M-SEARCH"]) | st.binary(max_size=12)
segments = st.sampled_from(
    [
        b"webhooks",
        b"intercom",
        b"",
        b".",
        b"..",
        b"%2e%2e",
        b"%69ntercom",
        b"%2f",
        b"%00",
        b"%",
        b"%ff",
        b"%c0%af",
        b"INTERCOM",
    ]
)
paths = st.one_of(
    st.just(b"/webhooks/intercom"),
    st.lists(segments, max_size=5).map(lambda parts: b"/" + b"/".join(parts)),
    st.sampled_from([b"*", b"http://x/webhooks/intercom", b"//x/webhooks/intercom", b"/webhooks/intercom?%", b"#"]),
    st.binary(max_size=30),
)
chunk_sizes = st.sampled_from([b"5", b"05", b"A", b"zz", b"-1", b"", b" 5", b"5 ", b"0x5", b"5;a=b", b"f" * 20, b"0"])
bodies = st.one_of(
    st.just(BODY),
    st.just(b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)),
    st.lists(
        st.tuples(chunk_sizes, st.sampled_from([b"\r\nabcde\r\n", b"\nabcde\n", b"\r\nabc", b"\r\n\r\n"])), max_size=4
    ).map(lambda chunks: b"".join(size + rest for size, rest in chunks)),
    st.binary(max_size=60),
)


@dataclass
class Sent:
    """What goes over one connection: the bytes, where they are cut into writes, and how the client leaves."""

    data: bytes
    cuts: list[int]
    then: Literal["wait", "half-close", "reset"]


@st.composite
def sent(draw: st.DrawFn) -> Sent:
    data = b""
    for _ in range(draw(st.integers(1, 3))):
        lines = draw(signatures) + draw(lengths) + draw(others)
        data += head(*draw(st.permutations(lines)), method=draw(methods), path=draw(paths)) + draw(bodies)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=3)))
    return Sent(data, cuts, draw(st.sampled_from(["half-close", "half-close", "reset", "wait"])))


@any_number
@given(sent())
def test_nothing_unverified_gets_in_and_nothing_breaks(server: Server, sent: Sent) -> None:
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for begin, end in zip([0, *sent.cuts], [*sent.cuts, len(sent.data)], strict=True):
                connection.sendall(sent.data[begin:end])
                time.sleep(0.001)  # so that what follows is another packet
            if sent.then == "half-close":
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it need not read what it refuses
        if sent.then == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            return
        answers = statuses(read(connection, 2.0))
    assert set(answers) <= LISTED | OF_SERVERS


def test_pipelined_requests_are_answered_in_order_to_a_client_that_reads_slowly(server: Server) -> None:
    good = envelope(id="pipelined")
    length = b"Content-Length: %d" % len(good)
    three = [
        head(length, b"%s: %s" % signature(good)) + good,
        head(length, WRONG) + good,
        head(method=b"HEAD"),
    ]
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(b"".join(three) * 100)
        content = b""
        while len(statuses(content)) < 300:
            received = connection.recv(500)
            assert received, f"closed after {len(statuses(content))} answers"
            content += received
    assert statuses(content) == [200, 401, 200] * 100


def test_a_client_that_reads_nothing_keeps_nobody_waiting(server: Server) -> None:
    request = head(b"Content-Length: 0", WRONG)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(("127.0.0.1", server.port))
        connection.setblocking(False)
        try:
            while True:
                connection.send(request * 100)
        except BlockingIOError:
            pass
        began = time.monotonic()
        assert exchange(server, head(b"Connection: close", method=b"HEAD")) == [200]
        assert server.deliver(envelope(id="meanwhile")).status == 200
        assert time.monotonic() - began < 5
