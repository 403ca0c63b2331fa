"""How long a service wants to be left alone: what is heard of it, and what is not."""

from __future__ import annotations

import email.message
import io
import urllib.error
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import pytest

from pipeloom.data.retry_after import retry_after_of


def saying(value):
    error = OSError("busy")
    error.retry_after = value
    return error


def answered(headers):
    """As httpx and requests have it."""
    error = OSError("busy")
    error.response = SimpleNamespace(headers=headers)
    return error


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (30, 30.0),
        (0, 0.0),
        (2.5, 2.5),
        ("30", 30.0),
        (" 1.5 ", 1.5),
        (timedelta(minutes=2), 120.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 0.0),
    ],
)
def test_seconds_are_heard_in_every_form(value, seconds):
    """Of the exception itself, or of a header; a date that is past says now."""
    assert retry_after_of(saying(value)) == seconds
    assert retry_after_of(answered({"Retry-After": value})) == seconds


def test_a_date_is_the_time_until_it():
    """By this machine's clock."""
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)

    assert 90 < retry_after_of(saying(at)) <= 100


class Raises:
    """Whatever it is asked."""

    def __getattribute__(self, name):
        raise SystemExit(name)


@pytest.mark.parametrize(
    "value",
    [None, -1, float("nan"), float("inf"), True, "soon", "", "-5", "1e3", "inf", "9" * 400, 10**400, b"30", [30],
     timedelta(-1), lambda: 30, "Wed, 99 Oct 2015 07:28:00 GMT"],
)  # fmt: skip
def test_anything_else_says_nothing(value):
    """Foreign code may be anything, and raise anything."""
    assert retry_after_of(saying(value)) is None
    assert retry_after_of(answered({"Retry-After": value})) is None


@pytest.mark.parametrize("headers", [None, 7, {}, SimpleNamespace(get=lambda: 1), {"retry": 3}])
def test_headers_that_do_not_say_it(headers):
    """Nor what are no headers at all."""
    assert retry_after_of(answered(headers)) is None


def test_foreign_code_that_raises_says_nothing():
    """Not even what class it is."""
    error = answered(Raises())
    error.retry_after = Raises()
    assert retry_after_of(error) is None
    error.response = Raises()
    assert retry_after_of(error) is None


def test_what_the_exception_says_itself_comes_first():
    """Then its answer; what is not usable is passed over."""
    error = answered({"Retry-After": "7"})
    assert retry_after_of(error) == 7
    error.retry_after = None
    assert retry_after_of(error) == 7
    error.retry_after = 3
    assert retry_after_of(error) == 3


def test_headers_of_urllib_whatever_their_case():
    """Its errors have them themselves; a plain dict has them in small letters, as some clients do."""
    headers = email.message.Message()
    headers["RETRY-AFTER"] = "12"
    with urllib.error.HTTPError("http://a.org", 503, "busy", headers, io.BytesIO()) as error:
        assert retry_after_of(error) == 12
    assert retry_after_of(answered({"retry-after": "5"})) == 5


def test_most_exceptions_say_nothing():
    """And are asked at no cost."""
    assert retry_after_of(ValueError("no")) is None
