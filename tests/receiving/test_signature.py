"""Signatures: what is accepted, and everything else that is not."""

from __future__ import annotations

import hashlib
import hmac
import pickle
import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starlette_intercom import BODY_SIGNATURE, FIN_SIGNATURE, HUB_SIGNATURE, ConfigurationError, SignatureScheme
from starlette_intercom import sign as signed
from starlette_intercom.receiving.signature import Secrets, has_shape, verify

SCHEMES = [HUB_SIGNATURE, BODY_SIGNATURE, FIN_SIGNATURE]
BODY = b'{"type": "notification_event"}'
DIGITS_256 = "aa9e2e3575f5d7098b6caccd790888c36d5fdb63342a73bada2d6a51747a8494"

schemes = st.sampled_from(SCHEMES)
secrets = st.text(min_size=1, max_size=80).filter(
    lambda text: text == text.strip() and text.isprintable()
)  # isprintable: no lone surrogates


@pytest.mark.parametrize(
    ("scheme", "header", "value"),
    [
        # By openssl dgst -hmac.
        (HUB_SIGNATURE, "X-Hub-Signature", "sha1=f8446672f033e4b2beafc5ca3a71eafcd2cafb6e"),
        (BODY_SIGNATURE, "X-Body-Signature", DIGITS_256),
        (FIN_SIGNATURE, "X-Fin-Agent-API-Webhook-Signature", f"sha256={DIGITS_256}"),
    ],
)
def test_three_ways_to_write_a_signature_down(scheme: SignatureScheme, header: str, value: str) -> None:
    assert scheme.header == header
    assert signed(b'{"a":1}', "secret", scheme) == value


@given(st.binary(), secrets, schemes)
def test_what_was_signed_is_verified(body: bytes, secret: str, scheme: SignatureScheme) -> None:
    header = signed(body, secret, scheme)
    assert verify(body, header, secret, scheme) == "1"
    assert verify(body, header.encode(), secret, scheme) == "1"
    assert verify(body + b" ", header, secret, scheme) is None
    assert verify(body, header, secret + "x", scheme) is None


@given(st.binary(), secrets, schemes)
def test_it_is_the_hmac_of_the_standard_library(body: bytes, secret: str, scheme: SignatureScheme) -> None:
    algorithm = {"sha1": hashlib.sha1, "sha256": hashlib.sha256}[scheme.algorithm]
    assert signed(body, secret, scheme) == scheme.prefix + hmac.new(secret.encode(), body, algorithm).hexdigest()


@given(st.binary(max_size=100), schemes)
def test_any_header_bytes_are_refused_without_an_exception(header: bytes, scheme: SignatureScheme) -> None:
    assert verify(BODY, header, "secret", scheme) is None


@given(st.text(max_size=100), schemes)
def test_any_header_text_is_refused_without_an_exception(header: str, scheme: SignatureScheme) -> None:
    assert verify(BODY, header, "secret", scheme) is None


@given(st.data(), schemes)
def test_no_changed_byte_is_overlooked(data: st.DataObject, scheme: SignatureScheme) -> None:
    header = bytearray(signed(BODY, "secret", scheme).encode())
    at = data.draw(st.integers(0, len(header) - 1))
    header[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != header[at]))
    assert verify(BODY, bytes(header), "secret", scheme) is None


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.header)
@pytest.mark.parametrize(
    "spoil",
    [
        str.upper,
        lambda value: value.replace("sha", "SHA") + "x" * ("sha" not in value),
        lambda value: "",
        lambda value: value[:-1],
        lambda value: value[:-2],
        lambda value: value + "0",
        lambda value: value + value,
        lambda value: " " + value,
        lambda value: value + " ",
        lambda value: value + "\n",
        lambda value: value + "," + value,
        lambda value: value.rpartition("=")[2] + "=",
        lambda value: "sha512=" + value.rpartition("=")[2] * 2,
        lambda value: "md5=" + value.rpartition("=")[2][:32],
        lambda value: value[:-1] + "é",
        lambda value: value[:-1] + "\N{FULLWIDTH DIGIT ONE}",
        lambda value: "\x00" + value[1:],
    ],
)
def test_nothing_but_the_exact_form_is_accepted(scheme: SignatureScheme, spoil: Callable[[str], str]) -> None:
    value = spoil(signed(BODY, "secret", scheme))
    for header in (value, value.encode("utf-8"), value.encode("latin-1", "replace")):
        assert verify(BODY, header, "secret", scheme) is None


def test_no_other_hash_is_accepted_under_a_header() -> None:
    for scheme in SCHEMES:
        for other in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512"):
            digits = hmac.digest(b"secret", BODY, other).hex()
            for prefix in ("", "sha1=", "sha256=", f"{other}="):
                accepted = verify(BODY, prefix + digits, "secret", scheme) is not None
                assert accepted == (other == scheme.algorithm and prefix == scheme.prefix)


def test_the_secret_that_matched_is_known_by_name() -> None:
    rotating = {"old": "first", "new": "second"}
    assert verify(BODY, signed(BODY, "first"), rotating) == "old"
    assert verify(BODY, signed(BODY, "second"), rotating) == "new"
    assert verify(BODY, signed(BODY, "third"), rotating) is None
    assert verify(BODY, signed(BODY, "second"), ["first", "second"]) == "2"


def test_every_secret_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[object, object]] = []
    compare = hmac.compare_digest

    def counting(left: bytes, right: bytes) -> bool:
        compared.append((type(left), type(right)))
        return compare(left, right)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    for secret in ("first", "second", "third", "none of them"):
        compared.clear()
        verify(BODY, signed(BODY, secret), ["first", "second", "third"])
        assert compared == [(bytes, bytes)] * 3


def test_nothing_is_computed_for_what_is_no_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> bytes:
        raise AssertionError("a hash was computed")

    monkeypatch.setattr(hmac, "digest", never)
    assert verify(BODY, b"sha1=abc", "secret") is None


@given(st.text(string.printable), schemes)
def test_the_shape_is_that_of_the_scheme(text: str, scheme: SignatureScheme) -> None:
    length = {"sha1": 40, "sha256": 64}[scheme.algorithm]
    digits = text.removeprefix(scheme.prefix)
    right = text.startswith(scheme.prefix) and len(digits) == length and set(digits) <= set("0123456789abcdef")
    assert has_shape(text.encode(), scheme) == right


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        ([], "no client secret"),
        ({}, "no client secret"),
        ((), "no client secret"),
        (["good", ""], "'2' is empty"),
        ({"old": "good", "new": " "}, "'new' is empty"),
        ("good\n", "'1' has whitespace .* take it away"),
        (["another", "\tgood"], "'2' has whitespace"),
        ({"new": "good\u00a0"}, "'new' has whitespace"),
        (None, "must be a str"),
        (b"bytes", "must be a str"),
        (42, "must be a str"),
        ([None], "'1' must be a str"),
        ({"new": b"bytes"}, "'new' must be a str"),
        ({1: "good"}, "named by a str"),
        ("not \ud800 text", "cannot be encoded"),
    ],
)
def test_a_secret_that_protects_nothing_is_refused(value: object, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as raised:
        Secrets(value)  # type: ignore[arg-type]
    assert "good" not in str(raised.value)
    assert raised.value.__cause__ is None
    with pytest.raises(ConfigurationError):
        verify(BODY, signed(BODY, "secret"), value)  # type: ignore[arg-type]


@pytest.mark.parametrize("secret", ["", b"", " ", "\ud800"])
def test_signing_with_no_secret_is_refused(secret: str | bytes) -> None:
    with pytest.raises(ConfigurationError):
        signed(BODY, secret)


def test_secrets_do_not_show() -> None:
    secrets = Secrets({"old": "very-secret", "new": "more-secret"})
    assert repr(secrets) == "<Secrets old, new>"
    assert "secret" not in f"{secrets}"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secrets)
    assert len(Secrets(secrets)) == 2
