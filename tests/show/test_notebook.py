"""A run as a notebook shows it: harmless, bounded, and of no colour that vanishes."""

from __future__ import annotations

import re

import pytest

from pipeloom.report import Failure, FailureKind, RunReport
from pipeloom.show.figures import Figures
from pipeloom.show.notebook import Place, figures_seen, is_notebook, report_seen

from .test_style import contrast
from .watched import attempt, kind, watched

HOSTILE = "</td><script>alert(1)</script>\x1b[31m\x00\u202e\"'&"
TIMES = "\N{MULTIPLICATION SIGN}"


def words(html):
    """Return what is read."""
    return re.sub(r"<[^>]*>", "", html)


def report_of(*kinds, status="error", db="out.db"):
    """Return the report of a run with these kinds of failure."""
    failed = sum(kind.count for kind in kinds)
    return RunReport(7, status, 10, failed, 0, 0, 0, 10 + failed, 2.0, (), "load", db, kinds)


def kind_of(count, message="bad", first="a", last="b"):
    """Return a kind of failure."""
    example = Failure(first, 1, "ValueError", message, "Traceback", "error")
    return FailureKind(
        "0123abcd", "error", "ValueError", "/home/ann/load.py:14 in parse", message, count, example, last
    )


def test_a_run_that_goes_on():
    """How far it is, a bar, and of each kind how many, where, why, and the last one."""
    figures = Figures("load", 200)
    figures.begin(
        watched(
            {"done": 80, "error": 20},
            slots=[attempt("x")],
            kinds=[kind(20, "json.JSONDecodeError", "no value", "first.csv", "last.csv")],
        )
    )
    html, text = figures_seen(figures, ["stopping"])

    read = words(html)
    for word in ("100 of 200", "80 done", "20 failed", f"20 {TIMES}", "JSONDecodeError: no value", "last last.csv"):
        assert word in read
    assert "load.py:14 in parse" in read
    assert read.endswith("stopping")
    assert '<progress value="0.5000" max="1"' in html
    assert text.startswith("load: 100 of 200 · 80 done · 20 failed · ")


def test_its_end():
    """No bar any more."""
    figures = Figures("load", 100)
    figures.begin(watched({"done": 100}, end="done"))
    figures.over = True
    html, text = figures_seen(figures)

    assert "<progress" not in html
    assert "finished" in words(html)
    assert text.startswith("load: finished · 100 done · took ")


def test_a_report():
    """With each kind's first and last key, and what to type for more."""
    html, text = report_seen(report_of(kind_of(3), kind_of(1, "odd", "z", "z")))
    read = words(html)

    for word in (
        "finished with failures",
        "10 done",
        "4 failed",
        "took 2.0 s",
        "first a, last b",
        "ValueError: odd",
    ):
        assert word in read
    assert "!pipeloom errors --kind 0123abcd --db out.db" in read
    assert "!pipeloom errors --run 7 --db out.db" in read
    assert text == str(report_of(kind_of(3), kind_of(1, "odd", "z", "z")))
    assert "!pipeloom" not in report_seen(report_of(status="done"))[0]
    assert "!pipeloom" not in report_seen(report_of(kind_of(3), db=":memory:"))[0]


def test_kinds_are_bounded():
    """Ten are shown, the others are counted."""
    read = words(report_seen(report_of(*[kind_of(5, f"way {'x' * n}") for n in range(14)]))[0])

    assert read.count(f"5 {TIMES}") == 10
    assert "… and 20 more, of 4 other kinds" in read


def test_foreign_text_is_inert():
    """A message, a key, a title: nothing ends an element."""
    figures = Figures(HOSTILE, 1)
    figures.begin(watched({"error": 1}, kinds=[kind(1, HOSTILE, HOSTILE, HOSTILE)]))
    for html in (
        figures_seen(figures, [HOSTILE])[0],
        report_seen(report_of(kind_of(1, *[HOSTILE] * 3)), HOSTILE)[0],
    ):
        assert "<script" not in html
        assert "alert(1)" in html
        assert html.isprintable()


@pytest.mark.parametrize("ground", ["#ffffff", "#111111"])
def test_colours_can_be_read_in_light_and_dark(ground):
    """Text has the page's colour; what has one of its own is seen on both."""
    figures = Figures("load", 9)
    figures.begin(watched({"done": 3, "error": 2, "cancelled": 1}, kinds=[kind(2, "OSError", "no", "a")]))
    html = figures_seen(figures)[0]
    colours = set(re.findall(r"color: (#[0-9a-f]{6})", html))

    assert len(colours) == 3
    assert all(contrast(colour, ground) >= 3.9 for colour in colours)


def test_elsewhere_there_is_no_place():
    """A script, and a prompt."""
    assert not is_notebook()
    assert Place.here() is None
    assert not Place(1, "x").is_here
