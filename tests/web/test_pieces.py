"""What the parts of a page are made of."""

from __future__ import annotations

from pipeloom.web import pieces


def test_the_middle_of_a_long_text_is_left_out(monkeypatch):
    """The ends of a traceback say most; the box can be reached with the keyboard."""
    monkeypatch.setattr(pieces, "_LONGEST_BLOCK", 100)
    html = pieces.long_text("a" * 200 + "b" * 200, "Traceback")

    assert "a" * 50 + "\n… 300 characters left out …\n" + "b" * 50 in html
    assert html.startswith('<pre tabindex="0" role="region" aria-label="Traceback">')
