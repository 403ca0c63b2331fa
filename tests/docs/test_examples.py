"""Every example of the documentation does what its page says. README.md here explains the comments on the pages."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from contextlib import ExitStack, chdir
from pathlib import Path

import click
import pytest
from blocks import DOCS, KINDS, Block, Program, blocks, pages, programs

from pipeloom.cli import cli

PAGES = pages()
ALL = {program.place: program for page in PAGES for program in programs(page)}
MARK = "=== the next block of the page ==="
LIMIT_S = 30


def matches(shown: str, printed: str) -> bool:
    """Whether it was printed; three dots match anything."""
    pattern = ".*".join(re.escape(part) for part in shown.rstrip().split("..."))
    return re.fullmatch(pattern, printed.rstrip(), re.DOTALL) is not None


def run(program: Program, folder: Path) -> None:
    """Run it and the programs above it that share its folder; check what the page says of each."""
    if program.before is not None:
        run(program.before, folder)
    texts = [block.code for block in program.blocks]

    def replace(old: str, new: str) -> None:
        assert any(old in text for text in texts), f"{program.place} has no {old!r}"
        texts[:] = [text.replace(old, new) for text in texts]

    with ExitStack() as stack, chdir(folder):
        exec(program.mark("prepare") or "", {"replace": replace, "enter": stack.enter_context})
        if program.mark("no-run") is None:
            name = program.mark("file") or "example.py"
            Path(name).write_text(f"\nprint({MARK!r}, flush=True)\n".join(texts), encoding="utf-8")
            status, said, complaints = call([sys.executable, name], folder)
            assert status == int(program.mark("exit") or 0), f"{program.place}: {complaints[-3000:]}"
            printed = said.split(MARK + "\n")
            for block, shown, actual in zip(program.blocks, program.outputs, printed, strict=True):
                assert shown is None or matches(shown, actual), f"{block.place} printed:\n{actual}"
        for block in program.commands:
            for command, shown in commands(block):
                words = shlex.split(command)
                if words[0] == "python":
                    words[0] = sys.executable
                elif words[0] == "pipeloom":
                    words[:1] = [sys.executable, "-m", "pipeloom"]
                else:
                    continue
                _, said, complaints = call(words, folder, together=True)
                assert matches(shown, said), f"{block.place}: {command} printed:\n{said}{complaints}"


def call(words: list[str], folder: Path, *, together: bool = False) -> tuple[int, str, str]:
    """Run a program to its end: its exit code, what it printed, and what it complained of."""
    surroundings = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        words,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if together else subprocess.PIPE,
        text=True,
        encoding="utf-8",
        timeout=LIMIT_S,
        env=surroundings | {"COLUMNS": "120", "PYTHONUTF8": "1", "NO_COLOR": "1"},
        check=False,
    )
    return done.returncode, done.stdout, done.stderr or ""


def commands(block: Block) -> list[tuple[str, str]]:
    """The commands of a block, continued lines joined, each with the output shown below it."""
    found: list[tuple[str, str]] = []
    for line in block.code.replace("\\\n", "").splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif found:
            found[-1] = (found[-1][0], found[-1][1] + line + "\n")
    return found


RUN = [place for place, program in ALL.items() if program.mark("no-run") is None or program.commands]


@pytest.mark.parametrize("place", RUN)
def test_an_example_prints_what_its_page_says(tmp_path, place):
    """Each program as it is printed, in a folder of its own."""
    run(ALL[place], tmp_path)


def test_what_is_not_run_says_why():
    """A reason stands in the comment."""
    for program in ALL.values():
        for kind in ("no-run", "no-types"):
            reason = program.mark(kind)
            assert reason is None or len(reason.split()) > 1, program.place


def test_comments_before_blocks_are_understood():
    """A mark with a typing error would go unnoticed."""
    for page in PAGES:
        for comment in re.findall(r"<!--\s*([\w-]+)", page.read_text(encoding="utf-8")):
            assert comment in KINDS, f"{page.name}: <!-- {comment} -->"


@pytest.fixture(scope="module")
def extracted(tmp_path_factory) -> Path:
    """All programs, a file each, for the type checkers."""
    folder = tmp_path_factory.mktemp("examples")
    for program in ALL.values():
        if program.mark("no-types") is None:
            name = re.sub(r"\W+", "_", program.place.replace(".md", ""))
            (folder / f"{name}.py").write_text(f"# {program.place}\n{program.code}", encoding="utf-8")
    if not any(folder.iterdir()):
        pytest.skip("there is none yet")
    return folder


def test_mypy_accepts_every_example(extracted):
    """With the bodies of functions that have no annotations."""
    options = ["--check-untyped-defs", "--ignore-missing-imports", "--config-file=", "--cache-dir=.cache/mypy-docs"]
    words = [sys.executable, "-m", "mypy", *options, str(extracted)]
    done = subprocess.run(words, cwd=DOCS.parent, capture_output=True, text=True, timeout=LIMIT_S * 5, check=False)

    assert done.returncode == 0, done.stdout


def test_pyright_accepts_every_example(extracted):
    """As an editor would show it."""
    words = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, str(extracted)]
    done = subprocess.run(words, cwd=extracted, capture_output=True, text=True, timeout=LIMIT_S * 5, check=False)

    assert done.returncode == 0, done.stdout


def console() -> list[tuple[str, str]]:
    """Where each command of ours stands, and the command."""
    found = [(block, command) for page in PAGES for block in blocks(page) for command, _ in commands(block)]
    return [(block.place, command) for block, command in found if command.startswith("pipeloom ")]


def test_commands_on_the_pages_exist():
    """Every ``$ pipeloom`` line names a command and options that it has."""
    for place, command in console():
        words = shlex.split(re.split(r"[|;&>]", command, maxsplit=1)[0], comments=True)[1:]
        group: click.Command = cli
        with click.Context(cli) as ctx:
            while isinstance(group, click.Group) and words and not words[0].startswith("-"):
                found = group.get_command(ctx, words.pop(0))
                assert found is not None, f"{place}: {command}"
                group = found
            known = {
                name for parameter in group.get_params(ctx) for name in parameter.opts + parameter.secondary_opts
            }
        options = {word.partition("=")[0] for word in words if word.startswith("-") and len(word) > 1}
        assert options <= known, f"{place}: {command}: {options - known}"
