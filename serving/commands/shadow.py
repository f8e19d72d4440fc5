"""`recsys shadow`: try a version on live traffic before it answers anybody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from serving.publishing import Published, Publisher

app = typer.Typer(
    no_args_is_help=True,
    help="Try a version on live traffic before it answers anybody.\n\n"
    "`start` loads a bundle beside the current version; running services answer a share of their requests for similar "
    "items and feeds once more by it, behind the answers they send. `report` compares the two; `switch` makes it "
    "current (`recsys publish --rollback` goes back), `stop` ends the trial.",
)
Redis = Annotated[
    str | None, typer.Option(help="Redis URL; else REDIS_URL, else the embedded server.", show_default=False)
]
Tenant = Annotated[
    str | None, typer.Option(help="Whose shop it is, where several share one Redis; else RECSYS_TENANT.")
]


@app.command()
def start(
    bundle_dir: Annotated[Path, typer.Argument(help="Bundle to try: OUT/bundle of `recsys fit`.")],
    *,
    share: Annotated[float, typer.Option(min=0.0001, max=1.0, help="Share of requests that it answers, too.")] = 0.1,
    redis: Redis = None,
    tenant: Tenant = None,
    memory_budget: Annotated[
        str | None, typer.Option(help="Largest Redis memory this may lead to, such as 2GB.", show_default=False)
    ] = None,
) -> None:
    """Load a bundle beside the current version and try it; running services begin within a second or so.

    The items' vectors are loaded as well where the current version has its own in Redis, or with RECSYS_VECTORS=redis.
    """
    from recsys.bundle import Bundle

    with _publisher(redis, tenant, memory_budget) as publisher:
        done = publisher.shadow(Bundle.open(bundle_dir), share)
    typer.echo(f"version {done.version} is tried beside {done.previous} on {share:.2%} of the requests")
    if done.vector_recall is not None:
        typer.echo(f"vectors: recall@100 of a search in Redis {done.vector_recall:.4f}")


@app.command()
def report(
    *,
    redis: Redis = None,
    tenant: Tenant = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable: one JSON object.")] = False,
) -> None:
    """Compare the version that is tried with the current one, by what all workers have counted."""
    from dataclasses import asdict

    import orjson
    from rich.console import Console
    from rich.table import Table

    with _publisher(redis, tenant) as publisher:
        told = publisher.shadow_report()
    if as_json:
        typer.echo(orjson.dumps(asdict(told)).decode())
        return
    console = Console(highlight=False)
    console.print(f"version {told.version} beside {told.current}, on {told.share:.2%} of the requests")
    for name, one in told.surfaces.items():
        table = Table(title=name)
        for column in ("", "live", "shadow"):
            table.add_column(column)
        table.add_row("empty answers", str(one.live.empty), str(one.shadow.empty))
        for title, field in (("mean", "mean_s"), ("p50 at most", "p50_s"), ("p95 at most", "p95_s")):
            values = [1000 * getattr(side, field) for side in (one.live, one.shadow)]
            table.add_row(f"{title}, ms", *(f"{value:.1f}" for value in values))
        console.print(table)
        console.print(", ".join(f"{which} {n:,}" for which, n in one.requests.items()))
        console.print(f"overlap {one.overlap:.4f}, rank correlation of what both show {one.correlation:.4f}")
    for side, shown in told.items.items():
        console.print(f"{side}: about {shown:,} different items of {told.n_items[side]:,} were shown")


@app.command()
def switch(*, redis: Redis = None, tenant: Tenant = None) -> None:
    """Make the version that is tried current; it is in Redis already, so this is at once."""
    with _publisher(redis, tenant) as publisher:
        done: Published = publisher.switch_to_shadow()
    typer.echo(f"version {done.version} is current, {done.previous} is kept for a rollback")


@app.command()
def stop(*, redis: Redis = None, tenant: Tenant = None) -> None:
    """End the trial; the version's keys expire within a minute."""
    with _publisher(redis, tenant) as publisher:
        version = publisher.end_shadow()
    typer.echo(f"version {version} is no longer tried")


@contextmanager
def _publisher(redis: str | None, tenant: str | None, memory_budget: str | None = None) -> Iterator[Publisher]:
    """Publishes to the Redis of the options or of the environment.

    Raises:
        InputError: Redis does not answer.
    """
    from contextlib import ExitStack

    from redis.exceptions import RedisError

    from features.errors import InputError
    from serving.connection import connect
    from serving.embedded_redis import EmbeddedRedis
    from serving.publishing import Publisher
    from serving.settings import Settings, masked

    given: dict[str, Any] = {"redis_url": redis, "tenant": tenant, "memory_budget": memory_budget}
    settings = Settings.load(**{name: value for name, value in given.items() if value is not None})
    with ExitStack() as stack:
        if settings.redis_url is not None:
            url = settings.redis_url.get_secret_value()
        else:
            url = stack.enter_context(EmbeddedRedis(settings.state_dir / "redis")).url
        try:
            client = stack.enter_context(connect(url, socket_timeout=60.0))
            yield Publisher(
                client,
                state_dir=settings.home,
                memory_budget=settings.memory_budget,
                tenant=settings.tenant,
                vectors=settings.vectors == "redis",
            )
        except RedisError as error:
            raise InputError(f"Redis at {masked(url)}: {error}") from error
