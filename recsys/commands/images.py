"""`recsys images`: fetch the pictures that a shop names by address."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recsys.commands.options import Cache


def images(
    shop: Annotated[Path, typer.Argument(help="Shop folder; see `recsys check`.", show_default=False)],
    *,
    again: Annotated[
        bool, typer.Option("--again", help="Ask also the addresses that failed for good before (404, no picture).")
    ] = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Most seconds from asking to the last byte.")] = 20.0,
    max_bytes: Annotated[int, typer.Option(min=1, help="Larger pictures are refused.")] = 20_000_000,
    retries: Annotated[int, typer.Option(min=0, max=20, help="Further attempts after a failure that may pass.")] = 3,
    at_once: Annotated[int, typer.Option(min=1, max=256, help="Pictures in work at once.")] = 32,
    per_host: Annotated[int, typer.Option(min=1, max=64, help="Of these, from one host.")] = 4,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Also ask this machine and its own network. Only for your own shop.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for quarantine.jsonl. Default: .recsys/<shop>.", show_default=False),
    ] = None,
    cache: Cache = None,
) -> None:
    """Fetch the pictures whose place in the item table is an address (http:// or https://).

    This is the only command that asks other machines for a shop's pictures. They are kept under CACHE/fetched, and
    `recsys check` and `recsys fit` take them from there; the shop folder itself is not touched. Interrupted, it goes
    on where it was. What fails is in quarantine.jsonl with the reason; a later call asks again where the failure may
    have passed.

    Addresses of this machine, private networks and clouds' metadata are refused, also behind a redirect or a name.

    Next: recsys check SHOP
    """
    from collections import Counter

    from rich.console import Console
    from rich.table import Table

    from features.errors import InputError
    from features.pictures.fetched import FetchedImages
    from features.pictures.remote import FetchConfig, fetch_images
    from features.quarantine import Quarantine
    from features.shop.shop import read_shop
    from recsys.run_folder import CACHE

    config = FetchConfig(
        timeout_s=timeout,
        max_bytes=max_bytes,
        retries=retries,
        at_once=at_once,
        per_host=per_host,
        allow_private=allow_private,
    )
    store = FetchedImages.of_cache(cache or CACHE)
    missing = read_shop(shop, quarantine=Quarantine(), fetched=store).reading.remote_images
    report = fetch_images([one for named in missing.values() for one in named], store, config, again=again)
    failed = {address: failure.reason for address, failure in report.failed.items()}
    quarantine = Quarantine()
    found = read_shop(shop, quarantine=quarantine, fetched=store)
    used = store.names().intersection(one for names in found.catalog.images() for one in names)
    there = len(used) - report.fetched
    file = (out or Path(".recsys") / (shop.resolve().name or "shop")) / "quarantine.jsonl"
    try:
        quarantine.write(file)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}; give a folder with --out") from error
    table = Table(title=f"Pictures from elsewhere  ({shop})", title_justify="left", title_style="bold")
    table.add_column("what", overflow="fold")
    table.add_column("how many", justify="right")
    table.add_row("there before", f"{there:,}")
    table.add_row("fetched now", f"{report.fetched:,}")
    for reason, count in Counter(failed.values()).most_common(20):
        table.add_row(f"failed: {reason}", f"{count:,}")
    console = Console(highlight=False)
    console.print(table)
    if failed:
        console.print(f"{len(failed):,} failed, each one in {file}", soft_wrap=True, markup=False)
    console.print(f"Next: recsys check {shop}", soft_wrap=True, markup=False)
