"""The table in README.md and the tests are the same."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from faults.tools import HERE


def defined(folder: Path, pattern: str = "**/test_*.py") -> set[str]:
    """Return the names of all tests in a folder."""
    return {
        node.name
        for path in folder.glob(pattern)
        if path.name != "test_table.py"
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_row_has_its_test_and_every_test_its_row():
    """Nothing is promised that is not tried; some faults are tried where their subject is."""
    named = set(re.findall(r"`(test_\w+)`", (HERE / "README.md").read_text(encoding="utf-8")))

    assert defined(HERE) - named == set()
    assert named - defined(HERE.parent) == set()


def test_what_the_guarantees_name_exists():
    """The page for users names tests, files and promises that are there."""
    page = HERE.parent.parent / "docs" / "explanation" / "guarantees.md"
    if not page.exists():
        pytest.fail("docs/explanation/guarantees.md is gone")
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"`(test_\w+)`", text)) - defined(HERE.parent) == set()
    assert {f"P{number}" for number in range(1, 27)} <= set(re.findall(r"\bP\d+\b", text))
