"""A report as data, without a run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeloom import Failure, FailureKind, RunReport

DONE = RunReport(
    run_id=7,
    status="done",
    done=1200,
    failed=0,
    cancelled=0,
    timed_out=0,
    skipped=3,
    total=1203,
    elapsed_s=0.5,
    failures=(),
    pipeline="m:f",
    db="out.db",
)
FAILED = replace(
    DONE,
    status="error",
    failed=7,
    total=1210,
    failures=tuple(Failure(f"k{n}", 1, "ValueError", f"no {n}", None) for n in range(7)),
    kinds=(
        FailureKind(
            "0badf00d",
            "error",
            "ValueError",
            "/a/load.py:7 in f",
            "no …",
            6,
            Failure("k0", 1, None, "no 0", None),
            "k6",
        ),
        FailureKind(
            "0badcafe", "timed_out", None, None, "… s", 1, Failure("k2", 1, None, "5 s", None, "timed_out"), "k2"
        ),
    ),
)


def test_it_reads_as_one_line_and_the_kinds_of_failure():
    """Counts that are 0 are left out; a failure that is alone is told in full."""
    assert str(DONE) == "m:f: 1,200 done, 3 skipped (done before) in 500 ms (out.db, run 7)"
    lines = str(FAILED).splitlines()
    assert lines[0] == "m:f: 1,200 done, 7 failed, 3 skipped (done before) in 500 ms (out.db, run 7)"
    assert lines[1:] == [
        "  ✗ 6 \N{MULTIPLICATION SIGN} ValueError: no … (load.py:7 in f; first k0, last k6)",
        "  ✗ 1 \N{MULTIPLICATION SIGN} timed out: 5 s (k2)",
    ]
    many = replace(FAILED, kinds=FAILED.kinds * 6)
    assert str(many).splitlines()[9:] == ["  … and 14 more, of 4 other kinds"]
    one_more = replace(FAILED, kinds=(FAILED.kinds * 6)[:9])
    assert str(one_more).splitlines()[9:] == ["  … and 6 more, of 1 other kind"]
    assert str(replace(DONE, done=0, skipped=0, total=0, pipeline=None, run_id=None)) == (
        "run: no inputs in 500 ms (out.db)"
    )


def test_kinds_are_found_in_the_failures_of_one_that_a_program_made():
    """Whether they have tracebacks or not."""
    made = replace(FAILED, kinds=())

    assert [(kind.exception, kind.message, kind.count, kind.last) for kind in made.kinds] == [
        ("ValueError", "no …", 7, "k6")
    ]
    assert DONE.kinds == ()


@pytest.mark.parametrize(
    ("status", "colour"), [("done", "green"), ("interrupted", "yellow"), ("error", "red"), ("cancelled", "red")]
)
def test_its_first_line_is_coloured_by_how_it_ended(status, colour):
    """On the console; the text is the same."""
    shown = replace(FAILED, status=status).__rich__()

    assert shown.plain == str(FAILED)
    assert shown.style == f"bold {colour}"


def test_one_that_no_run_made_says_so():
    """A program may make one to try its own code; only what needs the run is refused."""
    assert not FAILED.has_exceptions
    DONE.raise_for_failures()
    with pytest.raises(ValueError, match="not created by a run"):
        FAILED.raise_for_failures()
    with pytest.raises(ValueError, match="not created by a run"):
        FAILED.results()
