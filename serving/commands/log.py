"""`recsys log`: from the service's streams to the tables that replays and the next training read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import threading

    from redis import Redis

    from serving.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="What was shown and what shoppers did: from the service's streams to parquet.\n\n"
    "`collect` follows the streams (start one or several beside the service); `merge` makes impressions.parquet and "
    "events.parquet of what it kept, for `recsys replay` and for the next training. `attribute` counts for the arms of "
    "experiments which clicks came of what they showed.",
)


RedisUrl = Annotated[
    str | None, typer.Option(help="Redis URL; else REDIS_URL, else the embedded server.", show_default=False)
]
Worker = Annotated[str, typer.Option(help="This worker's name: its own, and the same after a restart.")]
Tenant = Annotated[
    str | None, typer.Option(help="Whose shop it is, where several share one Redis; else RECSYS_TENANT.")
]
Once = Annotated[bool, typer.Option("--once", help="End when nothing is left to do.")]


@app.command()
def collect(
    archive: Annotated[Path, typer.Argument(help="Folder to keep the parts in; several workers may share it.")],
    *,
    redis: RedisUrl = None,
    worker: Worker = "collector-1",
    tenant: Tenant = None,
    once: Once = False,
) -> None:
    """Keep every answer and every event, each once, though workers be killed and started again.

    An entry is acknowledged when its file is on disk. What cannot be read goes to refused.jsonl beside the parts. Small
    files become large ones as it goes, a little at a time: an archive needs no care.

    A Redis that has lost its data gets users' recent events and the counters of arms back from here. The service must
    name this folder by RECSYS_ARCHIVE: it notes there who asked to be forgotten, and they do not come back.
    """
    from serving.nearline.collect import collect as run

    with _streams(redis, tenant) as (client, stop, settings):
        counts = run(client, archive, worker=worker, stop=stop, once=once, tenant=settings.tenant, returns=settings)
    for name, entries in counts.entries.items():
        lost = f", {counts.lost[name]} lost to the stream's cap" if counts.lost[name] else ""
        typer.echo(f"{name}: {entries} entries, {counts.rows[name]} rows{lost}")


@app.command()
def attribute(
    *,
    redis: RedisUrl = None,
    worker: Worker = "attribution-1",
    tenant: Tenant = None,
    window: Annotated[float, typer.Option(min=1, help="Seconds after an answer in which a click of it counts.")] = 1800,
    counters: Annotated[
        Path | None,
        typer.Option(
            help="Folder that `recsys log counters` left: go on counting items from there, for the ranker.",
            show_default=False,
        ),
    ] = None,
    once: Once = False,
) -> None:
    """Count what the arms of experiments showed and which clicks came of just that, each once.

    Start one or several beside the service. GET /v1/experiments/results and /metrics tell what was counted. With
    --counters, items are counted as well, and the service's ranker goes by it within seconds; what is counted is kept
    in FOLDER/live.parquet, to go on from should Redis lose it.
    """
    from recsys.appeal.files import read_counters
    from serving.nearline.appeal_kept import LIVE
    from serving.nearline.attribution import attribute as run

    with _streams(redis, tenant) as (client, stop, settings):
        counted = run(
            client,
            worker=worker,
            stop=stop,
            once=once,
            window_s=window,
            tenant=settings.tenant,
            counters=None if counters is None else read_counters(counters),
            keep=None if counters is None else counters / LIVE,
        )
    typer.echo(f"answers {counted['answers']}, clicks {counted['clicks']}, too late {counted['late']}")


@app.command()
def merge(
    archive: Annotated[Path, typer.Argument(help="Folder that `recsys log collect` filled.")],
    out: Annotated[Path, typer.Argument(help="Folder to leave impressions.parquet and events.parquet in.")],
) -> None:
    """Make one table of each kind, in the order of the streams, each row once."""
    from serving.nearline.archive import KEYS
    from serving.nearline.archive import merge as run
    from serving.nearline.parts import part_names

    there = {kind: bool(part_names(archive / kind)) for kind in KEYS}
    for kind in KEYS:
        if not there[kind] and any(there.values()):
            typer.echo(f"{kind}: none yet")
            continue
        rows, twice = run(archive / kind, out / f"{kind}.parquet", kind=kind)
        typer.echo(
            f"{out / f'{kind}.parquet'}: {rows} rows" + (f", {twice} left out that stood there twice" if twice else "")
        )


@app.command()
def counters(
    log: Annotated[
        Path,
        typer.Argument(help="Shown slots: what `recsys log merge` left, a shop folder with impressions.*, or a table."),
    ],
    *,
    out: Annotated[Path, typer.Option(help="Folder to leave counters.parquet and counters.json in.")],
    window: Annotated[
        float, typer.Option(min=1, help="Seconds after a slot in which a click of it counts, where events tell clicks.")
    ] = 1800,
    half_life: Annotated[float, typer.Option(min=0.01, help="Days after which counts are worth half.")] = 14,
    bucket: Annotated[
        float, typer.Option(min=1, help="Seconds kept as one row an item; what a replay sees moves so.")
    ] = (86_400),
) -> None:
    """Count what each item earned where it was shown, with what its slots earn anyway taken off.

    How places are looked at is fitted first: from slots that were drawn, where the log has some, else by supposing that
    an item attracts alike wherever it stands. `recsys fit --ctr OUT` lets the ranker learn from it, `recsys log
    attribute --counters OUT` goes on counting live.
    """
    from features.quarantine import Quarantine
    from recsys.appeal.counting import CountingConfig, count_logs
    from recsys.appeal.files import write_counters
    from recsys.replay.attribution import AttributionRules
    from recsys.replay.form import LogFormat
    from recsys.replay.reading import read_logs

    quarantine = Quarantine()
    form = LogFormat(attribution=AttributionRules(window_s=window))
    logs = read_logs(log, form, quarantine=quarantine)
    logs = [one for one in logs if one.name.rpartition("/")[2] != "search"] or logs  # there, words decide
    joined = form.joins_events(log)
    config = CountingConfig(half_life_s=half_life * 86_400, bucket_s=bucket)
    history = count_logs(logs, config, window_s=window if joined else 0.0)
    write_counters(out, history)
    typer.echo(
        f"{out}: {len(history.items)} items, {history.shown.sum():,.0f} slots, {history.clicks.sum():,.0f} clicks"
    )
    for surface, curve in history.examination(history.end_s).curves.items():
        typer.echo(f"  looks at {surface or 'the list'} by place: " + " ".join(f"{looks:.2f}" for looks in curve[:12]))
    how = (
        f"{history.randomized:.0%} of the slots were drawn"
        if history.randomized
        else ("no slot was drawn: it is supposed that an item attracts alike wherever it stands")
    )
    typer.echo(f"  {how}")
    if len(history.scenarios) > 1:
        typer.echo(f"  counted by themselves: {', '.join(history.scenarios[1:])}")
    for rule, count in quarantine.counts.items():
        typer.echo(f"  {count:,} rows refused: {rule}")


@contextmanager
def _streams(redis: str | None, tenant: str | None) -> Iterator[tuple[Redis, threading.Event, Settings]]:
    """The Redis of the options or of the environment; an event that is set when the process is to end; the settings.

    Raises:
        InputError: Redis does not answer.
    """
    import signal
    import threading
    from contextlib import ExitStack

    from redis.exceptions import RedisError

    from features.errors import InputError
    from serving.connection import connect
    from serving.embedded_redis import EmbeddedRedis
    from serving.settings import Settings
    from serving.telemetry import configure_logging

    given = {"redis_url": redis, "tenant": tenant}
    settings = Settings.load(**{name: value for name, value in given.items() if value is not None})
    stop = threading.Event()
    configure_logging()
    with ExitStack() as stack:
        if settings.redis_url is not None:
            url = settings.redis_url.get_secret_value()
        else:
            url = stack.enter_context(EmbeddedRedis(settings.state_dir / "redis")).url
        client = stack.enter_context(connect(url))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        try:
            yield client, stop, settings
        except RedisError as error:
            raise InputError(f"Redis does not answer: {error}") from error
