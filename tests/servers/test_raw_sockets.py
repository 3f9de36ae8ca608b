"""Hostile bytes over a real socket: a listed answer or a closed connection, and never a 500."""

from __future__ import annotations

import select
import socket
import statistics
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories import envelope, signature
from tests.servers.conftest import Serve, Server
from tests.servers.raw import exchange, head, read, statuses

READ_TIMEOUT = 1.0  # seconds
SIGNATURE = b"%s: %s" % signature(envelope())
WRONG_SIGNATURE = b"X-Hub-Signature: sha1=" + b"0" * 40
LISTED = {200, 400, 401, 405, 408, 413, 503}


UVICORN = ["uvicorn-h11", "uvicorn-httptools"]


# Not hypercorn's trio worker: bytes that break the rules of HTTP may end all of it, with any app.
@pytest.fixture(scope="module", params=[*UVICORN, "granian", "hypercorn-asyncio"])
def server(request: pytest.FixtureRequest, serve: Serve) -> Iterator[Server]:
    server = serve(request.param, "shop", READ_TIMEOUT=str(READ_TIMEOUT))
    yield server
    assert server.deliver(envelope(id="the last")).status == 200
    server.stop()
    assert "Traceback" not in server.output
    assert '" 500' not in server.output
    assert "without starting response" not in server.output


def flood(server: Server, start: bytes, chunk: bytes, total: int) -> tuple[int, list[int]]:
    """Send a body of many chunks for as long as the server takes them; return how much, and its answers."""
    sent, content = 0, b""
    with server.connect() as connection:
        connection.sendall(start)
        connection.setblocking(False)
        give_up = time.monotonic() + 10
        while sent < total and time.monotonic() < give_up:
            readable, writable, _ = select.select([connection], [connection], [], 0.5)
            try:
                if readable:
                    received = connection.recv(65536)
                    if not received:
                        break
                    content += received
                if writable:
                    sent += connection.send(chunk)
            except ConnectionError:
                break
    return sent, statuses(content)


# What a body or a slow connection costs is the library's doing, and the same behind each server.
on_uvicorn = pytest.mark.parametrize("server", UVICORN, indirect=True, scope="module")


@on_uvicorn
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"Content-Length: 209715200"], 401),
        ([b"Transfer-Encoding: chunked"], 401),
        ([b"Content-Length: 209715200", WRONG_SIGNATURE], 413),
        ([b"Transfer-Encoding: chunked", WRONG_SIGNATURE], 413),
    ],
)
def test_200_megabytes_cost_bounded_memory_and_others_are_served(
    server: Server, lines: list[bytes], expected: int
) -> None:
    before = server.memory("VmRSS")
    piece = b"x" * 2**20
    chunk = b"%x\r\n%s\r\n" % (len(piece), piece) if b"chunked" in lines[0] else piece
    sent, answers = flood(server, head(*lines), chunk, 200 * 2**20)
    assert answers in ([expected], [])  # [] where the connection was reset before the answer was read
    assert sent < 50 * 2**20
    assert server.memory("VmHWM") - before < 60
    assert server.deliver(envelope(id=f"after {lines}")).status == 200


def test_a_body_that_drips_is_cut_off_in_time_and_others_are_served(server: Server) -> None:
    with server.connect() as connection:
        began = time.monotonic()
        connection.sendall(head(SIGNATURE, b"Content-Length: 100"))
        while not select.select([connection], [], [], 0.1)[0]:
            assert time.monotonic() - began < READ_TIMEOUT + 2
            connection.send(b".")
            assert server.deliver(envelope(id=f"while {began}")).seconds < READ_TIMEOUT
        assert statuses(read(connection)) == [408]
        assert READ_TIMEOUT <= time.monotonic() - began < READ_TIMEOUT + 2


@on_uvicorn
def test_500_slow_connections_do_not_keep_good_requests_waiting(server: Server) -> None:
    before = server.memory("VmRSS")
    slow = [server.connect() for _ in range(500)]
    try:
        for connection in slow:
            connection.sendall(head(WRONG_SIGNATURE, b"Content-Length: 100000") + b"x" * 1000)
        answers = [server.deliver(envelope(id=f"good {number}")) for number in range(20)]
        assert [answer.status for answer in answers] == [200] * 20
        assert statistics.median(answer.seconds for answer in answers) < 0.5  # one may meet a pause of the machine
        assert server.memory("VmHWM") - before < 60
        assert statuses(read(slow[-1])) == [408]
    finally:
        for connection in slow:
            connection.close()


BODY = envelope(id="raw")
LENGTH = b"Content-Length: %d" % len(BODY)
SIGNED = b"%s: %s" % signature(BODY)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([LENGTH, SIGNED], {200}),
        ([LENGTH, SIGNED.upper().replace(b"SHA1", b"sha1")], {401}),
        ([LENGTH, SIGNED, SIGNED], {401}),
        ([LENGTH, SIGNED, WRONG_SIGNATURE], {401}),
        ([LENGTH, b"X-Hub-Signature: "], {401}),
        ([LENGTH, b"X-Hub-Signature: sha1=" + b"\xff" * 40], {400, 401}),
        ([LENGTH, "X-Hub-Signature: sha1=é☃".encode()], {400, 401}),
        ([LENGTH, b"X-Hub-Signature: sha1=" + b"0" * 8000], {400, 401}),
        ([LENGTH, SIGNED.replace(b": ", b":\t  ") + b"  \t"], {200, 401}),  # not every server takes the blanks off
        ([LENGTH, SIGNED[:-10] + b"\r\n " + SIGNED[-10:]], {400, 401}),
        ([LENGTH, b"\xff\xfe: junk", SIGNED], {200, 400, 401}),
        ([LENGTH, b"no colon", SIGNED], {400}),
        ([LENGTH, LENGTH, SIGNED], {200, 400}),
        ([LENGTH, b"Content-Length: 1", SIGNED], {400}),
        ([LENGTH, b"Transfer-Encoding: chunked", SIGNED], {400, 408}),
        ([b"Content-Length: -1", SIGNED], {400}),
        ([b"Content-Length: +5", SIGNED], {400}),
        ([b"Content-Length: 0x10", SIGNED], {400}),
        ([b"Content-Length: 1_0", SIGNED], {400}),
        ([b"Content-Length: " + b"9" * 40, SIGNED], {400, 413}),
        ([b"Content-Length: 99999999999", SIGNED], {413}),
        ([b"Transfer-Encoding: gzip, chunked", SIGNED], {400, 401, 408, 501}),
        ([b"Transfer-Encoding: cow", SIGNED], {400, 401, 501}),
        ([SIGNED], {400, 401}),
        ([LENGTH, SIGNED, b"Expect: 100-continue"], {100, 200}),
        ([LENGTH, SIGNED, b"Upgrade: websocket", b"Connection: Upgrade"], {200, 400, 426}),
        ([LENGTH, SIGNED, b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings"], {200, 401}),
    ],
)
def test_odd_headers(server: Server, lines: list[bytes], expected: set[int]) -> None:
    assert set(exchange(server, head(*lines) + BODY)) <= expected | {400}


@pytest.mark.parametrize(
    "chunks",
    [
        b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
        b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n",
        b"%x;extension=1\r\n%s\r\n0\r\nTrailer: x\r\n\r\n" % (len(BODY), BODY),
    ],
)
def test_chunked_bodies_are_verified_as_a_whole(server: Server, chunks: bytes) -> None:
    assert exchange(server, head(b"Transfer-Encoding: chunked", SIGNED) + chunks) == [200]
    assert exchange(server, head(b"Transfer-Encoding: chunked", WRONG_SIGNATURE) + chunks) == [401]


@pytest.mark.parametrize("chunks", [b"zz\r\n", b"-1\r\n", b"5\r\nabc", b"ffffffffffffffffff\r\nabc", b"1\r\nabc\r\n"])
def test_broken_chunks_are_refused(server: Server, chunks: bytes) -> None:
    answers = exchange(server, head(b"Transfer-Encoding: chunked", SIGNED) + chunks)
    assert set(answers) <= {400, 408, 413}


# Not HEAD: to that, uvicorn with h11 makes an answer of its own that h11 does not let it send.
@pytest.mark.parametrize("method", [b"POST", b"GET", b"PUT"])
def test_a_broken_body_after_headers_that_are_refused_leaves_no_traceback(server: Server, method: bytes) -> None:
    """The server refuses it before the app has its first turn, and must not be answered for a second time."""
    for _ in range(5):
        answers = exchange(server, head(b"Transfer-Encoding: chunked", method=method) + b"zz\r\n")
        assert set(answers) <= {200, 400, 401, 405}
    assert "Traceback" not in server.output


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    good = head(LENGTH, SIGNED) + BODY
    wrong = head(LENGTH, WRONG_SIGNATURE) + BODY
    assert exchange(server, good + wrong + head(method=b"HEAD") + good) == [200, 401, 200, 200]


def test_what_follows_an_unread_body_is_never_taken_for_a_request(server: Server) -> None:
    smuggled = head(LENGTH, SIGNED) + BODY
    assert exchange(server, head(b"Content-Length: %d" % len(smuggled)) + smuggled) == [401]
    assert exchange(server, head(b"Content-Length: 99999999") + smuggled) == [401]


def test_half_closed_connections(server: Server) -> None:
    for part in (head(LENGTH, SIGNED) + BODY, head(LENGTH, SIGNED) + BODY[:10], head(LENGTH, SIGNED)[:40], b""):
        with server.connect() as connection:
            connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
            assert set(statuses(read(connection))) <= {200, 400}
    lingering = [server.connect() for _ in range(20)]
    for connection in lingering:
        connection.sendall(head(LENGTH, SIGNED) + BODY[:10])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        connection.close()  # with a reset
    assert server.request("GET", "/health").status == 200


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/webhooks/intercom?signature=no", 401),
        (b"/webhooks/%69ntercom", 401),
        (b"/webhooks%2Fintercom", 401),
        (b"/%77%65%62%68%6f%6f%6b%73/intercom", 401),
        (b"/webhooks/intercom/", 404),
        (b"/webhooks/intercom/more", 404),
        (b"//webhooks/intercom", 404),
        (b"/./webhooks/intercom", 404),
        (b"/x/../webhooks/intercom", 404),
        (b"/WEBHOOKS/intercom", 404),
        (b"/webhooks/intercom%00", 404),
        (b"/webhooks/intercom%ff", 404),
        (b"/webhooks/intercom%", 404),
        (b"/x/webhooks/intercom", 404),
        (b"/%ff%fe%c0%af", 404),
        (b"/" + b"a" * 20_000, 404),
    ],
)
def test_encoded_and_odd_paths(server: Server, path: bytes, expected: int) -> None:
    answers = exchange(server, head(LENGTH, path=path) + BODY)
    assert set(answers) <= {expected, 400}  # 400 where the server itself finds no path in it


@pytest.mark.parametrize(
    "method",
    [b"GET", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH", b"M-SEARCH", b"PROPFIND", b"post", b"P\xffST", b"!"],
)
def test_other_methods(server: Server, method: bytes) -> None:
    answers = exchange(server, head(LENGTH, SIGNED, method=method) + BODY)
    in_capitals = method == b"post" and server.name.startswith("hypercorn")  # which writes all methods so
    assert set(answers) <= ({200} if in_capitals else {405, 400})


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_header_bytes_get_a_listed_answer(server: Server, data: st.DataObject) -> None:
    name = st.sampled_from([b"X-Hub-Signature", b"Content-Length", b"Transfer-Encoding", b"Connection", b"X"])
    lines = data.draw(st.lists(st.tuples(name | st.binary(max_size=20), st.binary(max_size=60)), max_size=6))
    method = data.draw(st.sampled_from([b"POST", b"HEAD", b"PUT"]))
    body = data.draw(st.binary(max_size=50))
    request = head(*(b"%s: %s" % line for line in lines), b"Connection: close", method=method) + body
    with server.connect() as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        assert set(statuses(read(connection))) <= LISTED | {
            501
        }  # from hypercorn, for a Transfer-Encoding that it does not know
