"""`recsys publish`: a bundle into Redis, or the version before back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console


def publish(
    bundle_dir: Annotated[
        Path | None,
        typer.Argument(help="Bundle to publish: OUT/bundle of `recsys fit`.", show_default=False),
    ] = None,
    *,
    redis: Annotated[
        str | None,
        typer.Option(
            help="Redis or Valkey URL (redis://, rediss://, unix://, redis+sentinel://, redis+cluster://). Without "
            "one, and without REDIS_URL, the embedded server: the running one, or one started for this.",
            show_default=False,
        ),
    ] = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Return to the version published before.")] = False,
    keep: Annotated[int, typer.Option(min=0, max=20, help="Versions kept beside the new one, for rollback.")] = 1,
    tenant: Annotated[
        str | None, typer.Option(help="Whose shop it is, where several share one Redis; else RECSYS_TENANT.")
    ] = None,
    memory_budget: Annotated[
        str | None,
        typer.Option(
            help="Largest Redis memory this may lead to, such as 2GB; predicted and refused before anything is "
            "written. Without one, the server's maxmemory.",
            show_default=False,
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes that make the lists; one a core where not said. Each opens the bundle.",
            show_default=False,
        ),
    ] = None,
    vectors: Annotated[
        bool,
        typer.Option(
            "--vectors",
            help="Also load the items' vectors, for services with RECSYS_VECTORS=redis; needs Redis 8 or later.",
        ),
    ] = False,
    if_none: Annotated[
        bool,
        typer.Option("--if-none", help="Publish only where no version is current; leave one that is as it stands."),
    ] = False,
    gate: Annotated[
        str | None,
        typer.Option(
            help="Publish only a bundle that replays well enough on --gate-log, such as 'replay(ctr) >= logged - 1%'; "
            "replay(ctr).low asks to be sure of it (the lower end of the interval).",
            show_default=False,
        ),
    ] = None,
    gate_log: Annotated[
        Path | None,
        typer.Option(help="Logged traffic for --gate: what recsys log merge left, or a table.", show_default=False),
    ] = None,
    gate_ctr: Annotated[
        Path | None,
        typer.Option(
            help="Counters (`recsys log counters`) that the bundle's ranker goes by in that replay, as of each "
            "request; without, those the bundle was made with, which may know the log.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Publish a bundle: load beside the current version, read back, switch, keep the last one, expire older.

    Running services follow within a second and miss no request. If anything fails, the current version stays. A publish
    that was interrupted goes on where it was when it is run again.
    """
    from contextlib import ExitStack

    from redis.exceptions import RedisError
    from rich.console import Console
    from rich.table import Table

    from features.errors import InputError
    from recsys.bundle import Bundle
    from serving.connection import connect
    from serving.embedded_redis import EmbeddedRedis
    from serving.publishing import Publisher
    from serving.settings import Settings, masked, parse_bytes

    if (bundle_dir is None) != rollback:
        raise InputError("name either a bundle to publish or --rollback")
    if (gate is None) != (gate_log is None) or (gate is not None and bundle_dir is None):
        raise InputError("--gate needs a bundle and the traffic it is replayed on, --gate-log; and the other way round")
    if (gate_ctr is not None and gate is None) or ((vectors or if_none) and rollback):
        needs_bundle = "--vectors needs a bundle" if vectors else "--if-none needs a bundle"
        raise InputError("--gate-ctr needs --gate" if gate_ctr is not None else needs_bundle)
    console = Console(highlight=False)
    if gate is not None and gate_log is not None and bundle_dir is not None:
        _must_pass(gate, bundle_dir, gate_log, console, ctr=gate_ctr)
    settings = Settings.load(**({} if tenant is None else {"tenant": tenant}))
    budget = settings.memory_budget if memory_budget is None else parse_bytes(memory_budget)
    with ExitStack() as stack:
        url = redis or (None if settings.redis_url is None else settings.redis_url.get_secret_value())
        if url is None:
            url = stack.enter_context(EmbeddedRedis(settings.state_dir / "redis")).url
        try:
            client = stack.enter_context(connect(url, socket_timeout=60.0))
            publisher = Publisher(
                client,
                state_dir=settings.home,
                keep=keep,
                memory_budget=budget,
                tenant=settings.tenant,
                processes=processes,
                vectors=vectors,
            )
            if bundle_dir is None:
                left, current = publisher.rollback()
                console.print(f"rolled back from {left} to [bold]{current}[/]")
                return
            done = publisher.publish(Bundle.open(bundle_dir), if_none=if_none)
        except (RedisError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"Redis at {masked(url)}: {error}") from error
    table = Table(title="Published" if done.n_keys else "Already current", show_header=False)
    table.add_row("version", done.version)
    table.add_row("previous", done.previous or "none")
    if done.n_keys:
        table.add_row("keys", f"{done.n_keys:,}")
    if done.predicted_bytes:
        table.add_row("memory predicted", f"{done.predicted_bytes / 1e6:,.1f} MB")
        table.add_row("memory by the server's account", f"{done.measured_bytes / 1e6:,.1f} MB")
    if done.vector_recall is not None:
        table.add_row("vectors: recall@100 of a search in Redis", f"{done.vector_recall:.4f}")
    table.add_row("seconds", f"{done.seconds:.1f}")
    console.print(table)


def _must_pass(said: str, bundle: Path, log: Path, console: Console, *, ctr: Path | None) -> None:
    """Refuse a bundle that does not replay well enough."""
    from features.errors import InputError
    from features.quarantine import Quarantine
    from recsys.replay.gate import hold_against, parse_gate

    gate = parse_gate(said)
    quarantine = Quarantine()
    outcome = hold_against(gate, bundle, log, quarantine=quarantine, ctr=ctr)
    if not outcome.passed:
        raise InputError(f"not published, the gate {gate.said!r} stays shut. " + " ".join(outcome.said))
    for line in outcome.said:
        console.print(f"gate  {line}", markup=False)
    if quarantine.total:
        console.print(f"gate  {quarantine.total:,} rows of the log were refused", markup=False)
