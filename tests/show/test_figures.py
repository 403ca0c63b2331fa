"""The numbers of a run as words."""

from __future__ import annotations

import pytest

from pipeloom.data.rates import per_second
from pipeloom.show.figures import Figures
from pipeloom.show.parts import Part, in_rows, joined

from .watched import attempt, watched


def figures_of(run, expected=10):
    """Return the figures of a run."""
    figures = Figures("t", expected)
    figures.begin(run)
    return figures


def said(figures, after=1.0, width=200):
    """Return the summary so many seconds after the beginning, as far as it fits."""
    return joined(in_rows(figures.summary(figures.began + after), width, 1)[0])


def test_the_summary_says_why_nothing_begins():
    """So many wait for a limit; a task has slowed the run down."""
    run = watched({"done": 4}, held_up=lambda: (1200, 0.0))
    figures = figures_of(run)
    assert said(figures).startswith("4 done · 1,200 waiting for a limit · ")

    run.held_up = lambda: (0, 29.0)
    assert said(figures).startswith("4 done · slowed down for 29 s more · ")
    figures.over = True
    assert "slowed" not in said(figures)


def test_the_summary_counts_what_waits_for_another_try():
    """They are neither done nor failed yet."""
    figures = figures_of(watched({"done": 4, "error": 1}, skipped=2, waiting=[1, 2, 3]))

    assert said(figures).startswith("4 done · 1 failed · 2 skipped · 3 waiting for a retry · ")


def test_inputs_that_are_found_are_more_to_do():
    """How many there will be is not known, so neither a share nor the time left is said."""
    run = watched({"done": 12}, beside=5)
    figures = figures_of(run)

    assert figures.expected == 15
    assert "left" not in said(figures, 10.0)
    run.beside = 0
    run.counts["done"] = 5
    assert figures.expected == 10
    assert "left" in said(figures, 10.0)


def test_what_does_not_fit_is_left_out_whole():
    """The failures and the time left outlast the rate and the time so far."""
    figures = figures_of(watched({"done": 500, "error": 7}), 1000)

    assert said(figures, 50.0) == "500 done · 7 failed · 10/s · 50 s · 49 s left"
    assert said(figures, 50.0, 36) == "500 done · 7 failed · 49 s left"
    assert said(figures, 50.0, 20) == "500 done · 7 failed"
    assert said(figures, 50.0, 10) == "7 failed"
    assert in_rows([Part("too long for this")], 5, 1) == [[Part("too long for this")]]
    assert in_rows([], 5) == []


def test_a_run_that_stops_says_what_it_waits_for():
    """Nobody waits for inputs that will not begin."""
    figures = figures_of(watched({"done": 500}, is_stopping=lambda: True, slots=[attempt("a"), None, attempt("b")]))

    assert said(figures, 50.0).startswith("stopping: 2 still running · 500 done · ")
    assert "left" not in said(figures, 50.0)


@pytest.mark.parametrize(
    ("end", "counts", "words"),
    [
        ("done", {"done": 10}, "finished · 10 done · "),
        (
            "error",
            {"done": 8, "error": 1, "timed_out": 1},
            "finished with failures · 8 done · 1 failed · 1 timed out",
        ),
        ("error", {"done": 3, "error": 1}, "stopped, 6 left · 3 done · 1 failed · "),
        ("interrupted", {"done": 3}, "stopped, 7 left · 3 done · "),
        ("error", {"done": 10}, "ended by an error · 10 done · "),
        (None, {"done": 2}, "ended by an error, 8 left · 2 done · "),
    ],
)
def test_the_end_says_what_happened(end, counts, words):
    """How it ended, how many, how long, and the rate of the whole run, not that of its last seconds."""
    figures = figures_of(watched(counts, end=end))
    said(figures, 99.0)
    figures.over = True

    assert said(figures, 100.0).startswith(words)
    rate = per_second(sum(counts.values()) / 100)
    assert said(figures, 100.0).endswith(f" · took 1:40 · {rate} on average")


def test_a_run_that_the_user_left_is_not_called_an_error():
    """The third Ctrl-C."""
    figures = figures_of(watched({"done": 2}, was_left=True))
    figures.over = True

    assert said(figures, 100.0).startswith("left at once, 8 left · 2 done · ")


def test_the_end_takes_its_time_from_the_run():
    """What follows the end, such as closing the workers, is not counted, as in the report."""
    figures = figures_of(watched({"done": 10}, end="done", took_s=4.0))
    figures.over = True

    assert said(figures, 100.0).endswith(" · took 4.0 s · 2.5/s on average")


def test_an_hour_is_not_nothing():
    """The last task takes an hour, and says how far it is; or does not, and nothing is foretold."""
    run = watched({"done": 999}, slots=[attempt("long", progress=(10, 100, None))])
    figures = figures_of(run, 1000)
    run.slots[0].t0 = figures.began
    assert said(figures, 400.0).endswith(" · 1:00:00 left")

    run.slots[0].progress = (0, None, None)
    assert "left" not in said(figures, 401.0)
