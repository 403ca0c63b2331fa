"""What the documents say is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import pipeloom
from pipeloom import cli

ROOT = Path(__file__).parent.parent
PAGES = sorted(path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md"))


def test_the_readmes_program_runs(tmp_path):
    """As it is printed, on two small files; a second call skips them."""
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "load.py").write_text(program)
    folder = tmp_path / "build" / "flights" / "flights"
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        (folder / f"{name}.csv").write_text("carrier,dep_delay,distance\nUA,2,1400\nAA,NA,1089\n")

    def call():
        return subprocess.run(
            [sys.executable, "load.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
        ).stdout

    assert "2 done" in call()
    assert "0 done, 2 skipped" in call()


def test_the_program_that_reads_a_ledger_runs(tmp_path, monkeypatch, capsys):
    """As the page about the ledger has it."""
    monkeypatch.chdir(tmp_path)
    pipeloom.map(abs, [1, 2], db="out.db", progress=False)
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "ledger.md").read_text(), re.DOTALL)
    exec(program, {})

    assert capsys.readouterr().out == "done 2\n"


@pytest.mark.parametrize("command", sorted(cli._COMMANDS))
def test_every_command_is_in_the_guide(command):
    """Nothing that can be typed is undocumented."""
    pages = [(ROOT / "docs" / name).read_text() for name in ("guide.md", "watching.md")]
    assert any(f"pipeloom {command}" in page for page in pages)


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md", *(f"docs/{path}" for path in PAGES)])
def test_links_between_pages_lead_somewhere(page):
    """Relative links name files that exist, and headings that stand in them."""
    path = ROOT / page
    for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", path.read_text()):
        there = path.parent / target if target else path
        assert there.exists(), target
        if heading:
            assert heading in anchors(there.read_text()), f"{target}#{heading}"


def anchors(text):
    """The headings of a page, as links name them."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_every_picture_is_shown_somewhere_and_small():
    """None is left over from an older page, and none makes a clone heavy."""
    pages = "".join(path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    pictures = [path for path in (ROOT / "docs" / "pictures").iterdir() if path.suffix in (".svg", ".png")]
    assert len(pictures) > 5
    for picture in pictures:
        assert f"pictures/{picture.name}" in pages
        assert picture.stat().st_size < 150_000, picture
    shown = re.findall(r"pictures/([\w-]+\.(?:svg|png))", pages)
    assert set(shown) == {picture.name for picture in pictures}
