"""``pipeloom web``."""

from __future__ import annotations

from pathlib import Path

import click

from pipeloom.cli.options import db_option, verbose_option


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
            f"the page in the browser needs {error.name}: pip install 'pipeloom[web]'"
        ) from None
    if db.is_dir():
        raise click.ClickException(f"--db {db}: is a directory: name a database file")
    try:
        sock = bound_socket(host, port)
    except AddressError as error:
        raise click.ClickException(str(error)) from None

    def announce(url: str) -> None:
        click.echo(f"Showing {db} at {url}  (Ctrl-C ends it)")
        if opens:
            import webbrowser

            webbrowser.open(url)

    serve(db, sock, announce)
    return 0
