"""`recsys keys`: make, list and revoke the API keys of a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    help="API keys of the service: make, list, revoke.\n\n"
    "A key has scopes: read (lists, items, search), write (events), metrics (/metrics alone), admin (items, rules, "
    "users' data, and metrics too). "
    "Start the service with RECSYS_KEYS=FILE, or `recsys serve --keys FILE`; it follows the file within seconds.",
)

File = Annotated[Path, typer.Option("--file", envvar="RECSYS_KEYS", help="File of the keys; it holds only hashes.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Stands in logs and metrics in place of the key, such as shop-widget.")],
    *,
    file: File,
    scope: Annotated[list[str], typer.Option(help="read, write, metrics or admin; give it several times.")],
    rate: Annotated[
        float | None, typer.Option(help="Requests a second, on average, over all workers.", show_default="no limit")
    ] = None,
    burst: Annotated[int, typer.Option(help="Requests that may come at once.")] = 20,
) -> None:
    """Make a key and print it. It is shown this once; the file keeps its hash.

    For the widget: --scope read --scope write --rate 20. Such a key stands in public pages, so it should be limited.
    """
    from typing import cast

    from features.errors import InputError
    from serving.access.keyring import Scope, new_key, read_keys, write_keys

    keys = read_keys(file) if file.exists() else ()
    if any(key.name == name for key in keys):
        raise InputError(f"{file}: names of keys must differ, {name!r} stands there already; revoke it first")
    secret, key = new_key(name, cast("list[Scope]", scope), rate_per_s=rate, burst=burst)
    write_keys(file, [*keys, key])
    typer.echo(secret)


@app.command("list")
def list_keys(*, file: File) -> None:
    """Show names, scopes and limits."""
    from rich.console import Console
    from rich.table import Table

    from serving.access.keyring import read_keys

    table = Table("name", "scopes", "requests a second", "at once", box=None)
    for key in read_keys(file):
        limited = ("no limit", "") if key.rate_per_s is None else (f"{key.rate_per_s:g}", str(key.burst))
        table.add_row(key.name, ", ".join(sorted(key.scopes)), *limited)
    Console().print(table)


@app.command()
def revoke(name: str, *, file: File) -> None:
    """Take a key out of the file; running services refuse it within seconds."""
    from features.errors import InputError
    from serving.access.keyring import read_keys, write_keys

    keys = read_keys(file)
    left = [key for key in keys if key.name != name]
    if len(left) == len(keys):
        raise InputError(f"{file}: holds no key {name!r}")
    write_keys(file, left)
    typer.echo(f"revoked {name}")
