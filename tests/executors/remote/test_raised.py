"""Exceptions as data: of their own class where that is safe, else named."""

from __future__ import annotations

import pickle

import pytest

from pipeloom.errors import RemoteError, RetryLater, RowRefusedError, StorageError
from pipeloom.executors.remote.raised import described, raised_again
from pipeloom.wire import NO_RETRY


class PlainError(Exception):
    """Made of whatever it is given."""


class ArgumentsError(Exception):
    """Needs other arguments than it keeps."""

    def __init__(self, code, *, reason):
        super().__init__(f"{code}: {reason}")
        self.code = code


class OwnTextError(Exception):
    """Its text needs what is lost on the way."""

    def __str__(self):
        return self.missing


class CodeError(Exception):
    """Making one runs code of its own."""

    def __new__(cls, *args):
        raise AssertionError("this must not run in the run's process")


class WithinError(Exception):
    """Holds another class."""

    class DeepError(Exception):
        """Within a class."""


def there_and_back(error):
    return raised_again(described(error, "trace", NO_RETRY))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("seven"),
        KeyError("k"),
        FileNotFoundError(2, "No such file"),
        SystemExit(3),
        PlainError("a", 1, None),
        WithinError.DeepError("deep"),
        StopIteration(),
        RowRefusedError("a row"),
        StorageError("a file"),
        RetryLater(2.5, count=False),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_of_a_known_class_comes_back_as_itself(error):
    again = there_and_back(error)

    assert type(again) is type(error)
    assert again.args == error.args
    assert str(again) == str(error)


def test_its_init_does_not_run_again():
    again = there_and_back(ArgumentsError(5, reason="late"))

    assert type(again) is ArgumentsError
    assert str(again) == "5: late"


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (OwnTextError("x"), "OwnTextError", "OwnTextError"),
        (BaseException.__new__(CodeError, "x"), "CodeError", ""),
        (ValueError(object()), "ValueError", "object"),
        (ValueError(2**80), "ValueError", "1208925819614629174706176"),
        (ExceptionGroup("several", [ValueError("one")]), "ExceptionGroup", "several"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd"), "UnicodeDecodeError", "odd"),
        (ValueError("\ud800"), "ValueError", ""),
        (type("LocalError", (Exception,), {})("here"), "LocalError", "here"),
    ],
    ids=["its own text", "its own new", "an object", "a long int", "a group", "bytes", "a surrogate", "unknown"],
)
def test_another_stands_for_what_cannot_be_made_again(error, kind, text):
    again = there_and_back(error)

    assert type(again) is RemoteError
    assert again.kind == kind
    assert text in str(again)
    assert pickle.loads(pickle.dumps(again)).kind == kind


@pytest.mark.parametrize(
    "name", ["os:system", "builtins:print", "subprocess:Popen", "builtins:nothing", "no:thing"]
)
def test_what_is_no_exception_is_never_called(name):
    """A worker may say anything."""
    raised = described(ValueError("echo"), "", NO_RETRY)
    raised.module, raised.name = name.split(":")

    assert type(raised_again(raised)) is RemoteError
