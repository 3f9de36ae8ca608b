"""Answers of Intercom, in any shape, become typed errors."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starlette_intercom.errors import (
    ContactNotFound,
    EventApiError,
    EventRejected,
    IntercomUnavailable,
    RateLimited,
    Unauthorized,
)
from starlette_intercom.events.answers import error_of


def error_list(*errors: dict[str, object], request_id: object = "r1") -> bytes:
    return json.dumps({"type": "error.list", "request_id": request_id, "errors": errors}).encode()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, EventRejected),
        (400, EventRejected),
        (401, Unauthorized),
        (403, Unauthorized),
        (404, ContactNotFound),
        (408, IntercomUnavailable),
        (422, EventRejected),
        (429, RateLimited),
        (500, IntercomUnavailable),
        (503, IntercomUnavailable),
        (599, IntercomUnavailable),
    ],
)
def test_the_status_decides_the_class(status: int, kind: type[EventApiError]) -> None:
    error = error_of(status, error_list({"code": "some_code", "message": "Some words"}))
    assert type(error) is kind
    assert error.status == status
    assert error.codes == ("some_code",)
    assert error.messages == ("Some words",)
    assert error.request_id == "r1"
    assert str(status) in str(error)
    assert "Some words" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Bad gateway</html>",
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"{",
        b"\xff\xfe",
        b'{"errors": null}',
        b'{"errors": "x"}',
        b'{"errors": [1, null, {"code": []}]}',
        b"[" * 100_000,
    ],
)
def test_a_body_of_any_shape_is_survived(body: bytes) -> None:
    error = error_of(502, body)
    assert isinstance(error, IntercomUnavailable)
    assert error.codes == error.messages == ()
    assert error.request_id is None


@given(st.binary(max_size=200))
def test_any_bytes_are_survived(body: bytes) -> None:
    assert error_of(422, body).status == 422


def test_lists_single_errors_and_numeric_codes_are_read() -> None:
    assert error_of(422, b'[{"code": 422, "message": "m"}]').codes == ("422",)
    assert error_of(422, b'{"errors": {"code": "c"}}').codes == ("c",)
    assert error_of(422, error_list({"message": "only words"})).messages == ("only words",)
    assert error_of(422, error_list({"code": "c"}, request_id=None)).request_id is None


def test_the_token_is_never_repeated() -> None:
    body = error_list({"code": "unauthorized", "message": "Token tok_s3cret is wrong"}, request_id="tok_s3cret")
    error = error_of(401, body, secret="tok_s3cret")
    assert "s3cret" not in str(error) + repr(error) + repr(vars(error))


def test_long_answers_are_cut() -> None:
    error = error_of(422, json.dumps([{"code": "c" * 10_000, "message": "m"}] * 1_000).encode())
    assert len(str(error)) < 5_000
