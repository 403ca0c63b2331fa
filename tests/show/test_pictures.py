"""Pictures of a run: well-formed, bounded, and readable without colours or eyes."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from pipeloom.history import History
from pipeloom.history.figures import Bar, Durations, Lane, Throughput, Timeline
from pipeloom.show.html import style
from pipeloom.show.pictures import durations_picture, rate_unit, throughput_picture, timeline_picture

SVG = "{http://www.w3.org/2000/svg}"
SHAPES = {SVG + name for name in ("rect", "path", "line", "circle", "polygon", "polyline")}
HOSTILE = "</title><script>alert(1)</script>\x1b[31m\x00\u202e\"'&]]>\ud800"


def lane_of(bars=(), **columns):
    """A lane with defaults."""
    return Lane("thread-1", 1, len(bars), 0, 0, 0.5, tuple(bars), **columns)


def read(picture):
    """Parse a picture; it is well-formed, or the test fails."""
    root = ET.fromstring(picture)
    assert root.tag == SVG + "svg"
    return root


def shapes(root):
    """Return everything that is drawn."""
    return [element for element in root.iter() if element.tag in SHAPES]


@pytest.fixture
def pictures(record, db):
    """Record a run and draw it; returns the parsed pictures."""

    def drawing(attempts, **run):
        record(attempts, **run)
        with History(db) as history:
            told = history.figures(history.latest_run())
        return [
            read(timeline_picture(told.timeline)),
            read(throughput_picture(told.throughput, told.span_s)),
            read(durations_picture(told.durations)),
        ]

    return drawing


def test_pictures_say_in_words_what_they_show(pictures):
    """An image with a title and a description, which its label names."""
    for root in pictures([{"took": 0.5}, {"status": "error", "took": 2.0}]):
        assert root.get("role") == "img"
        title, description = root.get("aria-labelledby").split()
        assert root.find(f"{SVG}title").get("id") == title
        assert root.find(f"{SVG}desc").get("id") == description
        assert "2 attempts" in root.find(f"{SVG}desc").text


@pytest.mark.parametrize(
    ("count", "workers"),
    [(1, 1), (1200, 1), (1200, 40), (1201, 40), (1201, 300), pytest.param(20_000, 300, marks=pytest.mark.slow)],
)
def test_shapes_are_bounded(pictures, count, workers):
    """Two thousand at most, whatever the number of tasks and workers."""
    attempts = (
        {
            "start": n / count * 9,
            "took": (n % 1000) / 1000 + 0.0001,
            "worker": f"thread-{n % workers}",
            "status": "error" if n % 3 == 0 else "cancelled" if n % 3 == 1 else "done",
        }
        for n in range(count)
    )
    for root in pictures(attempts, workers=workers):
        assert 0 < len(shapes(root)) <= 2000


def test_form_says_what_colour_says():
    """Each status has a class of its own, and its name in the bar's title; what is unknown looks stopped."""
    statuses = ("done", "error", "timed_out", "cancelled", "interrupted", "running", "weird")
    bars = [Bar(n, f"task-{n}", 1, status, n, n + 1, False) for n, status in enumerate(statuses)]
    root = read(timeline_picture(Timeline(10.0, "bars", (lane_of(bars),))))
    drawn = [rect for rect in root.iter(SVG + "rect") if rect.find(SVG + "title") is not None]

    assert [rect.get("class") for rect in drawn] == [*statuses[:-1], "cancelled"]
    for rect, status in zip(drawn, statuses, strict=True):
        assert status.replace("_", " ") in rect.find(SVG + "title").text
    for kind in ("error", "timed-out", "running"):
        assert f"url(#timeline-{kind})" in style()
        assert any(pattern.get("id") == f"timeline-{kind}" for pattern in root.iter(SVG + "pattern"))


def test_foreign_text_is_inert():
    """A name is text, whatever it holds; so is a worker's."""
    bar = Bar(1, HOSTILE, 1, "done", 0.0, 1.0, False)
    picture = timeline_picture(Timeline(1.0, "bars", (Lane(HOSTILE, 1, 1, 0, 0, 1.0, (bar,)),)))
    read(picture)

    assert "<script" not in picture
    assert all(char.isprintable() for char in picture)


def test_an_open_end_is_said():
    """A running bar took so long so far; an interrupted one has no length to speak of."""
    bars = [Bar(1, "a", 2, "running", 1.0, 3.0, True), Bar(2, "b", 1, "interrupted", 1.0, 3.0, True)]
    picture = timeline_picture(Timeline(3.0, "bars", (lane_of(bars),)))

    assert "a (1): running, try 2, from 1.0 s, 2.0 s so far" in picture
    assert "b (2): interrupted, from 1.0 s<" in picture


def test_the_shortest_bar_is_seen():
    """However long the run: at least a line, and within the picture; one that failed is the longer one."""
    bars = [Bar(1, "a", 1, "done", 0.0, 0.001, False), Bar(2, "b", 1, "error", 3600.0, 3600.0, False)]
    root = read(timeline_picture(Timeline(3600.0, "bars", (lane_of(bars),))))
    done, error = (rect for rect in root.iter(SVG + "rect") if rect.find(SVG + "title") is not None)

    assert (done.get("class"), error.get("class")) == ("done thin", "error thin")
    assert done.get("width") == error.get("width") == "0.15%"
    assert error.get("x") == "99.85%"
    assert float(error.get("height")) > float(done.get("height"))


def test_density_is_few_shapes():
    """One area a lane, one path for all of its failures, one for what was stopped."""
    lane = lane_of(columns=(0.0, 1.0, 0.5, 0.5), failing=(0.0, 1.0, 0.0, 0.01), stops_in=(2,))
    root = read(timeline_picture(Timeline(4.0, "density", (lane,))))
    paths = {path.get("class"): path.get("d") for path in root.iter(SVG + "path")}

    assert set(paths) == {"done", "failures", "stops"}
    assert paths["done"] == "M1 10V0H2V5H4V10Z"
    assert paths["failures"] == "M1 0V6H2V0ZM3 0V1.2H4V0Z"  # the deeper, the more of them; nothing along the line


def test_what_was_not_done_hangs_below_the_line():
    """To the same scale, and it can be seen, be it one among ten thousand."""
    picture = throughput_picture(Throughput(1.0, (10_000, 0), (1, 0)), 2.0)
    done, others = (
        next(r for r in read(picture).iter(SVG + "rect") if r.get("class") == f"{kind} throughput")
        for kind in ("done", "others")
    )

    assert float(others.get("height")) == 3.0
    assert float(others.get("y")) == pytest.approx(float(done.get("y")) + float(done.get("height")), abs=0.11)
    assert "10,001 ended, 1 not done" in picture


@pytest.mark.parametrize(
    ("count", "slice_s", "unit"), [(5, 1.0, "second"), (5, 100.0, "minute"), (1, 1000.0, "hour"), (0, 1.0, "hour")]
)
def test_rates_are_per_what_gives_whole_numbers(count, slice_s, unit):
    """Three files an hour are not 0.0008 a second."""
    assert rate_unit(Throughput(slice_s, (count,), (0,))) == unit


@pytest.mark.parametrize(("shortest", "longest"), [(1e-6, 1e-5), (0.001, 1000.0), (0.5, 0.52), (3600.0, 9e6)])
def test_axis_labels_do_not_collide(shortest, longest):
    """Seven at most on either scale, all different."""
    for scale in ("linear", "log"):
        edges = (shortest, (shortest + longest) / 2, longest)
        picture = durations_picture(Durations(scale, edges, (1, 2), (0, 0), shortest, shortest, longest, longest))
        labels = re.findall(r'class="tick[ a-z]*"><line[^>]*/><text[^>]*>([^<]*)<', picture)
        assert len(labels) == len(set(labels)) <= 8, labels


def test_names_of_bars_are_told_apart():
    """Long ones by the part that differs."""
    bars = [Bar(n, f"https://example.com/{'catalogue/' * 20}{n}.json", 1, "done", n, n + 1, False) for n in (1, 2)]
    picture = timeline_picture(Timeline(3.0, "bars", (lane_of(bars),)))

    assert "/…/1.json (1)" in picture
    assert "/…/2.json (2)" in picture


@pytest.mark.parametrize(
    ("span", "labels"),
    [
        (0.35, ["0", "50 ms", "100 ms", "150 ms", "200 ms", "250 ms", "300 ms", "350 ms"]),
        (60.0, ["0", "10 s", "20 s", "30 s", "40 s", "50 s", "1:00"]),
        (202.0, ["0", "30 s", "1:00", "1:30", "2:00", "2:30", "3:00"]),
        (9000.0, ["0", "30:00", "1:00:00", "1:30:00", "2:00:00", "2:30:00"]),
        (400_000.0, ["0", "1 d", "2 d", "3 d", "4 d"]),
    ],
)
def test_times_are_spelt_as_elsewhere(span, labels):
    """At round places."""
    picture = timeline_picture(Timeline(span, "density", (lane_of(columns=(1.0,)),)))

    assert re.findall(r'class="tick[ a-z]*"><line[^>]*/><text[^>]*>([^<]*)<', picture) == labels
