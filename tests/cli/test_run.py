"""``pipeloom run``: a stranger's program, called as it would be by Python itself."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# Types many commands, one after the other: a process for each would take most of the time to start.
TYPIST = """
import contextlib, io, json, sys
from pipeloom import cli
told = []
for words in json.load(sys.stdin):
    sys.argv, out, err = ["pipeloom", *words], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli._run()
        except SystemExit as stop:
            code = stop.code
    told.append((code, out.getvalue(), err.getvalue()))
    assert sys.argv == ["pipeloom", *words]
json.dump(told, sys.stdout)
"""

PROGRAM = """
from __future__ import annotations
import argparse, asyncio, json, sys
import click, pipeloom
from helper import helped

async def main():
    await asyncio.sleep(0)
    return "ran"

def starts():
    return main()

async def asks():
    import asyncio
    return await asyncio.to_thread(loads)

def loads(bad: bool = False):
    return pipeloom.map(lambda n: 1 // n, [1, 0] if bad else [1], db=":memory:", on_error="collect", progress=False)

def loads_twice():
    return [loads(), loads(True)]

def parses():
    parser = argparse.ArgumentParser()
    parser.add_argument("--db", default="x.db")
    parser.add_argument("--fast", action="store_true")
    return vars(parser.parse_args())

def argv():
    return sys.argv

@click.command()
@click.option("--db", default="x.db")
@click.option("-v", is_flag=True)
def clicks(db, v):
    if db == "no":
        raise click.ClickException("no such thing")
    click.echo(f"{db} {v}")
    click.get_current_context().exit(7)

def rows():
    return (n for n in [1])

def exits():
    sys.exit(5)

def exits_in_words():
    sys.exit("in words")

def counts():
    return 3

def fails():
    return helped({})

async def fails_later():
    helped({})

def fails_in_a_library():
    return json.loads(
        "{"
    )

def fails_in_ours():
    pipeloom.map(3, [], db="x.db")

def fails_without_a_word():
    raise ValueError

def fails_with_a_note():
    error = ValueError("bad")
    error.add_note("in line 3")
    raise error

def fails_to_say_why():
    class Silent(Exception):
        def __str__(self):
            raise RuntimeError
    raise Silent

def leaves():
    raise GeneratorExit("gone")

def asks_for_more():
    input()

def fails_in_two():
    try:
        helped({})
    except KeyError as error:
        raise RuntimeError("both") from error

def part(shard, n: int = 2):
    return f"{n} {shard[0]} of {shard[1]}"
"""
HELPER = "def helped(of):\n    return of['x']\n"
FILES = {
    "job.py": PROGRAM,
    "helper.py": HELPER,
    "wrong.py": "def main():\n    return 1 +\n",
    "imports_wrong.py": "import wrong\n",
    "fails_at_import.py": "import helper\nhelper.helped({})\n",
    "lacks.py": "import no_such_module\n",
}
ARGPARSED = "{'db': 'y.db', 'fast': True}\n"
GO_ON = "\n  (-v shows the whole traceback)\n"
TYPED = {
    "run job.py": (0, "ran\n", ""),
    "run job:starts": (0, "ran\n", ""),
    "run job:parses": (0, "{'db': 'x.db', 'fast': False}\n", ""),
    "run job.py:parses -- --db y.db --fast": (0, ARGPARSED, ""),
    "run job.py:argv -- a -- -v": (0, "['job.py', 'a', '--', '-v']\n", ""),
    "run job.py:argv": (0, "['job.py']\n", ""),
    "run job.py:counts": (0, "3\n", ""),
    "run job.py:exits": (5, "", ""),
    "run job.py:exits_in_words": ("in words", "", ""),
    "run job.py:clicks -- --db z -v": (7, "z True\n", ""),
    "run job.py:fails": (1, "", "pipeloom: KeyError: 'x'\n  helper.py:2 in helped: return of['x']" + GO_ON),
    "run job.py:fails -- -v": (1, "", "pipeloom: KeyError: 'x'\n  helper.py:2 in helped: return of['x']" + GO_ON),
    "run job.py:fails_later": (1, "", "pipeloom: KeyError: 'x'\n  helper.py:2 in helped: return of['x']" + GO_ON),
    "run fails_at_import.py": (1, "", "pipeloom: KeyError: 'x'\n  helper.py:2 in helped: return of['x']" + GO_ON),
    "run job.py:fails_without_a_word": (
        1, "", "pipeloom: ValueError\n  job.py:69 in fails_without_a_word: raise ValueError" + GO_ON
    ),
    "run wrong.py": (1, "", "pipeloom: SyntaxError: invalid syntax\n  wrong.py:2: return 1 +" + GO_ON),
    "run imports_wrong.py": (1, "", "pipeloom: SyntaxError: invalid syntax\n  wrong.py:2: return 1 +" + GO_ON),
    "run job.py:part --shard 3/16": (0, "2 3 of 16\n", ""),
    "run job.py:part --shard 1/1 --arg n=7": (0, "7 1 of 1\n", ""),
    "run lacks.py": (
        1, "", "pipeloom: ModuleNotFoundError: No module named 'no_such_module'\n"
        "  lacks.py:1: import no_such_module" + GO_ON,
    ),
}  # fmt: skip
IN_PART = {
    "run job.py:asks": (0, "1 done"),
    "run job.py:loads --arg bad=yes": (1, "1 failed"),
    "run job.py:loads_twice": (1, "1 failed"),
    "run job.py:clicks -- --db": (2, "requires an argument"),
    "run job.py:clicks -- --db no": (1, "Error: no such thing"),
    "run job.py:clicks --arg db=z": (2, "pass its arguments after --, not with --arg"),
    "run job.py:clicks --shard 1/2": (2, "pass its arguments after --, not with --shard"),
    "run job.py:counts --shard 1/2": (2, "needs a function with a parameter named shard: add one, and pass it on"),
    "run job.py:part --shard 1/2 --arg shard=1": (2, "mean the same: leave one out"),
    "run job.py:part --shard 0/2": (2, "shards count from 1, not 0/2: add 1 to an array index"),
    "run job.py:part --shard 2": (2, "is not a shard such as 3/16"),
    "run job.py:rows": (2, "a generator"),
    "run job.py stray": (2, "unexpected extra argument"),
    "run job.py:parses -- --nonsense": (2, "job.py: error: unrecognized arguments: --nonsense"),
    "run job.py:fails_in_a_library": (1, "job.py:61 in fails_in_a_library"),
    "run job.py:fails_in_ours": (1, "in fails_in_ours: pipeloom.map(3,"),
    "run job.py:fails_with_a_note": (1, "ValueError: bad\nin line 3\n  job.py:74 in fails_with_a_note"),
    "run job.py:fails_to_say_why": (1, "Silent: "),
    "run job.py:leaves": (1, "GeneratorExit: gone\n  job.py:83 in leaves"),
    "run job.py:asks_for_more": (1, "EOFError: EOF when reading a line\n  job.py:86"),
    "run -v job.py:fails": (1, 'job.py", line 55, in fails\n'),
    "run -v job.py:fails_later": (1, 'job.py", line 58, in fails_later\n'),
    "run -v job.py:fails_in_two": (1, "The above exception was the direct cause"),
    "run -v fails_at_import.py": (1, 'fails_at_import.py", line 2, in <module>'),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What each command ended with and said."""
    place = tmp_path_factory.mktemp("run")
    for name, text in FILES.items():
        (place / name).write_text(text)
    typed = [*TYPED, *IN_PART]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", TYPIST],
        input=json.dumps([words.split() for words in typed]),
        cwd=place, stdout=subprocess.PIPE, text=True, timeout=60, check=True,
    )  # fmt: skip
    return dict(zip(typed, map(tuple, json.loads(done.stdout)), strict=True))


@pytest.mark.parametrize("words", TYPED)
def test_a_program_is_called_as_by_python_itself(told, words):
    """With its own words, to its end, and with its exit code; an error says where in the program it is."""
    assert told[words] == TYPED[words]


@pytest.mark.parametrize("words", IN_PART)
def test_what_else_it_ends_with(told, words):
    """A report decides the exit code, several do together; tracebacks begin with the user's own code."""
    code, out, err = told[words]
    expected, said = IN_PART[words]

    assert code == expected
    assert said in out + err
    assert "importlib" not in err
    assert "pipeloom/cli" not in err
    assert "never awaited" not in err
    assert err.count("Traceback") == (words.startswith("run -v") + (words == "run -v job.py:fails_in_two"))


def test_a_report_in_a_file_is_one_line_for_each_sentence(tmp_path):
    """It goes into mails and through grep."""
    name = "a-long-name-" * 12
    (tmp_path / "load.py").write_text(
        "import pipeloom\n"
        "def fails(n): raise ValueError('a message of several words ' * 5)\n"
        f"def main(): return pipeloom.map(fails, [1], db='{name}.db', on_error='collect', progress=False)\n"
    )
    words = [sys.executable, "-m", "pipeloom", "run", "load.py"]
    done = subprocess.run(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    first, second = done.stdout.splitlines()

    assert first.startswith("load:fails: 0 done, 1 failed in ")
    assert first.endswith(f"{name}.db, run 1)")
    assert second.endswith("(load.py:2 in fails; 1)")
