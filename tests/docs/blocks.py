"""Code blocks of the documentation, and the programs that they make up. See README.md in this folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

DOCS = Path(__file__).parent.parent.parent / "docs"
FENCE = re.compile(r"^( *)```([\w-]*)[^\n]*\n(.*?)^\1```[ \t]*$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!--((?:(?!-->).)*)-->\s*\Z", re.DOTALL)
KINDS = {"no-run", "no-types", "continues", "same-folder", "file", "exit", "prepare", "run", "output"}


@dataclass
class Block:
    """One fenced block: where it stands, what it holds, and what the comments before it say."""

    page: str
    line: int
    language: str
    code: str
    marks: dict[str, str]
    follows: bool
    """Whether nothing but comments stands between the block above and this one."""

    @property
    def place(self) -> str:
        """As editors name it."""
        return f"{self.page}:{self.line}"


@dataclass
class Program:
    """A block and those that continue it, with what each prints, as far as the page says so."""

    blocks: list[Block]
    outputs: list[str | None] = field(default_factory=list)
    before: Program | None = None
    """The program above, when this one runs in its folder."""
    commands: list[Block] = field(default_factory=list)
    """The ``console`` blocks to be run after it."""

    @property
    def place(self) -> str:
        """Where it begins."""
        return self.blocks[0].place

    def mark(self, kind: str) -> str | None:
        """What a comment before any of its blocks says."""
        return next((block.marks[kind] for block in self.blocks if kind in block.marks), None)

    @property
    def code(self) -> str:
        """All of it."""
        return "\n".join(block.code for block in self.blocks)


def pages() -> list[Path]:
    """All pages that somebody has written."""
    return sorted(DOCS.rglob("*.md"))


def blocks(path: Path) -> Iterator[Block]:
    """All fenced blocks of a page."""
    text = path.read_text(encoding="utf-8")
    end = 0
    for found in FENCE.finditer(text):
        between, marks = text[end : found.start()], {}
        while comment := COMMENT.search(between):
            kind, _, rest = comment[1].strip().partition("\n" if comment[1].strip().startswith("prepare") else ":")
            if kind.strip() in KINDS:
                marks[kind.strip()] = rest if kind.strip() == "prepare" else rest.strip()
            between = between[: comment.start()]
        indent, language, code = found.groups()
        code = re.sub(f"^{indent}", "", code, flags=re.MULTILINE)
        line = text.count("\n", 0, found.start()) + 1
        follows = end > 0 and not between.strip()
        yield Block(path.relative_to(DOCS).as_posix(), line, language, code, marks, follows)
        end = found.end()


def programs(path: Path) -> list[Program]:
    """The Python programs of a page, in its order."""
    found: list[Program] = []
    above = ""
    for block in blocks(path):
        if block.language == "python":
            if "continues" in block.marks:
                found[-1].blocks.append(block)
            else:
                before = found[-1] if "same-folder" in block.marks else None
                found.append(Program([block], before=before))
            found[-1].outputs.append(None)
        elif block.language == "text" and found:
            if (above == "python" and block.follows) or "output" in block.marks:
                found[-1].outputs[-1] = block.code
        elif block.language == "console" and "run" in block.marks:
            found[-1].commands.append(block)
        above = block.language
    return found
