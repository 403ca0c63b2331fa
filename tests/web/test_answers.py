"""What takes longer than a page may: worked out once, beside the pages, and kept."""

from __future__ import annotations

import os
import threading
from contextlib import closing
from time import monotonic

import pytest

import pipeloom
from pipeloom.web import answers
from pipeloom.web.answers import Answers, last_change

from .serving import LIMIT_S, make_endless


@pytest.fixture
def desk(db):
    """Answers from a small ledger."""
    pipeloom.map(str, range(3), db=db, progress=False)
    with closing(Answers(db, "answers", deadline_s=LIMIT_S)) as desk:
        yield desk


class Question:
    """Answers with the number of times it was asked, once it is let go."""

    def __init__(self):
        self.gate = threading.Event()
        self.asked = 0

    def __call__(self, history):
        assert self.gate.wait(LIMIT_S)
        self.asked += 1
        return self.asked


def test_who_asks_does_not_wait_for_what_takes_long(desk):
    """The answer is there when it is; it is worked out once, however many ask."""
    question = Question()
    assert desk.ask("k", question) is None
    assert desk.ask("k", question) is None
    question.gate.set()

    found = desk.ask("k", question, wait_s=LIMIT_S)
    assert (found.value, found.is_current) == (1, True)
    assert desk.ask("k", question).value == 1


def test_what_is_out_of_date_is_shown_until_there_is_a_newer_one(desk, monkeypatch):
    """By its version, or by when it was begun; it says that a newer one is on its way."""
    monkeypatch.setattr(answers, "_DUTY", 0)
    question = Question()
    question.gate.set()
    desk.ask("k", question, version=1, wait_s=LIMIT_S)
    question.gate.clear()

    old = desk.ask("k", question, version=2)
    assert (old.value, old.is_current) == (1, False)
    question.gate.set()
    assert desk.ask("k", question, version=2, wait_s=LIMIT_S).value == 2
    assert desk.ask("k", question, version=2, since=monotonic(), wait_s=LIMIT_S).value == 3


def test_what_takes_long_is_asked_seldom(desk, monkeypatch):
    """It rests ten times as long as it took: meanwhile the old answer has to do."""
    monkeypatch.setattr(answers, "_DUTY", 1e9)
    question = Question()
    question.gate.set()
    desk.ask("k", question, wait_s=LIMIT_S)
    again = desk.ask("k", question, since=monotonic(), wait_s=LIMIT_S)

    assert (again.value, again.is_current) == (1, False)


def test_what_went_wrong_is_told_to_who_asks(desk):
    """And asked again."""

    def question(history):
        raise ValueError("no such thing")

    with pytest.raises(ValueError, match="no such thing"):
        desk.ask("k", question, wait_s=LIMIT_S)
    with pytest.raises(ValueError, match="no such thing"):
        desk.ask("k", question, since=monotonic(), wait_s=LIMIT_S)


def test_the_oldest_answers_are_forgotten(desk, monkeypatch):
    """Memory is bounded, however many pages are looked at."""
    monkeypatch.setattr(answers, "_KEPT", 4)
    for number in range(10):
        desk.ask(number, lambda history: number, wait_s=LIMIT_S)  # noqa: B023 - answered within the round

    assert len(desk._entries) == 4


def test_the_end_gives_up_a_question_without_end(db):
    """The thread is gone when the server is."""
    pipeloom.map(str, range(3), db=db, progress=False)
    make_endless(db)
    desk = Answers(db, "answers", deadline_s=LIMIT_S)
    began = threading.Event()

    def question(history):
        began.set()
        return history.counts()

    assert desk.ask("k", question) is None
    assert began.wait(LIMIT_S)
    thread = desk._thread
    desk.close()
    thread.join(LIMIT_S)
    assert not thread.is_alive()
    assert desk.ask("other", question) is None


def test_what_was_answered_since_the_last_write_is_up_to_date(db):
    """By the time that the file and its log were written; while that is close, or unknown, nothing is."""
    before = monotonic()
    assert last_change(db) >= before
    pipeloom.map(str, range(3), db=db, progress=False)
    assert last_change(db) >= before
    os.utime(db, (1e9, 1e9))
    assert last_change(db) < before - 1e6
    log = db.with_name(f"{db.name}-wal")
    log.touch()
    assert last_change(db) >= before
