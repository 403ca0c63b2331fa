"""Where a module's code is, and the module's name however the program was started."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from pipeloom.data.text import attribute, clean, near

__all__ = ["MAIN_MODULES", "found_in", "is_gone", "origin_of", "place_in_words"]

MAIN_MODULES: Final = ("__main__", "__mp_main__")
_SCRIPTS: Final = (".py", ".pyc", ".pyw")
_NOTEBOOK: Final = "notebook:"
_MODULE: Final = "module:"
_SESSION: Final = "session:"
_THIS_SESSION: Final = _SESSION + uuid4().hex
"""The place of functions that were typed or piped in: no other process has them."""


def origin_of(module: str) -> tuple[str, str]:
    """Return where a module is and its name.

    A file is named by the packages around it, whether it was imported, run as a script or run with ``-m``. A
    notebook is identified by its path if its server provides that, else by the session.

    Returns:
        The absolute path with links resolved, or a word for a place that is not a file; and the dotted name.
    """
    known = sys.modules.get(module)
    file, spec = attribute(known, "__file__"), attribute(known, "__spec__")
    said = attribute(spec, "name") if module in MAIN_MODULES else module
    if isinstance(file, str) and not file.startswith("<"):
        place = os.path.realpath(file)
        return place, _dotted(Path(place), said if isinstance(said, str) else "", is_main=module in MAIN_MODULES)
    if module not in MAIN_MODULES:
        return _MODULE + module, module
    if "ipykernel" not in sys.modules:
        return _THIS_SESSION, "__main__"
    path = attribute(known, "__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
    return _NOTEBOOK + path if isinstance(path, str) else _THIS_SESSION, "notebook"


def found_in(module: str, qualname: str) -> Any:
    """Return what a loaded module has under a dotted name; ``None`` if it has nothing there."""
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = attribute(found, part)
    return found


def _dotted(path: Path, said: str, *, is_main: bool) -> str:
    """Return the module name of a file.

    Args:
        path: The file, which may be in an archive.
        said: The name that the import system has for it, empty if none.
        is_main: It is the main program.
    """
    if path.suffix not in _SCRIPTS and not is_main:  # an extension module
        return said
    parts, parent = [path.stem], path.parent
    if path.stem == "__main__":
        parts, parent = [parent.name, path.stem], parent.parent
    while (parent / "__init__.py").is_file():
        parts, parent = [parent.name, *parts], parent.parent
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    name = ".".join(parts)
    return said if said.endswith("." + name) else name  # packages without an __init__.py


def place_in_words(place: str | None) -> str:
    """Return a place as text for people."""
    if place is None or place.startswith(_SESSION):
        return "another session"
    if place.startswith(_NOTEBOOK):
        return f"the notebook {clean(place.removeprefix(_NOTEBOOK), 200)}"
    return clean(near(place.removeprefix(_MODULE)), 200)


def is_gone(place: str) -> bool:
    """Return whether the code at a place certainly no longer exists."""
    if place.startswith(_SESSION):
        return place != _THIS_SESSION
    if place.startswith(_MODULE):
        return False
    path = place.removeprefix(_NOTEBOOK)
    return os.path.isabs(path) and not os.path.exists(path)
