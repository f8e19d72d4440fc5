"""`recsys serve`: the service, with a Redis of its own where none is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from serving.settings import Settings

GRACE_S = 10
"""Requests under way when the service is told to stop have so long to end; whatever started it must wait longer."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address to listen on."""
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serve(
    *,
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Bundle to answer from (OUT/bundle of `recsys fit`). With the embedded Redis it is published first; "
            "with your own Redis, the published version goes first and this one stands in where Redis has none.",
            show_default=False,
        ),
    ] = None,
    shop: Annotated[
        Path | None, typer.Option(help="Shop folder whose pictures are shown; without one, none.", show_default=False)
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes; about one a core.")] = 1,
    keys: Annotated[
        Path | None,
        typer.Option(help="File of API keys (`recsys keys create`); without one, everybody may ask for everything."),
    ] = None,
    tenants: Annotated[
        Path | None,
        typer.Option(
            help="File of several shops to serve side by side, each with its own bundle and keys (docs/operations.md); "
            "in place of --bundle, --shop and --keys.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="File of settings (TOML): any RECSYS_* variable's name in lower case, without the prefix. What the "
            "environment or an option says goes before it. Default: RECSYS_CONFIG.",
            show_default=False,
        ),
    ] = None,
    anyone: Annotated[
        bool, typer.Option("--anyone", help="Listen on an address that others reach although there are no API keys.")
    ] = False,
) -> None:
    """Answer requests: similar items, feeds, events, pictures, and the storefront page.

    Without REDIS_URL an embedded Redis is started (its data stays in .recsys/redis) and started again should it end.
    Should Redis be lost, answers come from the bundle until it is back. Every RECSYS_* variable that sets a limit or
    a timeout is described in docs/operations.md; a --config file may say the same.
    """
    import os
    import shutil
    import signal
    import sys
    import tempfile
    from contextlib import ExitStack

    import uvicorn
    from redis import Redis
    from rich.console import Console

    from features.errors import InputError
    from recsys.bundle import Bundle
    from serving.access.keyring import read_keys
    from serving.embedded_redis import EmbeddedRedis
    from serving.publishing import Publisher

    settings = _settings(config, {"bundle": bundle, "shop": shop, "keys": keys, "tenants": tenants})
    if settings.tenants is not None and (bundle or shop or keys):
        raise InputError(
            "--tenants names the bundle, the shop and the keys of each: leave out --bundle, --shop, --keys"
        )
    shops = _shops(settings)
    for one in shops:
        if one.shop is not None and not one.shop.is_dir():
            raise InputError(f"--shop must be a folder, got {str(one.shop)!r}")
        if one.keys is not None:
            read_keys(one.keys)
    if not all(one.keys for one in shops) and not is_loopback(host) and not anyone:
        raise InputError(
            f"--host {host} lets other machines in, and there are no API keys: make some (`recsys keys create`) and "
            "name their file by --keys, or say --anyone where something in front of the service keeps strangers out"
        )
    _must_be_free(host, port)
    console = Console(stderr=True, highlight=False)
    with ExitStack() as stack:
        opened = [(one, Bundle.open(one.bundle)) for one in shops if one.bundle is not None and one.redis_url is None]
        if settings.redis_url is None:
            server = stack.enter_context(EmbeddedRedis(settings.state_dir / "redis", supervise=True))
            os.environ["RECSYS_REDIS_URL"] = server.url
            for one, to_publish in opened:
                with Redis.from_url(server.url) as client:
                    budget = one.memory_budget
                    publisher = Publisher(client, state_dir=one.home, memory_budget=budget, tenant=one.tenant)
                    done = publisher.publish(to_publish)
                how = f"published in {done.seconds:.1f} s" if done.n_keys else "was published before"
                console.print(f"{one.tenant} version {done.version} {how}".lstrip())
        elif not any(one.bundle for one in shops):
            console.print("no --bundle: answering what Redis names, and not ready until it names something")
        for name, value in (("BUNDLE", bundle), ("SHOP", shop), ("KEYS", keys), ("TENANTS", tenants)):
            if value is not None:
                os.environ[f"RECSYS_{name}"] = str(value.resolve())
        if workers > 1:
            counters = tempfile.mkdtemp(prefix="recsys-metrics-")
            stack.callback(shutil.rmtree, counters, ignore_errors=True)
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = counters
        console.print(f"storefront http://{host}:{port}/   API http://{host}:{port}/docs")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again once it has shut down
        uvicorn.run(
            "serving.tenants:create_service_from_environment",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )


def _settings(config: Path | None, given: Mapping[str, Path | None]) -> Settings:
    """What the options, the environment and a file say; the workers will read the same file."""
    import os

    from serving.settings import Settings
    from serving.settings_file import VARIABLE

    if config is not None:
        os.environ[VARIABLE] = str(config.resolve())
    return Settings.load(**{name: value for name, value in given.items() if value is not None})


def _shops(settings: Settings) -> list[Settings]:
    """The settings of each shop that is served."""
    from serving.tenants import read_tenants

    if settings.tenants is None:
        return [settings]
    return [tenant.settings for tenant in read_tenants(settings.tenants).values()]


def _must_be_free(host: str, port: int) -> None:
    """Refuse an address that cannot be listened on before anything is published or started."""
    from features.errors import InputError
    from serving.demo import listenable

    try:
        listenable(host, port)
    except OSError as error:
        raise InputError(
            f"--port must be one that can be listened on at {host}, {port} is not: {error.strerror}"
        ) from error
