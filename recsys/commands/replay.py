"""`recsys replay`: what a policy would have earned on logged traffic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def replay(
    *,
    log: Annotated[
        Path,
        typer.Option(
            help="Shown slots: a .parquet, .csv or .jsonl file, or a folder with impressions.*.", show_default=False
        ),
    ],
    policy: Annotated[
        list[str],
        typer.Option(
            help="What to judge; may be repeated. A folder with a bundle, logged, random, popularity, best, log:NAME "
            "(who wrote another log of the file), linucb, thompson; NAME@T draws lists with temperature T, NAME~E "
            "fills a share E of the slots at random.",
            show_default=False,
        ),
    ],
    against: Annotated[
        str | None, typer.Option(help="Compare every policy with this one, such as logged.", show_default=False)
    ] = None,
    reward: Annotated[str, typer.Option(help="Column of the reward; click finds click or clicked.")] = "click",
    also: Annotated[
        list[str] | None,
        typer.Option(
            help="Another reward column, such as revenue, to keep an eye on; may be repeated.", show_default=False
        ),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(help="Column that tells kinds of visitors or pages apart; may be repeated.", show_default=False),
    ] = None,
    segment: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of the log or of --items to split the results by; may be repeated.", show_default=False
        ),
    ] = None,
    items: Annotated[
        Path | None,
        typer.Option(help="Table of items (item_id, …) for --segment, such as a category.", show_default=False),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="ours=theirs, such as propensity=pscore, where a name is not found.", show_default=False),
    ] = None,
    given_above: Annotated[
        bool | None,
        typer.Option(
            help="Propensities are given the slots above (lists without repeats), or overall for each slot. Default: "
            "as the service logs them where it wrote the log, overall elsewhere.",
            show_default=False,
        ),
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option(help="Table of events that earn the reward, by recommendation_id.", show_default=False),
    ] = None,
    event_type: Annotated[
        list[str] | None,
        typer.Option(help="Which events count; may be repeated. Default: click and view.", show_default=False),
    ] = None,
    window_s: Annotated[float, typer.Option(help="An event counts up to so many seconds after its slot.")] = 86_400.0,
    worth: Annotated[
        str, typer.Option(help="What events are worth: once (at most 1 a slot), count, or value (their event_value).")
    ] = "once",
    last_touch: Annotated[
        bool,
        typer.Option(
            "--last-touch", help="Events without recommendation_id count for the newest slot with their item."
        ),
    ] = False,
    history: Annotated[
        Path | None,
        typer.Option(
            help="What users did (user_id, item_id, timestamp), so that a bundle knows at each request what was known "
            "then. Default: events.* in the log's folder.",
            show_default=False,
        ),
    ] = None,
    changes: Annotated[
        Path | None,
        typer.Option(
            help="What became of items when (item_id, timestamp, and available, price or attributes from then on), so "
            "that a bundle answers from the catalog of that moment.",
            show_default=False,
        ),
    ] = None,
    users: Annotated[
        Path | None,
        typer.Option(help="What the shop says of its users (user_id, …), for rules that name it.", show_default=False),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option(
            help="Rule set (JSON or TOML) that a bundle answers by, as recsys rules knows it.", show_default=False
        ),
    ] = None,
    ctr: Annotated[
        Path | None,
        typer.Option(
            help="Folder that `recsys log counters` left: a bundle's ranker goes by how items did where they were "
            "shown, as it was known at each request. Default: as the bundle was made.",
            show_default=False,
        ),
    ] = None,
    clusters: Annotated[
        Path | None,
        typer.Option(
            help="A bundle whose item embeddings tell which items are alike (MIPS). Default: the first such policy.",
            show_default=False,
        ),
    ] = None,
    learn: Annotated[
        float, typer.Option(help="Share of the traffic, the earliest, for policies that learn from clicks.")
    ] = 0.25,
    clicks: Annotated[
        str,
        typer.Option(
            help="What a click in a list may depend on: list (all of it), above (its slot and those above), or slot "
            "(its own slot alone, the least noise)."
        ),
    ] = "above",
    unit: Annotated[str, typer.Option(help="What is independent of what: request or user.")] = "request",
    samples: Annotated[int, typer.Option(min=1, help="Resamples behind the bootstrap intervals.")] = 1000,
    level: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    power: Annotated[
        float | None,
        typer.Option(
            help="Tell how many slots it takes to see a difference of this share, such as 0.02, to the policy compared "
            "with: by replay, and by an A/B test.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    every: Annotated[bool, typer.Option("--all", help="Show every estimator, not just the best known.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write everything that was found as JSON.", show_default=False)
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--html", help="Write one page with plots, for anyone to read.", show_default=False),
    ] = None,
    quarantine_file: Annotated[
        Path | None, typer.Option("--quarantine", help="Write refused rows as JSON lines.", show_default=False)
    ] = None,
) -> None:
    """Estimate what click-through a policy would have had on traffic that another policy served, and how sure that is.

    Each log (behavior policy and campaign) is judged by itself. A verdict says whether the estimate may be believed:
    trustworthy, wide, or cannot be estimated from this log. The service logs the probability of every slot; a log
    without propensities gets estimated ones, and says so.

    Example: recsys replay --log impressions.parquet --policy random --policy popularity~0.1 --against logged
    """
    import orjson
    from pydantic import ValidationError
    from rich.console import Console

    from features.errors import InputError
    from features.quarantine import Quarantine
    from recsys.replay.attribution import AttributionRules
    from recsys.replay.console import tables
    from recsys.replay.engine import ReplayConfig
    from recsys.replay.form import LogFormat
    from recsys.replay.report import write_replay_report
    from recsys.replay.result import replay_json
    from recsys.replay.run import Asked, replay_logs
    from recsys.run_folder import write_atomically

    if power is not None and against is None:
        raise InputError("--power needs --against, the policy to differ from")
    columns: dict[str, str] = {}
    for one in column or []:
        ours, equals, theirs = one.partition("=")
        if not equals or not ours.strip() or not theirs.strip():
            raise InputError(f"--column must look like ours=theirs, got {one!r}")
        columns[ours.strip()] = theirs.strip()
    try:
        config = ReplayConfig.model_validate(
            {"bootstrap_samples": samples, "level": level, "unit": unit, "clicks": clicks, "seed": seed, "lift": power}
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"--{first['loc'][0]}: {first['msg']}, got {first['input']!r}") from error
    form = LogFormat(
        columns=columns,
        reward=reward,
        also=tuple(also or ()),
        group=tuple(group or ()),
        segments=tuple(segment or ()),
        items=items,
        given_above=given_above,
        events=events,
        attribution=AttributionRules(window_s, tuple(event_type or ("click", "view")), worth, last_touch),
    )
    quarantine = Quarantine()
    asked = Asked(
        path=log,
        policies=tuple(policy),
        against=against,
        form=form,
        learn=learn,
        clusters=clusters,
        history=history,
        changes=changes,
        users=users,
        rules=rules,
        ctr=ctr,
        config=config,
    )
    replays = replay_logs(asked, quarantine=quarantine)
    console = Console(highlight=False)
    for found in replays:
        for shown in tables(found, every=every):
            console.print(shown)
    if quarantine.total:
        console.print(f"{quarantine.total:,} rows were refused:")
        for rule, count in quarantine.counts.items():
            console.print(f"  {count:,}  {rule}", markup=False)
    if quarantine_file is not None:
        quarantine.write(quarantine_file)
    if json_file is not None or report is not None:
        told = {"log": str(log), "policies": policy, "against": against, "reward": reward, "seed": seed, "level": level}
        found_json = replay_json(replays, asked=told, quarantined=quarantine.counts)
        if json_file is not None:
            write_atomically(json_file, orjson.dumps(found_json, option=orjson.OPT_INDENT_2))
            console.print(f"json  {json_file}", markup=False)
        if report is not None:
            write_replay_report(report, found_json)
            console.print(f"page  {report}", markup=False)
