"""The signatures that Intercom puts on its requests, as pure functions.

Intercom signs the raw body with a keyed hash and knows three ways to write it down. Webhooks are described at
https://developers.intercom.com/docs/webhooks/setting-up-webhooks, Canvas Kit and the other requests at
https://developers.intercom.com/docs/canvas-kit, Fin's at https://developers.intercom.com/docs/guides/fin-agent-api.
There is no timestamp under any of them: a signature proves who wrote a body, not when.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final, Literal, Never, TypeAlias

import msgspec

from ..errors import ConfigurationError


class SignatureScheme(msgspec.Struct, frozen=True, gc=False):
    """One way in which Intercom signs: the header, what stands before the hexadecimal digits, and the hash.

    Attributes:
        header: name of the header.
        prefix: what the header's value starts with.
        algorithm: the hash under the HMAC; no other is ever accepted for this header.
    """

    header: str
    prefix: str
    algorithm: Literal["sha1", "sha256"]


HUB_SIGNATURE: Final = SignatureScheme("X-Hub-Signature", "sha1=", "sha1")
"""Webhook notifications."""

BODY_SIGNATURE: Final = SignatureScheme("X-Body-Signature", "", "sha256")
"""Canvas Kit, installation health checks, and uninstalls."""

FIN_SIGNATURE: Final = SignatureScheme("X-Fin-Agent-API-Webhook-Signature", "sha256=", "sha256")
"""Fin Agent API events; signed with a secret of their own."""

_DIGITS_OF: Final = {"sha1": 40, "sha256": 64}

_Hash: TypeAlias = "hashlib._Hash"

SecretsLike: TypeAlias = "str | Sequence[str] | Mapping[str, str] | Secrets"
"""One secret, several, or several by name."""


class _Key:
    """One secret, as a variable that can be shown: tracebacks with the locals of each frame pass through here."""

    __slots__ = ("_begun", "_secret")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._begun: dict[str, tuple[_Hash, _Hash]] = {}

    def __repr__(self) -> str:
        return "<secret>"

    def digits(self, body: bytes, algorithm: str) -> str:
        """Return the hexadecimal digits of the HMAC of a body, by the definition in RFC 2104.

        The two hashes that depend on the key alone are begun once and copied for each body.
        """
        inner, outer = self._begun.get(algorithm) or self._begin(algorithm)
        message, mac = inner.copy(), outer.copy()
        message.update(body)
        mac.update(message.digest())
        return mac.hexdigest()

    def _begin(self, algorithm: str) -> tuple[_Hash, _Hash]:
        block = 64  # bytes, of SHA-1 and SHA-256
        key = self._secret if len(self._secret) <= block else hashlib.new(algorithm, self._secret).digest()
        inner, outer = (
            hashlib.new(algorithm, bytes(byte ^ pad for byte in key.ljust(block, b"\0"))) for pad in (0x36, 0x5C)
        )
        self._begun[algorithm] = inner, outer
        return inner, outer


class Secrets:
    """The secrets that may have signed a request, by name; never shown in a repr, a pickle or a traceback's locals.

    Several are needed while one is being rotated, or where several Intercom apps share a URL.

    Args:
        secrets: one secret, a sequence of them (named ``1``, ``2``, … in order), or a mapping of names to secrets.

    Raises:
        ConfigurationError: there is none, or one is empty, no text, or has whitespace around it.
    """

    __slots__ = ("_by_name",)

    def __init__(self, secrets: SecretsLike) -> None:
        if isinstance(secrets, Secrets):
            self._by_name: dict[str, _Key] = secrets._by_name
            return
        if isinstance(secrets, str):
            secrets = [secrets]
        if isinstance(secrets, Sequence) and not isinstance(secrets, bytes):
            secrets = {str(number): secret for number, secret in enumerate(secrets, 1)}
        if not isinstance(secrets, Mapping):
            raise ConfigurationError(
                "The client secret must be a str, a sequence of them, or a mapping of names to secrets. "
                "Find it in Intercom's Developer Hub under Basic Information."
            )
        if not secrets:
            raise ConfigurationError("There is no client secret, so nothing could be verified: give at least one.")
        for name, secret in secrets.items():
            if not isinstance(name, str):
                raise ConfigurationError(f"A client secret must be named by a str, not by {name!r}.")
            if not isinstance(secret, str):
                raise ConfigurationError(f"The client secret {name!r} must be a str.")
            if not secret.strip():
                raise ConfigurationError(
                    f"The client secret {name!r} is empty: anybody could sign with it. Is its variable set?"
                )
            if secret != secret.strip():  # no signature would ever match
                raise ConfigurationError(
                    f"The client secret {name!r} has whitespace or a line break around it, which was copied along: "
                    "take it away, or call .strip() where you read it."
                )
        self._by_name = {name: _Key(_encoded(secret)) for name, secret in secrets.items()}

    def __len__(self) -> int:
        return len(self._by_name)

    def __repr__(self) -> str:
        return f"<Secrets {', '.join(self._by_name)}>"

    def __reduce__(self) -> Never:
        raise TypeError("Secrets are not pickled.")


def sign(body: bytes, secret: str | bytes, scheme: SignatureScheme = HUB_SIGNATURE) -> str:
    """Return the header value that Intercom would send with ``body``.

    Raises:
        ConfigurationError: the secret is empty, or no text.
    """
    key = _encoded(secret) if isinstance(secret, str) else secret
    if not key.strip():
        raise ConfigurationError("The secret is empty: anybody could sign with it.")
    masked = _Key(key)
    del key, secret  # a body of the wrong type raises below, and the traceback may show what is here
    return scheme.prefix + masked.digits(body, scheme.algorithm)


def has_shape(header: bytes, scheme: SignatureScheme = HUB_SIGNATURE) -> bool:
    """Tell whether a header value could be a signature at all, before any hash is computed."""
    return shape_of(scheme).fullmatch(header) is not None


@cache
def shape_of(scheme: SignatureScheme) -> re.Pattern[bytes]:
    """Return what a header value must look like as a whole."""
    return re.compile(rb"%b[0-9a-f]{%d}" % (re.escape(scheme.prefix.encode()), _DIGITS_OF[scheme.algorithm]))


def verify(
    body: bytes, header: bytes | str, secrets: SecretsLike, scheme: SignatureScheme = HUB_SIGNATURE
) -> str | None:
    """Check a signature over the exact bytes of a body.

    Every secret is tried and compared in constant time, also after one has matched.

    Args:
        body: what was received, unchanged.
        header: the value of ``scheme.header``, as it came.
        secrets: who may have signed.
        scheme: which signature it is.

    Returns:
        The name of the secret that matched, or None: then nothing about the body can be trusted.
    """
    if isinstance(header, str):
        header = header.encode("utf-8", "replace")
    if not has_shape(header, scheme):
        return None
    secrets = Secrets(secrets)  # hides them, should anything raise from here on
    return signer_of(body, header, secrets, scheme)


def signer_of(body: bytes, header: bytes, secrets: Secrets, scheme: SignatureScheme) -> str | None:
    """Do the same as :func:`verify` with a header whose shape was checked."""
    given = header[len(scheme.prefix) :]
    matched = None
    for name, key in secrets._by_name.items():
        if hmac.compare_digest(key.digits(body, scheme.algorithm).encode(), given):
            matched = name
    return matched


def _encoded(secret: str) -> bytes:
    try:
        return secret.encode()
    except UnicodeEncodeError:  # from an environment variable that is not UTF-8; this error would carry the secret
        raise ConfigurationError("The client secret cannot be encoded as UTF-8: copy it again.") from None
