"""Our signatures beside those of openssl and of Node's crypto, on the same random bodies and secrets."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from starlette_intercom import BODY_SIGNATURE, FIN_SIGNATURE, HUB_SIGNATURE, SignatureScheme, sign, verify

SCHEMES = (HUB_SIGNATURE, BODY_SIGNATURE, FIN_SIGNATURE)

NODE_SIGNS = """
const crypto = require("node:crypto");
let input = "";
process.stdin.on("data", (chunk) => (input += chunk));
process.stdin.on("end", () => {
  for (const line of input.split("\\n").filter(Boolean)) {
    const [algorithm, key, body] = JSON.parse(line);
    const hmac = crypto.createHmac(algorithm, Buffer.from(key, "hex"));
    console.log(hmac.update(Buffer.from(body, "hex")).digest("hex"));
  }
});
"""


@dataclass(frozen=True)
class Case:
    """A body, the key that signs it, and how."""

    key: bytes
    body: bytes
    scheme: SignatureScheme


def cases(count: int, *, seed: int) -> list[Case]:
    """Return random cases of every length; the first are the edges: empty bodies, the hash's block size, long keys."""
    chance = random.Random(seed)
    # 64 bytes is the block of both hashes: a longer key is hashed first.
    lengths = [(key, body) for key in (1, 63, 64, 65, 4096) for body in (0, 1, 63, 64, 65)]
    while len(lengths) < count:
        lengths.append((chance.randint(1, 200), chance.choice([0, 1, 100, 1000, 20_000])))
    found = []
    for number, (key, body) in enumerate(lengths[:count]):
        secret = bytes(range(256)) if number == len(lengths) // 2 else chance.randbytes(key)
        if not secret.strip():  # refused as empty: see the tests of signatures
            secret = b"\x00"
        found.append(Case(secret, chance.randbytes(body), SCHEMES[number % len(SCHEMES)]))
    return found


def compare(found: Sequence[Case], digests: Sequence[str]) -> None:
    """Hold our signature against the other's, in both directions."""
    assert len(found) == len(digests)
    for case, digest in zip(found, digests, strict=True):
        header = case.scheme.prefix + digest
        assert sign(case.body, case.key, case.scheme) == header
        try:
            secret = case.key.decode()
        except UnicodeDecodeError:
            continue  # `verify` takes secrets as text, which these bytes are not
        if secret != secret.strip():
            continue  # refused: see the tests of signatures
        assert verify(case.body, header, secret, case.scheme) == "1"
        assert verify(case.body + b"\x00", header, secret, case.scheme) is None


def as_text(found: Sequence[Case], *, seed: int) -> list[Case]:
    """Return the same bodies under secrets that are text of every plane, as the secrets of an app are."""
    chance = random.Random(seed)
    alphabet = "azAZ09 -_=\x00\x7f\x80éß\u2028\uffff\U0001f600"
    return [
        Case(("s" + "".join(chance.choices(alphabet, k=len(case.key) % 300))).encode(), case.body, case.scheme)
        for case in found
    ]


def test_openssl_signs_the_same() -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("NOT COMPARED WITH OPENSSL: install it")
    random_keys = cases(60, seed=1)
    found = random_keys + as_text(random_keys, seed=2)
    digests = [
        subprocess.run(
            [openssl, "dgst", f"-{case.scheme.algorithm}", "-mac", "HMAC", "-macopt", f"hexkey:{case.key.hex()}"],
            input=case.body,
            capture_output=True,
            check=True,
            timeout=20,
        )
        .stdout.decode()
        .split()[-1]
        for case in found
    ]
    compare(found, digests)


def test_node_signs_the_same() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("NOT COMPARED WITH NODE: install it")
    random_keys = cases(2000, seed=3)
    found = random_keys + as_text(random_keys, seed=4)
    lines = (json.dumps([case.scheme.algorithm, case.key.hex(), case.body.hex()]) for case in found)
    answered = subprocess.run(
        [node, "-e", NODE_SIGNS], input="\n".join(lines), capture_output=True, check=True, timeout=60, text=True
    )
    compare(found, answered.stdout.split())
