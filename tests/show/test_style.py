"""The styles that all pages share: readable, and asking for nothing from anywhere."""

from __future__ import annotations

import re

import pytest

from pipeloom.show.html import style

TEXT = ("ink", "soft", "error", "timed-out", "link")
SIGNS = ("done", "running", "stopped")


def luminance(colour):
    """Return a colour's relative luminance (WCAG 2.2)."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    """Return the contrast ratio of two colours, from 1 to 21."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.fixture
def schemes():
    """The colours by name: light, dark and printed."""
    found = [
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", style(), re.DOTALL)
    ]
    assert len(found) == 3
    assert len({frozenset(colours) for colours in found}) == 1
    return found


def test_text_can_be_read(schemes):
    """4.5 to 1 at least, on both grounds; what only draws, 3 to 1."""
    for colours in schemes:
        for ground in ("paper", "raised"):
            for name in TEXT:
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground, colours)
        for name in SIGNS:
            assert contrast(colours[name], colours["paper"]) >= 3, (name, colours)


def test_nothing_is_fetched():
    """Neither fonts nor pictures: what is named by url() is in the page."""
    assert re.findall(r"@import|@font-face|url\((?!#)|https?:", style()) == []
