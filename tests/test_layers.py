"""The rooms of the house: imports point one way only, and what is heavy is imported late."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import pipeloom

PACKAGE = Path(pipeloom.__file__).parent

# Layers of the architecture. A package stands for all of its modules. The package root is free: it only names.
LAYERS = {
    0: {"data", "errors", "limit", "messages", "report", "retry", "statuses"},
    1: {"wire", "db"},
    2: {"worker", "history"},
    3: {"executors", "ledger", "show"},
    4: {"forgetting", "merging", "rlog", "progress", "writer"},
    5: {"engine"},
    6: {"cli", "doctor", "web", "examples", "demo", "__main__"},
}
LAYER_OF = {room: number for number, rooms in LAYERS.items() for room in rooms}
# What these may import besides themselves, whatever the layers allow: a worker may live in another process, or on
# another machine, where there is no ledger, and an executor decides nothing about tasks.
MAY_IMPORT = {
    "wire": {"data", "retry", "statuses"},
    "worker": {"data", "errors", "messages", "retry", "statuses", "wire"},
    "executors": {"data", "errors", "messages", "retry", "statuses", "wire", "worker"},
}
ROOT = "pipeloom"
MAY_LOAD_RICH = {"cli", "show", "progress", "rlog"}
NOT_AT_IMPORT = ("rich", "click", "msgspec", "sqlite3")


@dataclass(frozen=True)
class Import:
    """One import statement: who names whom, where, and when it runs: as the module is loaded, later, or never."""

    importer: str
    imported: str
    line: int
    at_load: bool
    for_types: bool = False

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def name_of(path: Path, package: Path) -> str:
    """Return a file's dotted module name."""
    parts = [ROOT, *path.relative_to(package).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_for_types_only(node: ast.AST) -> bool:
    """Say whether this is ``if TYPE_CHECKING:``."""
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def statements(
    node: ast.AST, at_load: bool = True, for_types: bool = False
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool, bool]]:
    """Walk all imports, functions' included; the ``else`` of ``if TYPE_CHECKING`` is not for types only."""
    for field, value in ast.iter_fields(node):
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typed = for_types or (is_for_types_only(node) and field == "body")
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.Import | ast.ImportFrom):
                yield child, at_load and not inside and not typed, typed
            elif isinstance(child, ast.AST):
                yield from statements(child, at_load and not inside, typed)


def imports_of(package: Path) -> tuple[set[str], list[Import]]:
    """Read a package with ``ast``: the names of its modules, and every import."""
    files = {name_of(path, package): path for path in sorted(package.rglob("*.py"))}
    found: list[Import] = []
    for importer, path in files.items():
        # What `from .` means: the package that the module is in, or that it is.
        home = importer if path.name == "__init__.py" else importer.rpartition(".")[0]
        for node, at_load, for_types in statements(ast.parse(path.read_text(encoding="utf-8"))):
            named = targets(node, home, set(files))
            found += [Import(importer, target, node.lineno, at_load, for_types) for target in named]
    return set(files), found


def targets(node: ast.Import | ast.ImportFrom, home: str, modules: set[str]) -> Iterator[str]:
    """Yield the modules that one statement names; ``from pipeloom import arguments`` names a module too."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        parts = home.split(".")
        base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
    for alias in node.names:
        inner = f"{base}.{alias.name}"
        yield inner if inner in modules else base


def room_of(module: str) -> str:
    """Return the module or package right below the root: ``pipeloom.db.schema`` is in ``db``."""
    return module.split(".")[1] if "." in module else ROOT


def arrows_up(imports: list[Import]) -> list[str]:
    """Name the imports that point to a higher layer, those for types only included."""
    return [
        str(found)
        for found in imports
        if room_of(found.importer) in LAYER_OF
        and LAYER_OF.get(room_of(found.imported), -1) > LAYER_OF[room_of(found.importer)]
    ]


def cycle(modules: set[str], imports: list[Import]) -> list[str] | None:
    """Return modules that import each other in a ring; the root, which resolves names late, is none of them."""
    graph: dict[str, set[str]] = {module: set() for module in modules - {ROOT}}
    for found in imports:
        if found.importer in graph and found.imported in graph:
            graph[found.importer].add(found.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


@pytest.fixture(scope="module")
def house():
    """The modules of pipeloom, and its imports."""
    return imports_of(PACKAGE)


def test_every_module_has_a_layer(house):
    """A new module is put into the table before it imports anything; nothing in the table is gone."""
    modules, _ = house
    rooms = {room_of(module) for module in modules} - {ROOT}

    assert rooms == set(LAYER_OF)


def test_imports_point_down(house):
    """No module knows of a layer above its own, not even inside a function."""
    _, imports = house

    assert len(imports) > 100  # it did read something
    assert not arrows_up(imports)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_that_must_know_little_imports_little(house, room):
    """Neither a worker nor an executor has a way to the ledger but its link and its desk."""
    _, imports = house
    known = {
        room_of(i.imported) for i in imports if room_of(i.importer) == room and i.imported.startswith(f"{ROOT}.")
    }

    assert known - {room} == MAY_IMPORT[room]


def test_no_cycle(house):
    """Within a layer, too, imports go one way, those for types only included."""
    assert cycle(*house) is None


def test_only_what_draws_loads_rich(house):
    """Rich alone costs 80 ms: whoever does not draw imports it late or not at all."""
    _, imports = house
    loads_rich = {room_of(i.importer) for i in imports if i.at_load and i.imported.split(".")[0] == "rich"}

    assert loads_rich <= MAY_LOAD_RICH


def test_import_pipeloom_is_light():
    """It happens in every worker and at every prompt."""
    code = f"import sys, pipeloom; print([name for name in {NOT_AT_IMPORT} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout.strip() == "[]"


def test_what_runs_a_program_loads_nothing_for_async_ones():
    """`pipeloom run` loads asyncio when a function turns out to be async: it is a tenth of a short run."""
    code = "import sys, pipeloom.cli.run, pipeloom.engine.api, pipeloom.rlog; print('asyncio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout.strip() == "False"


def test_every_public_name_resolves_late():
    """Each name has a home, ``dir`` shows it, and an unknown one is an AttributeError."""
    for name in pipeloom.__all__:
        assert getattr(pipeloom, name) is not None
    assert set(pipeloom.__all__) <= set(dir(pipeloom))
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        _ = pipeloom.nonesuch


# --- the reader itself: a test that cannot fail would hold nothing ---

UP = [
    ("history.py", "from pipeloom.writer import Request"),
    ("history.py", "import pipeloom.writer"),
    ("history.py", "from pipeloom import writer"),
    ("history.py", "from . import writer"),
    ("history.py", "from .writer import Request"),
    ("db/schema.py", "from ..writer import Request"),
    ("history.py", "def late():\n    from pipeloom.writer import Request"),
    ("history.py", "try:\n    import pipeloom.writer\nexcept ImportError:\n    pass"),
    ("history.py", "if TYPE_CHECKING:\n    pass\nelse:\n    import pipeloom.writer"),
    ("errors.py", "from pipeloom.db import connect"),
    ("history.py", "if TYPE_CHECKING:\n    from pipeloom.writer import Request"),
    ("history.py", "import typing\nif typing.TYPE_CHECKING:\n    from pipeloom.writer import Request"),
]
NOT_UP = [
    ("history.py", "from pipeloom.text import clean"),
    ("history.py", "from pipeloom.db import connect"),
    ("history.py", "import queue"),
    ("history.py", "from pipeloom import __version__"),
]


def test_the_reader_sees_every_arrow_up_and_no_other(tmp_path):
    """In every way in which Python can write one; what is for types only, or points down or sideways, is none."""
    seen = {}
    for importer, line in UP + NOT_UP:
        for name in ("__init__.py", "history.py", "writer.py", "errors.py", "db/__init__.py", "db/schema.py"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(line if name == importer else "")
        seen[importer, line] = len(arrows_up(imports_of(tmp_path)[1]))

    assert seen == {**dict.fromkeys(UP, 1), **dict.fromkeys(NOT_UP, 0)}


@pytest.mark.parametrize(
    "line", ["def late():\n    import pipeloom.retry", "if TYPE_CHECKING:\n    import pipeloom.retry"]
)
def test_the_reader_sees_a_cycle(tmp_path, line):
    """Two modules of one layer that need each other, also when one hides it in a function, or for types only."""
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "retry.py").write_text("import pipeloom.messages")
    (tmp_path / "messages.py").write_text(line)

    assert set(cycle(*imports_of(tmp_path)) or ()) == {"pipeloom.retry", "pipeloom.messages"}
