"""What failures have in common: exception, place, and message but for its particulars."""

import subprocess
import sys

import pytest

from pipeloom.data.kinds import Kinds, short, template
from pipeloom.statuses import NEVER_BEGAN, PROCESS_ENDED

PARTICULAR = {
    "line 3 column 14 (char 15)": "line … column … (char …)",
    "hour must be in 0..23, not 25": "hour must be in …, not …",
    "could not convert string to float: 'N/A'": "could not convert string to float: …",
    "can't open 'it's.txt'": "can't open …",
    "[Errno 2] No such file or directory: /data/a-b/c.csv": "[Errno 2] No such file or directory: …",
    "at 0x7f2e4c3b1a90 in C:\\temp\\x.txt": "at … in …",
    "bad <b>3</b>": "bad <b>…</b>",
    "id 6ba7b810-9dad-11d1-80b4-00c04fd430c8 gone": "id … gone",
    "invalid literal for int() with base 10: 'abc'": "invalid literal for int() with base 10: …",
    "took 1,204.5 s, then 3.2e4": "took … s, then …",
    "bad facade, deadbeef and or/and": "bad facade, deadbeef and or/and",
    "city 'Paris' is unknown": "city … is unknown",
    "error: 17 is no month": "error: … is no month",
    "the server returned 200 rows": "the server returned … rows",
    "postal code 75013": "postal code …",
    "'page 7'": "…",
    "no rates at 2026-01-31T12:00:00.5+00:00 or 2026-01-31 12:00": "no rates at … or …",
    "user x.y+z@mail.example.com is gone": "user … is gone",
    "host fe80::1 is down, and ::1": "host … is down, and …",
    "Cannot connect to host a.example.org:443 ssl:default": "Cannot connect to host … ssl:default",
    "commit da39a3e, customer AB12CD, after 1.5s": "commit …, customer …, after …",
    "value -3 (-0.5, 1e-9, 1_000) is too small": "value … (…) is too small",
    "tried 20.00 MiB of 7.79 GiB": "tried … of …",
    "cannot allocate 149. MiB for shape (10000, 2000)": "cannot allocate … for shape (…)",
    "with shapes (3,) (4,2)": "with shapes (…) (…)",
    "bad record {'id': 1, 'name': 'b c'}": "bad record {…}",
    "cannot read data/x/a-b.csv: empty": "cannot read …: empty",
    "cannot read ../a.b, ~/x, ./y or a\\b.dat.": "cannot read … or ….",
    "cannot read my_prices.csv.gz: empty": "cannot read …: empty",
    "bad magic b'PK' or u'x'": "bad magic … or …",
    "„Übersicht“ und «a»": "… und …",
    "There is no item named 'a.txt'": "There is no item named …",
    "no number in '-'": "no number in …",
    "\n \n late 7": "late …",
    "no text/html, and/or HTTP/2": "no text/html, and/or HTTP/…",
    "first line\nsecond 'one'": "first line",
    "": "",
}
CODES = {
    "GET https://example.org/a?b=1 failed: 503": "GET … failed: 503",
    "Client error '404 Not Found' for url 'https://example.org/7'\nMore": "Client error '404 Not Found' for url …",
    "404 Client Error: Not Found for url: https://example.org/8": "404 Client Error: Not Found for url: …",
    "404, message='Not Found', url='https://example.org/8'": "404, message=…, url=…",
    "HTTP Error 404: Not Found": "HTTP Error 404: Not Found",
    "<Response [404]>": "<Response [404]>",
    "page-77: status 404": "page-…: status 404",
    "status_code=404": "status_code=404",
    "http://example.org/y returned 404": "… returned 404",
    "<urlopen error [Errno 111] Connection refused>": "<urlopen error [Errno 111] Connection refused>",
    "Command 'ls' returned non-zero exit status 1.": "Command … returned non-zero exit status 1.",
    "(1062, \"Duplicate entry 'x' for key 'y'\")": "(1062, …)",
    "ORA-00942: table or view does not exist": "ORA-00942: table or view does not exist",
}
NAMES = {
    "'price'": "'price'",
    "\"['price'] not in index\"": "['price'] not in index",
    "\"None of [Index(['a'], dtype='b')] are in it\"": "None of [Index(['a'], dtype=…)] are in it",
    'violates unique constraint "users_pkey"': 'violates unique constraint "users_pkey"',
    'relation "orders" does not exist': 'relation "orders" does not exist',
    "'name' is a required property": "'name' is a required property",
    "Expecting ',' delimiter: line 1 column 5": "Expecting ',' delimiter: line … column …",
    "'<' not supported between 'str' and 'int'": "'<' not supported between 'str' and 'int'",
    "2 validation errors for User\nage\n  Input is no integer [type=int, input_value='a']\nname": (
        "… validation errors for User age Input is no integer"
    ),
    "missing field 'price' in row 7": "missing field 'price' in row …",
    "'NoneType' object has no attribute 'text'": "'NoneType' object has no attribute 'text'",
    "f() got an unexpected keyword argument 'foo'": "f() got an unexpected keyword argument 'foo'",
    "unsupported operand type(s) for +: 'int' and 'str'": "unsupported operand type(s) for +: 'int' and 'str'",
    "name 'total' is not defined": "name 'total' is not defined",
    "No module named 'orjson'": "No module named 'orjson'",
    'no such table: "a b"': 'no such table: "a b"',
}


@pytest.mark.parametrize(("message", "common"), [*PARTICULAR.items(), *CODES.items(), *NAMES.items()])
def test_what_tells_inputs_apart_is_folded_and_what_tells_faults_apart_is_not(message, common):
    """Numbers, values and paths go; codes and the names of things of the program stay."""
    assert template(message) == common


def test_a_kind_is_known_by_an_id_that_any_process_tells_alike():
    """So that one run's kinds are another's."""
    said = "no price for 'a'"
    kind = Kinds().of("error", said, f'Traceback:\n  File "/home/ann/load.py", line 3, in f\nValueError: {said}')

    assert kind == ("7b6b6ec6", "error", "ValueError", "/home/ann/load.py:3 in f", "no price for …")
    assert kind == Kinds().of("error", "no price for 'b'", 'File "/home/ann/load.py", line 3, in f\nValueError')


def test_a_process_of_its_own_makes_no_other_kind():
    """There, Python calls the module of the program ``__mp_main__``."""
    frame = 'File "load.py", line 3, in f\n'
    here, there = (Kinds().of("error", "no", f"{frame}{module}Bad: no") for module in ("", "__mp_main__."))
    assert here == there
    assert here.exception == "Bad"


def test_what_its_process_left_behind_is_one_kind_whatever_it_said_last():
    """But for what had not begun."""
    kinds = Kinds()

    assert kinds.of("interrupted", f"{PROCESS_ENDED}; it said last: page 7", None).message == PROCESS_ENDED
    assert kinds.of("interrupted", NEVER_BEGAN, None).message == NEVER_BEGAN


@pytest.mark.parametrize("value", [None, 7, b"\xff\xfe", 1.5])
def test_a_column_may_hold_anything(value):
    """Somebody may have written rows by hand."""
    assert Kinds().of("error", value, value).status == "error"


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("/a b/load.py:3 in f", "load.py:3 in f"),
        ("C:\\x\\load.py:3 in f", "load.py:3 in f"),
        ("<stdin>:1 in f", "<stdin>:1 in f"),
    ],
)
def test_a_place_is_short_without_directories(place, shown):
    """On a narrow screen the file's name says enough."""
    assert short(place) == shown


def word(number):
    """Return a word that no other number has."""
    return "".join(chr(ord("g") + int(digit)) for digit in str(number))


def test_messages_without_likeness_are_one_kind_past_fifty():
    """At one place: nobody reads more."""
    kinds = Kinds()
    found = {kinds.of("error", word(number), None) for number in range(5000)}

    assert len(found) == 51
    assert kinds.of("error", word(9999), None).message == "…"


def test_kinds_without_end_take_bounded_memory():
    """Places are told apart no longer, and then exceptions."""
    kinds = Kinds()
    found = {
        kinds.of("error", word(n % 7), f'File "/a/{n}.py", line {n}, in f\n{word(n)}: {word(n % 7)}')
        for n in range(9999)
    }

    assert len(found) == 1501


BUDGET = """
import resource
from pipeloom.data.kinds import Kinds
kinds = Kinds()
def take(n):
    for i in range(n):
        said = f"bad value {i} in 'file {i}'"
        kinds.of("error", said, f"Traceback\\nValueError: {said}")
take(5000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
take(60_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_failures_of_one_kind_take_no_memory():
    """However many."""
    done = subprocess.run([sys.executable, "-c", BUDGET], capture_output=True, text=True, timeout=50, check=True)

    assert int(done.stdout) < 4096  # KiB
