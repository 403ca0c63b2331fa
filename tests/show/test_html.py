"""HTML from values: what is not HTML is text."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeloom.show.html import Html, block, facts, join, tag


class Elements(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.found = []
        self.attributes = {}
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)
        self.attributes.update(attrs)

    def handle_data(self, data):
        self.text += data


@settings(max_examples=40)
@given(st.text(max_size=80))
def test_no_text_becomes_an_element_or_an_attribute(text):
    """Whatever it holds, as a child, in an attribute, or as a block."""
    page = Elements(tag("p", text, [text, 1, None], title=text) + block(text, aria_label=text))

    assert page.found == ["p", "pre"]
    assert set(page.attributes) == {"title", "aria-label"}
    assert page.text.isprintable() or "\n" in page.text


def test_html_stays_as_it_is():
    """Nested elements are not escaped again; ``None`` and ``False`` are nothing, 0 is something."""
    assert tag("p", tag("b", "x"), None, False, 0, " & ") == "<p><b>x</b>0 &amp; </p>"
    assert join(Html("<i>"), " & ", tag("b", "x")) == "<i> &amp; <b>x</b>"


def test_attributes_are_named_as_html_names_them():
    """Bare ones, left-out ones, and those of SVG."""
    assert tag("input", data_since=1.5, class_="a", hidden=True, open=False, title=None) == (
        '<input data-since="1.5" class="a" hidden>'
    )


def test_facts_without_a_value_are_left_out():
    """What is not known says nothing."""
    told = facts([("Host", "a & b"), ("Worker", None), ("Ended", ""), ("Try", tag("b", 0))])

    assert Elements(told).text == "Hosta & bTry0"
