"""``pipeloom web``."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import click

from pipeloom.cli.options import db_option, verbose_option
from pipeloom.data.text import clean


@click.command(name="web")
@db_option
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address: 127.0.0.1 or ::1.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes any free one."
)
@click.option("--open", "opens", is_flag=True, help="Open the page in your browser.")
@verbose_option
def command(db: Path, host: str, port: int, opens: bool, verbose: int) -> int:  # noqa: ARG001 - verbose: main()
    """Show a database in the browser, live, until Ctrl-C; reads only. The file need not exist yet."""
    try:
        from pipeloom.web.server import AddressError, bound_socket, serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("starlette", "uvicorn", "h11", "anyio"):
            raise
        raise click.ClickException(
            f"the page in the browser needs {error.name}: pip install starlette uvicorn"
        ) from None
    if db.is_dir():
        raise click.ClickException(f"--db {clean(db)}: is a directory: name a database file")
    try:
        sock = bound_socket(host, port)
    except AddressError as error:
        raise click.ClickException(str(error)) from None

    def announce(url: str) -> None:
        click.echo(f"{clean(db)} is shown at {url} (Ctrl-C ends it)")
        if opens:
            # In a thread of its own: starting a browser can take seconds, and a text browser never returns.
            threading.Thread(target=_open, args=(url,), daemon=True).start()

    serve(db, sock, announce)
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        # A look at a hostile or huge file is still under way. It only reads: its deadline is not waited for.
        sys.stdout.flush()
        os._exit(0)
    return 0


def _open(url: str) -> None:
    import webbrowser

    if not webbrowser.open(url):
        click.echo("No browser could be started here: open the address yourself.", err=True)
