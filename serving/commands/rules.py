"""`recsys rules`: check, try, put, show and take back the rules of a shop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from recsys.rules.dry_run import DryRun
    from serving.commands.documents import Desk

app = typer.Typer(
    no_args_is_help=True,
    help="Rules of the shop: filters, boosts, caps, pins, what may be seen again, diversity, exploration.\n\n"
    "A rule set is a TOML or JSON file; docs/serving.md tells what it may say. `check` and `dry-run` need no service; "
    "`put` stores the next version in Redis, and running services go by it within a second.",
)

File = Annotated[Path, typer.Argument(help="Rule set, TOML or JSON.", show_default=False)]
Folder = Annotated[
    Path | None,
    typer.Option("--bundle", help="Bundle whose catalog the rules must fit: OUT/bundle of `recsys fit`."),
]
Redis = Annotated[
    str | None, typer.Option(help="Redis URL; else REDIS_URL, else the embedded server.", show_default=False)
]


@app.command()
def check(file: File, *, bundle: Folder = None) -> None:
    """Say what is wrong with a rule set: its grammar, and with --bundle fields and values the catalog does not have."""
    from recsys.rules.model import RuleSet

    rules = RuleSet.load(file)
    typer.echo(f"{file}: {len(rules.rules)} rules read")
    if bundle is not None:
        for said in _review(file, bundle):
            typer.echo(f"warning: {said}")


@app.command("dry-run")
def dry_run(
    file: File,
    *,
    bundle: Annotated[Path, typer.Option(help="Bundle to answer from: OUT/bundle of `recsys fit`.")],
    item: Annotated[str | None, typer.Option(help="The item whose similar items are asked for.")] = None,
    user: Annotated[str | None, typer.Option(help="The one who asks; a visitor without one.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="Slots.")] = 12,
    scenario: Annotated[str, typer.Option(help="The place the answer is for.")] = "",
    segment: Annotated[
        list[str] | None, typer.Option(help="A group the one who asks belongs to; may be repeated.", show_default=False)
    ] = None,
    at: Annotated[str | None, typer.Option(help="The moment, such as 2026-05-01T12:00Z; else now.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable: one JSON object.")] = False,
) -> None:
    """Show one answer with and without the rules, and what each rule takes away, or moves from where to where.

    It answers from the bundle alone, as for a user of whom nothing is known since training. The running service tries
    rules on its users as they are now at POST /v1/rules/dry-run.
    """
    import time
    from dataclasses import asdict
    from datetime import UTC, datetime

    import orjson

    from features.errors import InputError
    from recsys.bundle import Bundle
    from recsys.pipeline.request import Request
    from recsys.recommendation import UserState
    from recsys.recommender import BundleRecommender
    from recsys.rules.amended import trained_facts
    from recsys.rules.book import RuleBook
    from recsys.rules.dry_run import dry_run as run
    from recsys.rules.model import RuleSet
    from recsys.rules.occasion import Occasion
    from recsys.rules.stages import Steering

    try:
        moment = None if at is None else datetime.fromisoformat(at)
    except ValueError:
        raise InputError(f"--at must be a time such as 2026-05-01T12:00Z, got {at!r}") from None
    now_s = time.time() if moment is None else (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    _review(file, bundle)
    rules, opened = RuleSet.load(file), Bundle.open(bundle)
    if item is not None and item not in opened.items:
        raise InputError(f"--item must be in the catalog, {item!r} is not")
    known = "anonymous" if user is None else "known" if user in opened.users else "new"
    occasion = Occasion(
        now_s,
        user,
        -1 if item is None else opened.items.idx(item),
        frozenset({"feed" if item is None else "similar", scenario} - {""}),
        frozenset(segment or [known]),
    )
    steering = Steering(RuleBook(rules, trained_facts(opened)), occasion, diversity=rules.diversity)
    asked = UserState(user, trained_again=rules.seen.trained == "allow")
    request = Request(k, asked, page=item, scenario=scenario, now_s=now_s)
    told = run(BundleRecommender(opened), request, steering)
    if as_json:
        typer.echo(orjson.dumps(asdict(told), option=orjson.OPT_INDENT_2).decode())
    else:
        _print(told)


@app.command()
def put(
    file: File,
    *,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Bundle whose catalog the rules must fit; else the published one, where it can be read."),
    ] = None,
    note: Annotated[str, typer.Option(help="What to remember of this change.")] = "",
    expect: Annotated[
        int | None, typer.Option(min=0, help="Refuse where another version is active than this one.")
    ] = None,
    redis: Redis = None,
) -> None:
    """Store a rule set as the next version; running services go by it within about a second."""
    from features.errors import InputError
    from recsys.rules.model import RuleSet
    from serving.commands.documents import with_rules
    from serving.documents import NotCurrentError

    rules = RuleSet.load(file)

    async def run(at: Desk) -> int:
        place = bundle or await at.bundle()
        if place is None:
            typer.echo("no published bundle can be read here: fields and values are not checked", err=True)
        else:
            for said in _review(file, place):
                typer.echo(f"warning: {said}", err=True)
        try:
            return await at.documents.put(rules.dump(), note=note, expected=expect)
        except NotCurrentError as error:
            raise InputError(f"{error}, --expect says {expect}") from None

    version = with_rules(redis, run)
    typer.echo(f"version {version} of the rules holds")


@app.command()
def show(
    version: Annotated[int | None, typer.Argument(min=1, help="A version; the active one where absent.")] = None,
    *,
    history: Annotated[bool, typer.Option("--history", help="List all versions instead.")] = False,
    redis: Redis = None,
) -> None:
    """Print a rule set as JSON, or list the versions, newest first."""
    from datetime import UTC, datetime

    from features.errors import InputError
    from serving.commands.documents import with_rules

    async def run(at: Desk) -> str:
        if history:
            return "\n".join(
                f"{'*' if one.active else ' '} {one.version:>4}  "
                f"{datetime.fromtimestamp(one.created_s, UTC):%Y-%m-%d %H:%M:%S}Z  {one.note}"
                for one in await at.documents.history()
            )
        wanted = (await at.documents.standing()).active if version is None else version
        raw = await at.documents.get(wanted) if wanted else b"{}"
        if raw is None:
            raise InputError(f"there is no version {wanted} of the rules")
        return raw.decode()

    typer.echo(with_rules(redis, run))


@app.command()
def rollback(
    to: Annotated[int | None, typer.Argument(min=1, help="A version; the one active before where absent.")] = None,
    *,
    redis: Redis = None,
) -> None:
    """Make the version that was active before active again, or the one named."""
    from features.errors import InputError
    from serving.commands.documents import with_rules
    from serving.documents import NoVersionError

    async def run(at: Desk) -> int:
        try:
            return await at.documents.rollback(to)
        except NoVersionError as error:
            raise InputError(str(error)) from None

    typer.echo(f"version {with_rules(redis, run)} of the rules holds")


def _review(file: Path, bundle: Path) -> list[str]:
    """Warnings of rules on a bundle's catalog.

    Raises:
        InputError: a rule does not fit it.
    """
    from features.errors import InputError
    from recsys.bundle import Bundle
    from recsys.rules.amended import trained_facts
    from recsys.rules.book import RuleBook
    from recsys.rules.model import RuleSet

    found = RuleBook(RuleSet.load(file), trained_facts(Bundle.open(bundle))).review()
    if found.errors:
        raise InputError(f"{file}: {'; '.join(found.errors)}")
    return found.warnings


def _print(told: DryRun) -> None:
    from itertools import zip_longest

    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(title="One answer", title_justify="left")
    for column in ("slot", "without rules", "with all rules"):
        table.add_column(column)
    for slot, (before, after) in enumerate(zip_longest(told.before, told.after, fillvalue=""), start=1):
        table.add_row(str(slot), before, after)
    console.print(table)
    for effect in told.effects:
        if not effect.applies:
            console.print(f"{effect.rule} ({effect.action}): does not apply, {effect.why}", markup=False)
            continue
        console.print(
            f"{effect.rule} ({effect.action}): about {effect.matched} items, {effect.n_moved} candidates", markup=False
        )
        for move in effect.moves[:10]:
            came, went = ("-" if place is None else str(place) for place in (move.before, move.after))
            console.print(f"    {move.item_id}: {came} -> {went}", markup=False)
        if effect.n_moved > 10:
            console.print(f"    and {effect.n_moved - 10} more")
