"""The pages about every public name, generated from signatures and docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import logging
import re
from importlib import import_module
from typing import Any

import griffe

import pipeloom

# The pages: name of the file → title, a sentence, and the names on it. A name that is on no page fails the build.
PAGES: dict[str, tuple[str, str, list[str]]] = {
    "running": (
        "Running tasks",
        "Functions that run tasks, the options they share, and the handle of a run in the background.",
        ["map", "start", "amap", "run_pipeline", "RunHandle", "Limit", "Retry", "RetryLater"],
    ),
    "context": (
        "The context of a task",
        "What a function can do while it processes one input.",
        ["TaskContext", "AsyncTaskContext", "current_task", "current_async_task"],
    ),
    "reports": (
        "Reports",
        "What a run returns, and its progress.",
        ["RunReport", "RunCounts", "TaskOutcome", "Failure", "FailureKind"],
    ),
    "errors": ("Errors", "Every exception that pipeloom defines.", []),
    "merging": ("Merging", "Join the files of several shards.", ["merge", "MergeReport"]),
    "messages": (
        "Messages",
        "What workers send to the writer. All messages are frozen dataclasses that can be pickled.",
        [],
    ),
    "writer": (
        "The writer",
        "For programs that run their own workers.",
        ["SQLiteWriter", "Channel", "TaskDef", "DemoTask", "demo_worker"],
    ),
    "screen": (
        "Screen and logging",
        "Progress bars, the console they are shown on, and log records.",
        [
            "console",
            "logger",
            "setup_logging",
            "make_overall_progress",
            "make_task_progress",
            "preregister_task_bars",
        ],
    ),
    "files": ("Database files", "Open and examine a database file yourself.", ["connect_readonly"]),
}
REST = {"errors": "errors", "messages": "messages", "db": "files"}  # module → the page for its remaining names
MODULES = (
    "db",
    "demo",
    "errors",
    "limit",
    "merging",
    "messages",
    "progress",
    "report",
    "retry",
    "rlog",
)
# Public methods that only the engine uses, and those inherited from the standard library.
INTERNAL = {
    "SQLiteWriter": {"abandon", "ask", "has_died", "impatient", "request", "run", "submit", "transact"},
    "TasksFailedError": {"derive"},
}
INHERITED = {"SQLiteWriter": ["join"]}
# Names without a docstring of their own: plain values and unions.
VALUES = {
    "console": "The Rich console that all output goes to. It writes to standard error. Lines that you print "
    "on it appear above the live display.",
    "logger": "The logger of the package, named ``pipeloom``.",
    "Msg": "The union of all messages, for annotations.",
    "SENTINEL": "Ends a :class:`SQLiteWriter` once everything before it is stored.",
    "MsgTaskStart": "Another name of :class:`MsgTaskStarted`.",
    "MsgTaskFinish": "Another name of :class:`MsgTaskFinished`.",
    "messages.OnConflict": 'The type of ``on_conflict``: ``"error"``, ``"ignore"`` or ``"update"``.',
    "messages.Handler": "The type of a handler of your own messages: a function of the connection and a list.",
    "db.Durability": 'The type of ``durability``: ``"full"``, ``"normal"`` or ``"off"``.',
    "db.SCHEMA_VERSION": "The version of the ledger's schema that this version of pipeloom writes.",
}
INTRODUCTION = """\
Every public name. Import it from `pipeloom`, or from the module in front of it, such as `pipeloom.db`.
Everything else in the package is internal and may change without notice."""
FUNCTION_WORDS = {"parameters": "Arguments", "other parameters": "Arguments", "attributes": "Attributes"}


class Undocumented(Exception):  # noqa: N818 - a fault of ours, not of the input
    """A public name lacks a part of its docstring."""


def exported() -> dict[str, Any]:
    """Every public name, as it is imported below ``pipeloom``, and what it is."""
    names = {name: getattr(pipeloom, name) for name in pipeloom.__all__}
    for module in MODULES:
        home = import_module(f"pipeloom.{module}")
        names |= {f"{module}.{name}": getattr(home, name) for name in home.__all__ if name not in names}
    return names


def pages() -> dict[str, list[str]]:
    """The names on each page."""
    everything = exported()
    found: dict[str, list[str]] = {page: [] for page in PAGES}
    placed = set()
    for page, (_, _, listed) in PAGES.items():
        for short in listed:
            found[page] += [name for name in everything if name.rpartition(".")[2] == short]
        placed |= set(found[page])
    for name in everything:
        if name in placed:
            continue
        home = name.rpartition(".")[0] or _home(name)
        if home not in REST:
            raise Undocumented(f"docs/site/api.py: {name} is on no page")
        found[REST[home]].append(name)
    found["errors"] = sorted(
        found["errors"], key=lambda name: [c.__name__ for c in reversed(everything[name].__mro__)]
    )
    return found


def _home(name: str) -> str:
    """The module that defines a name at the root."""
    return pipeloom._HOME[name].removeprefix("pipeloom.")  # noqa: SLF001 - our own package


def anchors() -> dict[str, str]:
    """Every name and member → its page, for links."""
    found = {}
    everything = exported()
    for page, names in pages().items():
        for name in names:
            found[name] = page
            if inspect.isclass(everything[name]):
                for member in members(name, everything[name]):
                    found[f"{name}.{member}"] = page
    return found


def members(name: str, cls: type) -> dict[str, Any]:
    """Public methods, properties and other attributes that the class, or one of its bases in pipeloom, defines."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] != "pipeloom":
            continue
        for member, value in vars(base).items():
            if member[0] != "_" and member not in INTERNAL.get(name, ()) and _is_documentable(value):
                found.setdefault(member, value)
    for member in INHERITED.get(name, ()):
        found[member] = getattr(cls, member)
    return found


def _is_documentable(value: Any) -> bool:
    return inspect.isroutine(value) or isinstance(value, property | classmethod | staticmethod)


def attributes(name: str, cls: type) -> list[str]:
    """The public fields of a dataclass."""
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    return [field.name for field in fields if field.name[0] != "_" and field.name not in INTERNAL.get(name, ())]


class Writer:
    """Writes the pages; knows the page of every name."""

    def __init__(self) -> None:
        self.places = anchors()
        self.missing: list[str] = []

    def files(self) -> dict[str, str]:
        """All pages, and the list of all names."""
        everything = exported()
        found = {}
        index = [
            "# Python API",
            INTRODUCTION,
        ]
        for page, names in pages().items():
            title, about, _ = PAGES[page]
            text = [f"# {title}", about]
            index.append(f"## [{title}](api/{page}.md)")
            lines = []
            for name in names:
                text += self.entry(name, everything[name])
                lines.append(f"- [`{name}`](api/{page}.md#{name}): {self.summary(name, everything[name])}")
            index.append("\n".join(lines))
            found[f"reference/api/{page}.md"] = "\n\n".join(text) + "\n"
        found["reference/api.md"] = "\n\n".join(index) + "\n"
        if self.missing:
            raise Undocumented("undocumented: " + "; ".join(self.missing))
        return found

    def summary(self, name: str, thing: Any) -> str:
        """The first sentence of a docstring."""
        first = self.docstring(name, thing).partition("\n\n")[0].replace("\n", " ")
        return self.inline(re.split(r"(?<=[.!?]) (?=[A-Z])", first)[0], "api/")

    def docstring(self, name: str, thing: Any) -> str:
        """A docstring without indentation."""
        if name in VALUES:
            return VALUES[name]
        own = inspect.getdoc(thing) if inspect.isclass(thing) or inspect.isroutine(thing) else None
        if isinstance(thing, property | classmethod | staticmethod):
            own = inspect.getdoc(thing)
        if not own:
            self.missing.append(f"{name} has no docstring")
        return own or ""

    def entry(self, name: str, thing: Any) -> list[str]:
        """One name with its members."""
        text = [f"## `{name}` {{ #{name} }}"]
        if name in VALUES:
            return [*text, self.inline(VALUES[name])]
        text += self.described(name, thing)
        if not inspect.isclass(thing):
            return text
        bases = [base.__name__ for base in thing.__bases__ if base.__module__ not in ("abc", "typing")]
        if issubclass(thing, BaseException):
            said = ", ".join(self.code(base) for base in bases)
            text.insert(1, f"Bases: {said}")
        for member, value in members(name, thing).items():
            text.append(f"### `{name}.{member}` {{ #{name}.{member} }}")
            text += self.described(f"{name}.{member}", value)
        return text

    def described(self, name: str, thing: Any) -> list[str]:
        """Signature and docstring."""
        text = []
        parameters: list[str] = []
        if not isinstance(thing, property):
            call = thing.__func__ if isinstance(thing, classmethod | staticmethod) else thing
            signature, parameters = _signature(name, call)
            if signature:
                text.append(f"```python\n{signature}\n```")
        elif thing.fget is not None and "return" in thing.fget.__annotations__:
            text.append(f"```python\n{name}: {thing.fget.__annotations__['return']}\n```")
        said = set()
        for section in parse(self.docstring(name, thing)):
            kind = section.kind.value
            if kind == "text":
                text.append(self.inline(section.value))
            elif kind in FUNCTION_WORDS:
                said |= {part.strip("*` ") for entry in section.value for part in entry.name.split(",")}
                text += [f"**{FUNCTION_WORDS[kind]}**", self.listed(section.value)]
            elif kind in ("returns", "yields"):
                value = " ".join(entry.description for entry in section.value)
                text.append(f"**{kind.title()}:** {self.inline(value)}")
            elif kind == "raises":
                entries = [(str(entry.annotation), entry.description) for entry in section.value]
                text += ["**Raises**", self.defined(entries)]
            elif kind == "admonition":
                text.append(f"{section.title}: {self.inline(section.value.description)}")
            else:
                raise Undocumented(f"{name}: a section of kind {kind}, which docs/site/api.py does not know")
        if inspect.isclass(thing):
            parameters = attributes(name, thing)
        own = self.docstring(name, thing)
        self.missing += [
            f"{name}: {wanted}"
            for wanted in parameters
            if not {wanted, "options"} & said and not re.search(rf"\b{wanted}\b", own)
        ]
        return text

    def listed(self, entries: Any) -> str:
        """Arguments or attributes."""
        return self.defined([(entry.name, entry.description) for entry in entries])

    def defined(self, entries: list[tuple[str, str]]) -> str:
        """A list of definitions."""
        text = []
        for name, about in entries:
            names = ", ".join(self.code(part.strip()) for part in name.split(","))
            text.append(f"{names}\n:   " + self.inline(about).replace("\n", "\n    "))
        return "\n\n".join(text)

    def code(self, span: str, down: str = "") -> str:
        """A span of code, linked if it is a public name."""
        name = re.sub(r"\(.*\)$", "", span).removeprefix("pipeloom.").removeprefix("~")
        known = name if name in self.places else f"{name}" if "." in name else ""
        if known in self.places and (known != span or known[0].isupper() or "." in known):
            return f"[`{span}`]({down}{self.places[known]}.md#{known})"
        return f"`{span}`"

    def inline(self, text: str, down: str = "") -> str:
        """Roles and double backticks of a docstring, as Markdown."""

        def role(found: re.Match[str]) -> str:
            target = found[1].removeprefix("~")
            shown = target.rpartition(".")[2] if found[1][0] == "~" else target.removeprefix("pipeloom.")
            name = target.removeprefix("pipeloom.")
            if name not in self.places:  # an internal module may define a public name
                name = next((known for known in self.places if known == name.rpartition(".")[2]), "")
            return f"[`{shown}`]({down}{self.places[name]}.md#{name})" if name else f"`{shown}`"

        text = re.sub(r"(?s)``(.+?)``", lambda found: self.code(found[1], down), text)
        text = re.sub(r":[a-z]+:`([^`]+)`", role, text)
        return re.sub(r"::$", ":", text, flags=re.MULTILINE)


def parse(text: str) -> list[Any]:
    """The sections of a docstring in Google's style."""
    logging.getLogger("griffe").setLevel(logging.CRITICAL)
    return griffe.parse_google(griffe.Docstring(text), warn_unknown_params=False, returns_named_value=False)


def _signature(name: str, call: Any) -> tuple[str, list[str]]:
    """The signature of a callable, and the names of its parameters."""
    if inspect.isclass(call) and issubclass(call, BaseException) and "__init__" not in vars(call):
        return "", []
    try:
        found = inspect.signature(call)
    except ValueError:
        return "", []
    kept = [p for p in found.parameters.values() if p.name not in ("self", "cls") and p.name[0] != "_"]
    returns = found.return_annotation
    if inspect.isclass(call):
        returns = inspect.Signature.empty
    elif isinstance(returns, type):
        returns = returns.__name__
    parts = [_parameter(p) for p in kept]
    star = next((i for i, p in enumerate(kept) if p.kind is p.KEYWORD_ONLY), None)
    if star is not None and not any(p.kind is p.VAR_POSITIONAL for p in kept):
        parts.insert(star, "*")
    end = "" if returns is inspect.Signature.empty else f" -> {returns}"
    line = f"{name}({', '.join(parts)}){end}"
    if len(line) > 76:
        line = f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){end}"
    return line, [p.name for p in kept]


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text = stars + parameter.name
    note = parameter.annotation
    if note is not parameter.empty:
        note = note if isinstance(note, str) else getattr(note, "__name__", str(note))
        text += f": {note}"
    if parameter.default is not parameter.empty:
        value = parameter.default
        shown = value.__name__ if inspect.isclass(value) else repr(value)
        if shown.startswith("<"):
            shown = "..."
        text += f" = {shown}" if note is not parameter.empty else f"={shown}"
    return text
