"""A real browser. Where there is none the tests are skipped, with the reason; in CI that is a failure."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from web.serving import gated, serve

__all__ = ["browser", "gated", "serve", "visit"]

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def _missing(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"in CI nothing may be left out: {reason}")
    pytest.skip(reason)


# For this package only: Playwright keeps an event loop in the main thread, where other tests want their own.
@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Chromium, driven by Playwright; started before the check for leaks looks."""
    try:
        from playwright.sync_api import expect, sync_playwright
    except ImportError:
        _missing("Playwright is not installed: pip install playwright")
    # What is dear to build is built anew after ten times as long as it took: on a busy machine that is a while.
    expect.set_options(timeout=20_000)
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        _missing(f"no browser: none of {', '.join(names)} is on the PATH")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        try:
            yield chromium
        finally:
            chromium.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a page in a window of its own; fail if it had an error, a dialog, or asked anybody else."""
    with ExitStack() as stack:
        wrong: list[str] = []

        def open_page(url: str, **options: Any) -> Any:
            context = browser.new_context(**options)
            stack.callback(context.close)
            context.set_default_timeout(20_000)
            page = context.new_page()
            page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
            page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
            page.on("request", lambda request: request.url.startswith(url[:17]) or wrong.append(request.url))
            page.on(
                "console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None
            )
            page.goto(url)
            return page

        yield open_page
        assert not wrong
