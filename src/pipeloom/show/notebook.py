"""A display in a notebook that is kept up to date by a thread, so that the cell is free meanwhile."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from pipeloom.show.html import Html

__all__ = ["is_notebook", "keep_shown"]

_PAUSE_S: Final = 0.5


def is_notebook() -> bool:
    """Say whether this program is the kernel of a notebook; imports nothing."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def keep_shown(html_of: Callable[[], Html], over: threading.Event) -> None:
    """Show something in the present cell, and show it anew twice a second until it is over; returns at once.

    Args:
        html_of: Returns what is to be seen now.
        over: Set when it does not change any more.
    """
    from IPython.display import HTML, display

    was_over = over.is_set()  # asked first: what is shown may be older than what is asked later
    shown: Any = display(HTML(html_of()), display_id=True)  # type: ignore[no-untyped-call]  # IPython's are not typed
    if shown is None or was_over:
        return  # at a prompt there is nothing that could be kept up to date

    def keep() -> None:
        while not over.wait(_PAUSE_S):
            shown.update(HTML(html_of()))  # type: ignore[no-untyped-call]  # as above
        shown.update(HTML(html_of()))  # type: ignore[no-untyped-call]  # as above

    # Not in this context, which names the present cell: that may be over, and a display is told by its number.
    threading.Thread(target=keep, name="pipeloom-display", daemon=True).start()
