"""Requests after which a connection is of no more use: refused by their headers, or against the rules of HTTP."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from tests.hardening.hostile_requests import PATH, Hostile, framed, right, unverified, wrong
from tests.servers.raw import head

REFUSED: Final = frozenset({401})
ODD: Final = frozenset({400, 401})


def no_signature(chance: Random) -> Hostile:
    return Hostile(framed(unverified(chance), b"X-Signature: none"), REFUSED)


def malformed_signature(chance: Random) -> Hostile:
    body = unverified(chance)
    good = right(body)
    value = chance.choice(
        (
            good[:-1],
            good + b"0",
            good.replace(b"sha1=", b"sha256="),
            good.replace(b"sha1=", b"SHA1="),
            good.replace(b"sha1=", b""),
            good[:22] + good[22:].upper() + b"F",
            b"X-Hub-Signature:",
            b"X-Hub-Signature: sha1=",
            b"X-Hub-Signature: " + bytes(chance.choices(range(33, 127), k=chance.choice((1, 45, 4000)))),
            good + b", " + good[17:],
        )
    )
    return Hostile(framed(body, value), REFUSED)


def repeated_signature(chance: Random) -> Hostile:
    """More than one, of which any may be right."""
    body = unverified(chance)
    lines = [right(body), chance.choice((right(body), wrong(chance, body), b"X-Hub-Signature:", b"x-hub-signature: x"))]
    chance.shuffle(lines)
    return Hostile(framed(body, *lines), REFUSED)


def folded_signature(chance: Random) -> Hostile:
    body = unverified(chance)
    good, at = wrong(chance, body), chance.randint(16, 60)
    fold = chance.choice((b"\r\n ", b"\r\n\t", b"\n ", b"\r\n\r\n ", b"\r "))
    return Hostile(framed(body, good[:at] + fold + good[at:]), ODD, answered=False)


def strange_signature(chance: Random) -> Hostile:
    """Bytes that no header should have, in the value or in the name."""
    body = unverified(chance)
    good = wrong(chance, body)
    at = chance.randrange(len(good))
    junk = chance.choice((b"\x00", b"\xff", "é".encode(), b"\x7f", b"\x0b", chance.randbytes(4)))
    good = chance.choice((good[:at] + junk + good[at + 1 :], good.replace(b":", b" :"), good.replace(b"-", b"_")))
    return Hostile(framed(body, good), ODD, answered=False)


def any_method(chance: Random) -> Hostile:
    body = unverified(chance)
    known = (
        b"PUT",
        b"DELETE",
        b"OPTIONS",
        b"TRACE",
        b"PATCH",
        b"PROPFIND",
        b"M-SEARCH",
        b"post",
        b"POST\x00",
        b"CONNECT",
    )
    junk = (b"", b"!", b"P\xffST", b"POST POST", b"A" * 5000, chance.randbytes(chance.randint(1, 10)))
    method = chance.choice(known + junk)
    return Hostile(framed(body, wrong(chance, body), method=method), frozenset({400, 401, 404, 405}), answered=False)


def broken_path(chance: Random) -> Hostile:
    """What is no path at all, or one of another form."""
    body = unverified(chance)
    path = chance.choice(
        (
            b"http://localhost" + PATH,
            b"http://localhost:0" + PATH,
            b"//localhost" + PATH,
            b"*",
            b"",
            b"\\webhooks\\intercom",
            PATH + b"#fragment",
            PATH + b"\x00",
            PATH + b"\xff",
            PATH + b" ",
            b"/" + chance.randbytes(chance.randint(1, 20)),
            b"/" + b"../" * 1000,
            b"/" + b"a" * 20_000,
            "/webhooks/intercöm".encode(),
        )
    )
    # The app may see these as paths of its own, in which a canary would prove nothing.
    body = body.replace(b"never", b"maybe")
    return Hostile(framed(body, wrong(chance, body), path=path), frozenset({400, 401, 404}), answered=False)


def conflicting_lengths(chance: Random) -> Hostile:
    """Lengths that contradict each other, the body, or the rules; in the body lies another request."""
    body = framed(unverified(chance), path=b"/smuggled")
    size = b"Content-Length: %d" % len(body)
    lines = chance.choice(
        (
            (size, b"Content-Length: 1"),
            (size, size),
            (size, b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding: chunked", size),
            (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding: gzip, chunked",),
            (b"Transfer-Encoding: chunked, identity",),
            (b"Transfer-Encoding:\x0bchunked",),
            (b"Content-Length: %d, %d" % (len(body), len(body)),),
            (b"Content-Length: -%d" % len(body),),
            (b"Content-Length: +%d" % len(body),),
            (b"Content-Length: 0x%x" % len(body),),
            (b"Content-Length: 1_0",),
            (b"Content-Length: " + b"9" * chance.choice((8, 18, 19, 40, 4400)),),
            (b"Content-Length: %d" % (len(body) + chance.randint(1, 1000)),),
            (b"Content-Length:",),
            ("Content-Length: \N{ARABIC-INDIC DIGIT FIVE}".encode(),),
        )
    )
    header = chance.choice((wrong(chance, body), b"X: y"))
    return Hostile(head(*lines, header) + body, frozenset({400, 401, 408, 413}), answered=False)


def broken_chunks(chance: Random) -> Hostile:
    sizes = (b"zz", b"-1", b"", b" 5", b"5 ", b"0x5", b"5;" + b"x" * 5000, b"f" * 20, b"00005", b"5\n", b"5;a=\xff")
    rests = (
        b"\r\nabcde\r\n0\r\n\r\n",
        b"\r\nabcde\r\n0\r\n" + right(b"abcde") + b"\r\n\r\n",
        b"\r\nabcdeX0\r\n\r\n",
        b"\nabcde\n0\n\n",
        b"\r\nabc",
        b"",
    )
    start = head(b"Transfer-Encoding: chunked", wrong(chance, b"abcde"))
    return Hostile(start + chance.choice(sizes) + chance.choice(rests), frozenset({400, 401, 408, 413}), answered=False)


def too_large(chance: Random) -> Hostile:
    length = chance.choice((5 * 2**20 + 1, 10**9, 10**17))
    data = head(b"Content-Length: %d" % length, wrong(chance, b"")) + unverified(chance)
    return Hostile(data, frozenset({413}))


def part(chance: Random) -> Hostile:
    """A request that ends anywhere, with the connection: closed in one direction, or in both."""
    body = unverified(chance)
    whole = framed(body, chance.choice((wrong(chance, body), right(body + b" "))))
    at = chance.randrange(len(whole))
    return Hostile(whole[:at], ODD, answered=False, then=chance.choice(("half-close", "reset")))


def garbage(chance: Random) -> Hostile:
    """What is no request of HTTP/1.1."""
    body = unverified(chance)
    plain = framed(body, wrong(chance, body))
    data = chance.choice(
        (
            chance.randbytes(chance.choice((1, 100, 10_000))),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(500),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + chance.randbytes(50),
            b"GET /webhooks/intercom\r\n\r\n",
            plain.replace(
                b"HTTP/1.1", chance.choice((b"HTTP/9.9", b"HTTP/1.1.1", b"HTTP/2", b"http/1.1", b"ICAP/1.0"))
            ),
            plain.replace(b"\r\n", b"\n"),
            plain.replace(b"\r\n", b"\r"),
            b" " + plain,
            b"\r\n" * 500,
            plain.replace(b"Host: localhost", b"Host: localhost\r\nHost: other"),
            plain.replace(b"Host: localhost", b"X: " + b"y" * 100_000),
            plain.replace(b"Host: localhost", b"\r\n".join(b"x%d: y" % number for number in range(2000))),
            plain.replace(b"Host: localhost", b"no colon"),
        )
    )
    return Hostile(data, frozenset({400, 401, 404, 405}), answered=False, then=chance.choice(("wait", "half-close")))


def upgrade(chance: Random) -> Hostile:
    body = unverified(chance)
    to = chance.choice((b"websocket", b"h2c", b"TLS/1.0", b"\xff"))
    lines = [
        b"Upgrade: " + to,
        b"Connection: Upgrade",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Version: 13",
    ]
    data = framed(body, *lines, wrong(chance, body), method=chance.choice((b"GET", b"POST")))
    return Hostile(data, frozenset({400, 401, 403, 405, 426}), answered=False)


ENDING: Final[dict[str, tuple[int, Callable[[Random], Hostile]]]] = {
    "no signature": (10, no_signature),
    "malformed signature": (15, malformed_signature),
    "repeated signature": (10, repeated_signature),
    "folded signature": (8, folded_signature),
    "strange signature": (8, strange_signature),
    "any method": (10, any_method),
    "broken path": (10, broken_path),
    "conflicting lengths": (12, conflicting_lengths),
    "broken chunks": (10, broken_chunks),
    "too large": (5, too_large),
    "part of a request": (12, part),
    "garbage": (10, garbage),
    "upgrade": (3, upgrade),
}
"""By kind: how often it comes, compared with the others, and what makes it."""
