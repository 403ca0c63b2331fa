"""``pipeloom web``."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import click

from pipeloom.cli.options import db_option, traceback_option
from pipeloom.data.text import clean


@click.command(name="web")
@db_option
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Loopback address to listen on: 127.0.0.1 or ::1."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen on; 0 picks a free one.",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in your browser.")
@traceback_option
def command(db: Path, host: str, port: int, opens: bool) -> int:
    """Watch runs live in the browser, until Ctrl-C. Reads only; the file need not exist yet."""
    try:
        from pipeloom.web.server import AddressError, bound_socket, serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("starlette", "uvicorn", "h11", "anyio"):
            raise
        raise click.ClickException(f"pipeloom web needs {error.name}: pip install 'pipeloom[web]'") from None
    if db.is_dir():
        raise click.ClickException(f"--db {clean(db)} is a directory: name a database file")
    try:
        sock = bound_socket(host, port)
    except AddressError as error:
        raise click.ClickException(str(error)) from None

    def announce(url: str) -> None:
        click.echo(f"{clean(db)} is shown at {url} (Ctrl-C stops)")
        if opens:
            # In a separate thread: starting a browser can take seconds, and a text browser never returns.
            threading.Thread(target=_open, args=(url,), daemon=True).start()

    serve(db, sock, announce)
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        # A query on a hostile or huge file is still running. It only reads, so exit without waiting for it.
        sys.stdout.flush()
        os._exit(0)
    return 0


def _open(url: str) -> None:
    import webbrowser

    if not webbrowser.open(url):
        click.echo("pipeloom: no browser could be started: open the address yourself", err=True)
