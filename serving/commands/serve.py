"""`recsys serve`: the service, with a Redis of its own where none is named."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
    anyone: Annotated[
        bool, typer.Option("--anyone", help="Listen on an address that others reach although there are no API keys.")
    ] = False,
) -> None:
    """Answer requests: similar items, feeds, events, pictures, and the storefront page.

    Without REDIS_URL an embedded Redis is started (its data stays in .recsys/redis) and started again should it end.
    Should Redis be lost, answers come from the bundle until it is back. Every RECSYS_* variable that sets a limit or
    a timeout is described in serving/settings.py.
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
    from serving.settings import Settings

    given = {"bundle": bundle, "shop": shop, "keys": keys}
    settings = Settings.load(**{name: value for name, value in given.items() if value is not None})
    if settings.shop is not None and not settings.shop.is_dir():
        raise InputError(f"--shop must be a folder, got {str(settings.shop)!r}")
    if settings.keys is None and not is_loopback(host) and not anyone:
        raise InputError(
            f"--host {host} lets other machines in, and there are no API keys: make some (`recsys keys create`) and "
            "name their file by --keys, or say --anyone where something in front of the service keeps strangers out"
        )
    if settings.keys is not None:
        read_keys(settings.keys)
    console = Console(stderr=True, highlight=False)
    with ExitStack() as stack:
        opened = None if settings.bundle is None else Bundle.open(settings.bundle)
        if settings.redis_url is None:
            server = stack.enter_context(EmbeddedRedis(settings.state_dir / "redis", supervise=True))
            os.environ["RECSYS_REDIS_URL"] = server.url
            if opened is not None:
                with Redis.from_url(server.url) as client:
                    publisher = Publisher(
                        client,
                        state_dir=settings.home,
                        memory_budget=settings.memory_budget,
                        tenant=settings.tenant,
                    )
                    done = publisher.publish(opened)
                how = f"published in {done.seconds:.1f} s" if done.n_keys else "was published before"
                console.print(f"version {done.version} {how}")
        elif opened is None:
            console.print("no --bundle: answering what Redis names, and not ready until it names something")
        for name, value in (("BUNDLE", settings.bundle), ("SHOP", settings.shop), ("KEYS", settings.keys)):
            if value is not None:
                os.environ[f"RECSYS_{name}"] = str(value.resolve())
        if workers > 1:
            counters = tempfile.mkdtemp(prefix="recsys-metrics-")
            stack.callback(shutil.rmtree, counters, ignore_errors=True)
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = counters
        console.print(f"storefront http://{host}:{port}/   API http://{host}:{port}/docs")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again once it has shut down
        uvicorn.run(
            "serving.app:create_app_from_environment",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=10,
        )
