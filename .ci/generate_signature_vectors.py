"""Write starlette_intercom/testing/signature_vectors.json: signatures to test an implementation in any language with.

Usage: python .ci/generate_signature_vectors.py [--check]

The signatures are computed here with nothing but the standard library, so that the library is tested against them and
not against itself. With --check nothing is written: exit code 1 says that the file is not what would be written.
"""

from __future__ import annotations

import base64
import hmac
import json
import sys
from pathlib import Path

TARGET = Path(__file__).parents[1] / "starlette_intercom" / "testing" / "signature_vectors.json"

# Name of the scheme, header, what stands before the digits, hash.
SCHEMES = [
    ("webhook", "X-Hub-Signature", "sha1=", "sha1"),
    ("canvas_kit", "X-Body-Signature", "", "sha256"),
    ("fin", "X-Fin-Agent-API-Webhook-Signature", "sha256=", "sha256"),
]
BODY = b'{"type":"notification_event","topic":"ping","data":{"item":{"type":"ping"}}}'
SECRET = "5f0c2a77-1b9e-4c9a-8e1c-7d3c90a1b2e4"  # noqa: S105 - made up, and published on purpose

# What is signed, body, secret.
SIGNED = [
    ("a notification", BODY, SECRET),
    ("the same with other white space has another signature", BODY.replace(b":", b": "), SECRET),
    ("an empty body", b"", SECRET),
    ("one line feed", b"\n", SECRET),
    ("text beyond ASCII, as UTF-8", '{"name":"Zoë 日本 🚲"}'.encode(), SECRET),
    ("the same with escapes has another signature", b'{"name":"Zo\\u00eb \\u65e5\\u672c \\ud83d\\udeb2"}', SECRET),
    ("every byte once: bytes are signed, not text", bytes(range(256)), SECRET),
    ("a body of 3,000 bytes", b"0123456789" * 300, SECRET),
    ("a secret of one character", BODY, "x"),
    ("a secret as long as a block of the hash", BODY, "k" * 64),
    ("a secret longer than a block of the hash", BODY, "k" * 65),
    ("a secret of 300 characters", BODY, "long" * 75),
    ("a secret beyond ASCII: its UTF-8 bytes are the key", BODY, "schlüssel-🔑"),
    ("a secret with a blank in it", BODY, "two words"),
]


def digits(body: bytes, secret: str, algorithm: str) -> str:
    """Return the HMAC as lowercase hexadecimal digits."""
    return hmac.new(secret.encode(), body, algorithm).hexdigest()


def refused(body: bytes, secret: str, prefix: str, algorithm: str) -> list[tuple[str, str]]:
    """Return header values that must not verify, each with the reason."""
    right = digits(body, secret, algorithm)
    other = "sha256" if algorithm == "sha1" else "sha1"
    last = "0" if right[-1] != "0" else "1"
    return [
        ("the header is empty", ""),
        ("the prefix alone", prefix or "sha256="),
        ("wrong prefix, or none", right if prefix else f"sha256={right}"),
        ("another hash under this header's prefix", prefix + digits(body, secret, other)),
        ("another hash with its own prefix", f"{other}={digits(body, secret, other)}"),
        ("the last digit is wrong", prefix + right[:-1] + last),
        ("one digit is missing", prefix + right[:-1]),
        ("one digit too many", prefix + right + "0"),
        ("white space around it", f" {prefix}{right} "),
        ("uppercase digits: Intercom sends lowercase", prefix + right.upper()),
        ("signed with another secret", prefix + digits(body, f"{secret}x", algorithm)),
        ("signed over another body", prefix + digits(body + b" ", secret, algorithm)),
        ("digits of another script", prefix + right[:-1] + "\N{FULLWIDTH DIGIT ONE}"),
    ]


def vectors() -> list[dict[str, object]]:
    """Return all vectors."""
    result: list[dict[str, object]] = []
    for scheme, header, prefix, algorithm in SCHEMES:
        cases = [(name, body, secret, prefix + digits(body, secret, algorithm), True) for name, body, secret in SIGNED]
        cases += [(name, BODY, SECRET, value, False) for name, value in refused(BODY, SECRET, prefix, algorithm)]
        for name, body, secret, signature, valid in cases:
            try:
                text = body.decode()
            except UnicodeDecodeError:
                text = None
            result.append(
                {
                    "name": name,
                    "scheme": scheme,
                    "header": header,
                    "secret_text": secret,
                    "secret_hex": secret.encode().hex(),
                    "body_text": text if text is not None and len(text) < 1000 else None,
                    "body_base64": base64.b64encode(body).decode(),
                    "signature": signature,
                    "valid": valid,
                }
            )
    return result


def main() -> None:
    """Write the file, or check it."""
    about = (
        "Signatures that Intercom would put on requests. 'signature' is the value of the header named 'header'. "
        "Where 'valid' is true, it is the body's signature with the secret; where it is false, it must be refused. "
        "'body_base64' holds the exact bytes; 'body_text' the same as text, or null where that is impossible or long. "
        "'secret_hex' are the bytes of the key: 'secret_text' in UTF-8."
    )
    document = {"about": about, "vectors": vectors()}
    source = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    if sys.argv[1:] == ["--check"]:
        if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != source:
            sys.exit(f"{TARGET.name} is out of date: run python .ci/{Path(__file__).name}")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        TARGET.write_text(source, encoding="utf-8")
        print(f"Wrote {TARGET.name}")


if __name__ == "__main__":
    main()
