"""Pages in a real browser, light and dark, as PNG."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Page, sync_playwright

WIDTH = 1200


@contextmanager
def browser() -> Iterator[Page]:
    """Open a page in Chromium: the installed one, or Playwright's own."""
    installed = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=installed, args=["--no-sandbox"])
        try:
            yield chromium.new_page(reduced_motion="reduce")
        finally:
            chromium.close()


def shoot(page: Page, output: Path, height: int, scheme: Literal["light", "dark"]) -> None:
    """Write a screenshot of a window of this height."""
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.screenshot(path=output)
