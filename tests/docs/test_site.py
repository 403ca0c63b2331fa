"""The documentation site: builds without a warning, is complete, and works from disk without a network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from surroundings import ROOT

import pipeloom


def of_the_site(name: str) -> Any:
    """A module of the program that makes the site; tests have a package of the same name."""
    place = ROOT / "docs" / "site"
    spec = spec_from_file_location(f"site_{name}", place / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(place)  # for what it imports itself
        spec.loader.exec_module(module)
    return module


api, cli = of_the_site("api"), of_the_site("cli")


@pytest.fixture(scope="session")
def site() -> Path:
    """The site as ``make docs`` builds it. That fails on any warning or broken link."""
    words = [sys.executable, "docs/site/make.py"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=55, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "build" / "site"


@pytest.fixture(scope="session")
def reference(site) -> str:
    """All generated pages."""
    return "".join(path.read_text(encoding="utf-8") for path in sorted((site / "reference").rglob("*.html")))


def test_every_public_name_and_member_has_a_heading(reference):
    """At the root, and in the public modules."""
    assert set(pipeloom.__all__) <= set(api.anchors())
    for name in api.anchors():
        assert f'id="{name}"' in reference, name


def test_every_command_with_every_option_is_there(site):
    """Groups included, as click knows them."""
    page = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    found = list(cli.commands())
    assert len(found) > 18
    for full, command, ctx in found:
        section = re.search(rf'id="{cli.anchor(full)}".*?(?=<h2|\Z)', page, re.DOTALL)
        assert section is not None, full
        for parameter in command.get_params(ctx):
            for option in () if getattr(parameter, "hidden", False) else parameter.opts:
                assert not option.startswith("-") or option in section[0], f"{full} {option}"


def test_docstrings_leave_no_markup_on_the_pages(reference):
    """No roles and no double backticks."""
    text = re.sub(r"<[^>]+>", "", reference)
    assert re.findall(r".{30}(?:``|:(?:func|class|data|meth|attr|mod):).{30}", text) == []


def test_a_name_without_documentation_fails_the_build(monkeypatch):
    """A parameter that no docstring mentions is named in the complaint."""

    def merge(out: str, forgotten: int) -> None:
        """Join files.

        Args:
            out: The file.
        """

    monkeypatch.setattr(pipeloom, "merge", merge)
    with pytest.raises(api.Undocumented, match="merge: forgotten"):
        api.Writer().files()


def test_the_search_finds_names_and_options_from_disk(site):
    """In a browser without a network, from the file itself; nothing asks another host."""
    sync_api = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        assert "CI" not in os.environ
        pytest.skip("no browser is on the PATH")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(offline=True)
        asked: list[str] = []
        context.on("request", lambda request: asked.append(request.url))
        page = context.new_page()
        for text in ("retries", "NameNeededError", "--executor"):
            page.goto((site / "index.html").as_uri())
            page.keyboard.press("/")
            box = page.locator("input[placeholder='Search']")
            box.wait_for(timeout=15_000)
            box.press_sequentially(text)
            page.locator("a[href*='reference/']").filter(has_text=text.strip("-")).filter(
                visible=True
            ).first.wait_for()
        browser.close()

    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
