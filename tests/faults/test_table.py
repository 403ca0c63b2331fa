"""The table in README.md and the tests are the same."""

from __future__ import annotations

import ast
import re

import pytest

from faults.tools import HERE


def defined() -> set[str]:
    """Return the names of all fault tests."""
    return {
        node.name
        for path in HERE.glob("test_*.py")
        if path.name != "test_table.py"
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_row_has_its_test_and_every_test_its_row():
    """Nothing is promised that is not tried."""
    assert set(re.findall(r"`(test_\w+)`", (HERE / "README.md").read_text())) == defined()


def test_what_the_guarantees_name_exists():
    """The page for users names tests, files and promises that are there."""
    page = HERE.parent.parent / "docs" / "explanation" / "guarantees.md"
    if not page.exists():
        pytest.fail("docs/explanation/guarantees.md is gone")
    text = page.read_text()
    assert set(re.findall(r"`(test_\w+)`", text)) <= defined()
    assert {f"P{number}" for number in range(1, 18)} <= set(re.findall(r"\bP\d+\b", text))
