"""How functions ask for their context, in all the ways that type checkers take."""

from __future__ import annotations

import functools
import re

import pytest

from pipeloom import TaskContext
from pipeloom.worker.current import enter
from pipeloom.worker.perform import perform
from pipeloom.worker.signature import context_of, second_argument_of
from worker.recording import RecordingLink, task_for


def called(fn, item=1):
    """Call a function as its signature asks for; return its result."""
    seen = []
    link = RecordingLink(lambda *args, **named: seen.append(fn(*args, **named)), context=context_of(fn))
    try:
        assert perform(task_for(item), link)[0] == "done"
    finally:
        enter(None)
    return seen[0]


def of_ctx(item, ctx):
    return (item, type(ctx))


def by_annotation(item, anything: TaskContext):
    return (item, type(anything))


def by_keyword(item, limit=3, *, ctx):
    return (item, type(ctx))


def if_there_is_one(item, ctx: TaskContext | None = None):
    return (item, type(ctx))


def with_real_annotations(item, anything):
    return (item, type(anything))


with_real_annotations.__annotations__ = {"anything": TaskContext | None}


class Called:
    def __call__(self, item, ctx):
        return (item, type(ctx))

    def method(self, item, ctx):
        return (item, type(ctx))


@pytest.mark.parametrize(
    "fn",
    [
        of_ctx,
        by_annotation,
        by_keyword,
        if_there_is_one,
        with_real_annotations,
        functools.partial(of_ctx),
        Called(),
        Called().method,
        lambda item, ctx: (item, type(ctx)),
    ],
    ids=lambda fn: getattr(fn, "__qualname__", type(fn).__name__),
)
def test_the_functions_that_type_checkers_take_with_a_context_get_one(fn):
    """In each of the ways in which a function can ask for it: see tests/typing/calls.py."""
    assert called(fn) == (1, TaskContext)


def of_another_context(item, anything: MyTaskContextual = None):  # noqa: F821 - a name that merely looks alike
    return item


@pytest.mark.parametrize(
    "fn",
    [str, abs, {1: "a"}.get, functools.partial(max, 0), lambda item, limit=2: item, of_another_context],
    ids=lambda fn: getattr(fn, "__name__", type(fn).__name__),
)
def test_the_functions_that_take_one_input_get_only_that(fn):
    """Classes, builtins without a signature, and functions with defaults."""
    assert context_of(fn) is None
    assert called(fn) == fn(1)


@pytest.mark.parametrize(
    "fn",
    [lambda: None, lambda a, b: None, lambda ctx, item: None, lambda item, ctx, /: None],
    ids=["none", "two", "ctx first", "ctx by place only"],
)
def test_a_function_that_does_not_take_one_input_is_refused(fn):
    """Before anything happens, rather than ten thousand times; with its signature, as it was written."""
    with pytest.raises(TypeError, match=re.escape("cannot be called with one input, and optionally ctx")) as caught:
        context_of(fn)

    assert "<lambda>(" in str(caught.value)


def test_a_worker_takes_its_queue_second_by_whatever_name():
    """Any function of two arguments; with one it is refused."""
    assert second_argument_of(lambda task, msg_q: None) == ""
    assert second_argument_of(lambda *args: None) == ""
    with pytest.raises(TypeError, match="cannot be called with a task and its queue"):
        second_argument_of(lambda task: None)
