"""Names shortened by what they share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeloom.data.differing import cells, shortened

PARTS = [f"/home/ann/data/2013/{month:02}/part-{part:04}.csv" for month in (1, 2) for part in (1, 2, 13)]
URLS = [f"https://example.org/api/v1/items/{item}/details?format=json&lang=en" for item in (12, 345, 346)]


def test_names_that_fit_stay():
    """Nothing is cut where there is room."""
    assert shortened(PARTS, 36) == PARTS
    assert shortened([], 10) == []


@pytest.mark.parametrize(
    ("width", "first"),
    [
        (30, "/home/ann/…/01/part-0001.csv"),
        (20, "…/01/part-0001.csv"),
        (16, "…01/par…0001.csv"),
        (12, "…01/…0001.c…"),
    ],
)
def test_what_is_shared_is_cut_first(width, first):
    """The differing part stays readable, at the beginning of a folder or a word where there is room."""
    short = shortened(PARTS, width)
    assert short[0] == first
    assert len(set(short)) == len(PARTS)


def test_a_shared_end_goes_when_there_is_no_other_room():
    """What follows the difference is cut after what comes before it."""
    assert shortened(URLS, 50)[0] == "https://…/12/details?format=json&lang=en"
    assert shortened(URLS, 20)[1:] == ["…345/details?format…", "…346/details?format…"]


def test_one_outlier_costs_the_others_nothing():
    """A name that begins otherwise does not bring the shared beginning of the others back."""
    other = "/srv/other/thing-with-a-very-long-name-that-does-not-fit.parquet"
    short = shortened([*PARTS, other, "short"], 20)
    assert short[:2] == ["…/01/part-0001.csv", "…/01/part-0002.csv"]
    assert short[-1] == "short"
    assert len(set(short)) == len(PARTS) + 2


def test_an_end_that_differs_says_more_than_the_folder():
    """The only one of another folder is not cut to that."""
    names = ["/data/2023/04/part-1000000.csv", *(f"/data/2022/04/part-{part}.csv" for part in (999980, 999960))]
    assert shortened(names, 13) == ["…1000000.csv", "…999980.csv", "…999960.csv"]


def test_names_that_differ_twice_stay_apart():
    """Both differences are shown when the last one alone would not tell."""
    names = [f"{first * 15}/{second}/zzzzzz" for first in "ab" for second in "12"]
    assert shortened(names, 12) == ["aaaa…1/zzzz…", "aaaa…2/zzzz…", "bbbb…1/zzzz…", "bbbb…2/zzzz…"]


def test_a_name_alone_is_cut_in_its_middle():
    """There is nothing to differ from, so both ends are kept; repeated, it is still alone."""
    assert shortened(PARTS[:1] * 2, 30) == ["/home/ann/data/…/part-0001.csv"] * 2
    assert shortened(PARTS[:1], 12) == ["/home/…1.csv"]


def test_a_difference_deep_in_a_long_word_is_shown():
    """A word without any boundary is cut a few characters before the difference."""
    names = ["a" * 64 + char + "b" * 40 for char in "xyz"]
    assert shortened(names, 10) == ["…aaaxbbbb…", "…aaaybbbb…", "…aaazbbbb…"]


def test_wide_characters_take_two_cells():
    """Widths are counted as a terminal does."""
    names = ["資料/二〇一三年/一月/部分-0001.csv", "資料/二〇一三年/一月/部分-0002.csv"]
    assert shortened(names, 20) == ["…/部分-0001.csv", "…/部分-0002.csv"]
    assert cells("部分é") == 5
    assert cells("e\u0301") == 1


@given(st.lists(st.text(alphabet="ab/- 資\u0301", max_size=30), max_size=8), st.integers(1, 30))
def test_every_name_fits(names, width):
    """Whatever the names are, each fits, and those that fitted are as they were."""
    short = shortened(names, width)
    assert len(short) == len(names)
    for name, cut in zip(names, short, strict=True):
        assert cells(cut) <= width
        assert cut == name or cells(name) > width
