"""Requests that nobody sends who means well, made from a seed.

Each kind says which answers it may get. Those of ``KEEPING`` are whole requests to the server, so that others can
follow on their connection, and each is answered. Those of hostile_ends.py come last on theirs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

from tests.factories import TOPIC, envelope, signature
from tests.servers.raw import head

PATH: Final = b"/webhooks/intercom"
UNVERIFIED: Final = b"this-was-never-verified"
"""Stands in each body to the path whose signature is wrong."""

Then = Literal["wait", "half-close", "reset"]


@dataclass(frozen=True, slots=True)
class Hostile:
    """One request.

    Attributes:
        data: all of its bytes.
        answers: the statuses that it may get.
        answered: it has to get one.
        then: what the client does after it.
    """

    data: bytes
    answers: frozenset[int]
    answered: bool = True
    then: Then = "wait"


def framed(body: bytes, *lines: bytes, method: bytes = b"POST", path: bytes = PATH) -> bytes:
    """Return a request whose length is right."""
    return head(b"Content-Length: %d" % len(body), *lines, method=method, path=path) + body


def chunked(chance: Random, body: bytes, *lines: bytes) -> bytes:
    """Return a request whose body comes in chunks of any size."""
    parts = []
    while body:
        size = chance.randint(1, 200)
        parts.append(b"%X\r\n%s\r\n" % (len(body[:size]), body[:size]))
        body = body[size:]
    return head(b"Transfer-Encoding: chunked", *lines) + b"".join(parts) + b"0\r\n\r\n"


def unverified(chance: Random) -> bytes:
    return envelope(id=f"{chance.getrandbits(64):x}", item={"canary": UNVERIFIED.decode()})


def right(body: bytes) -> bytes:
    return b"X-Hub-Signature: " + signature(body)[1]


def wrong(chance: Random, body: bytes) -> bytes:
    """Return a signature of the right form that is not that of the body."""
    good = signature(body)[1][5:]
    at = chance.randrange(40)
    near = good[:at] + (b"1" if good[at] == 48 else b"0") + good[at + 1 :]
    others = (
        signature(body + b" ")[1][5:],
        signature(body, secret="another")[1][5:],
        b"%040x" % chance.getrandbits(160),
    )
    return b"X-Hub-Signature: sha1=" + chance.choice((near, *others))


def signed(chance: Random, body: bytes) -> bytes:
    return (
        framed(body, right(body)) if chance.random() < 0.8 or len(body) > 5000 else chunked(chance, body, right(body))
    )


def wrongly_signed(chance: Random) -> Hostile:
    body = unverified(chance)
    header = wrong(chance, body)
    data = chunked(chance, body, header) if chance.random() < 0.2 else framed(body, header)
    return Hostile(data, frozenset({401}))


ODD_JSON: Final = (
    b"[" * 50_000 + b"]" * 50_000,
    b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    b"[" * 900 + b"]" * 900,
    b"9" * 5_000,
    b"-" + b"9" * 19,
    b"1e" + b"9" * 400,
    b"0." + b"1" * 5_000,
    b"1e-400",
    b"01",
    b"+1",
    b"NaN",
    b"-Infinity",
    b"'single'",
    b'{"a":1,"a":2}',
    b'{"":{"":null}}',
    b'{"a":1,}',
    b"[1,,2]",
    b'"\xff\xfe"',
    b'"\xed\xa0\x80"',
    b'"\xc0\xaf"',
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\\u0000"',
    b'"a\x00b"',
    b'"\n"',
    b'"\\x41"',
    b'"' + b"x" * 100_000 + b'"',
    b'"' + b"\\u0041" * 10_000 + b'"',
    b"[" + b"0," * 5_000 + b"0]",
    b"true",
    b"null",
    b"{}",
    b'{"__proto__":{"admin":true}}',
    b"/* comment */ 1",
    b"\xef\xbb\xbf1",
)
FIELDS: Final = ("type", "app_id", "topic", "data", "created_at", "id", "delivery_attempts", "first_sent_at", "more")


def hostile_json(chance: Random) -> Hostile:
    """Odd JSON under a right signature: in the item, in any field of the envelope, or as the whole body."""
    odd = chance.choice(ODD_JSON)
    where = chance.random()
    name = f"{chance.getrandbits(64):x}"
    if where < 0.4:
        body = envelope(id=name, item="here").replace(b'"here"', odd)
    elif where < 0.8:
        body = envelope(**{"id": name, chance.choice(FIELDS): "here"}).replace(b'"here"', odd)
    else:
        body = chance.choice((odd, envelope(id=name) + odd, odd + envelope(id=name)))
    return Hostile(signed(chance, body), frozenset({200, 400}))


def broken_json(chance: Random) -> Hostile:
    """A signed body with some bytes changed, cut off, or doubled, or in another encoding."""
    body = bytearray(envelope(id=f"{chance.getrandbits(64):x}", item={"text": "é☃"}))
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(body) - 1)
        change = chance.randrange(4)
        if change == 0:
            body[at] = chance.getrandbits(8)
        elif change == 1:
            body[at:at] = chance.randbytes(chance.randint(1, 8))
        elif change == 2:
            body[at:at] = body[at : at + chance.randint(1, 100)]
        else:
            del body[at : at + chance.choice((1, 10, 100))]
            body += b"}}"
    if chance.random() < 0.1:
        body = bytearray(bytes(body).decode("latin-1").encode(chance.choice(("utf-16", "utf-32", "utf-8-sig"))))
    return Hostile(signed(chance, bytes(body)), frozenset({200, 400}))


def giant_string(chance: Random) -> Hostile:
    """A string that fills much of a body: as an id or a topic it is refused."""
    text = chance.choice(("x", "\x00", "é", "\\")) * chance.randint(1_000, 150_000)
    field = chance.choice(("id", "topic", "item", "app_id", "more"))
    new = {} if field == "id" else {"id": f"{chance.getrandbits(64):x}"}
    return Hostile(signed(chance, envelope(**{**new, field: text})), frozenset({200, 400}))


def unknown_topic(chance: Random) -> Hostile:
    """A topic that nobody handles, which may try to write lines of its own into the log."""
    name = f"{chance.getrandbits(32):x}"
    topic = chance.choice(("unknown.{}", "{}\nFORGED line", "\x1b[31m{}", "*{}", "{}.*", f"{TOPIC}{{}}", "\u2028{}"))
    return Hostile(signed(chance, envelope(topic=topic.format(name))), frozenset({200}))


def duplicate(chance: Random) -> Hostile:
    """One of a few notifications, again and again, each time with other bytes."""
    body = envelope(id=f"again-{chance.randrange(50)}", delivery_attempts=chance.getrandbits(30))
    return Hostile(signed(chance, body), frozenset({200}))


def same_path(chance: Random) -> Hostile:
    """The path in another spelling: what is on it is verified all the same."""
    escape = chance.choice((b"%%%02x", b"%%%02X"))
    path = b"".join(escape % one if chance.random() < 0.3 else b"%c" % one for one in PATH[1:])
    query = chance.choice((b"", b"?", b"?x=%2e%2e/", b"?signature=no", b"??", b"?" + b"a" * 1000))
    body = unverified(chance)
    return Hostile(framed(body, wrong(chance, body), path=b"/" + path + query), frozenset({401}))


OTHER_PATHS: Final = (
    *(b"//webhooks/intercom", b"/webhooks//intercom", b"/webhooks/intercom/", b"/webhooks/intercom//"),
    *(b"/./webhooks/intercom", b"/x/../webhooks/intercom", b"/webhooks/%2e/intercom", b"/x/%2e%2e/webhooks/intercom"),
    *(b"/webhooks/intercom%00", b"/webhooks/intercom%20", b"/webhooks/intercom%0a", b"/webhooks/intercom%2f"),
    *(b"/webhooks%255cintercom", b"/webhooks%252fintercom", b"/%2577ebhooks/intercom", b"/webhooks%5cintercom"),
    *(b"/WEBHOOKS/INTERCOM", b"/webhooks/intercoM", b"/webhooks/intercom;x=1", b"/webhooks/intercom.json"),
    *(
        b"/webhooks%c0%afintercom",
        b"/webhooks/%ef%bd%89ntercom",
        b"/webhooks/intercom%ff",
        b"/webhooks/intercom%e2%80%8b",
    ),
    *(b"/x/webhooks/intercom", b"/webhooks/intercom/../intercom", b"/webhooks/intercom/more", b"/webhooks/intercom%"),
)


def other_path(chance: Random) -> Hostile:
    """Almost the path: it is the app's, and what it gets there was verified by nobody, as it knows."""
    body = envelope(id=f"{chance.getrandbits(64):x}")
    path = chance.choice(OTHER_PATHS)
    return Hostile(framed(body, chance.choice((wrong(chance, body), right(body))), path=path), frozenset({404}))


def safe_method(chance: Random) -> Hostile:
    method, status = chance.choice(((b"HEAD", 200), (b"GET", 405)))
    return Hostile(head(wrong(chance, b""), method=method), frozenset({status}))


def late_key(chance: Random) -> Hostile:
    """Keys twice in an envelope: first one thing, then another."""
    first = envelope(id=f"{chance.getrandbits(64):x}")
    again = json.dumps({chance.choice(FIELDS): chance.choice((None, [], {}, -1, 1e300, True, "x", TOPIC))}).encode()
    return Hostile(signed(chance, first[:-1] + b"," + again[1:]), frozenset({200, 400}))


KEEPING: Final[dict[str, tuple[int, Callable[[Random], Hostile]]]] = {
    "wrong signature": (25, wrongly_signed),
    "hostile JSON": (10, hostile_json),
    "broken JSON": (15, broken_json),
    "giant string": (1, giant_string),
    "keys twice": (8, late_key),
    "unknown topic": (10, unknown_topic),
    "duplicate": (10, duplicate),
    "same path": (12, same_path),
    "other path": (12, other_path),
    "HEAD and GET": (6, safe_method),
}
"""By kind: how often it comes, compared with the others, and what makes it."""
