"""Calls that are wrong in themselves: whoever begins a run has to refuse them, and says the same."""

from __future__ import annotations

from typing import Final

import pytest

__all__ = ["WRONG_CALLS"]

WRONG_CALLS: Final = pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ((abs,), {}, "items"),
        ((abs, [1]), {}, "db"),
        ((abs, [1]), {"db": "x.db", "dbb": 1}, "dbb"),
        ((abs, [1]), {"db": "x.db", "workers": 0}, "workers must be at least 1"),
        ((abs(-1), [1]), {"db": "x.db"}, "fn must be a function"),
    ],
)
