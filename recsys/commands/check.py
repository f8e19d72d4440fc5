"""`recsys check`: what is in a shop folder, and what is wrong with it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recsys.commands.options import Cache

if TYPE_CHECKING:
    from features.quarantine import Quarantine
    from features.shop.shop import Shop


def check(
    shop: Annotated[
        Path,
        typer.Argument(
            help="Shop folder: items.parquet, .csv or .jsonl; where there are any, interactions.*, users.*, images/ "
            "or images.zip, shop.toml.",
            show_default=False,
        ),
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON, and nothing else.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for quarantine.jsonl. Default: .recsys/<shop>.", show_default=False),
    ] = None,
    pictures: Annotated[bool, typer.Option(help="Open every picture, to find unreadable and duplicate ones.")] = True,
    match: Annotated[
        bool, typer.Option("--match", help="List the listings whose picture and words agree least (trains a model).")
    ] = False,
    lettering: Annotated[
        bool,
        typer.Option(
            "--lettering",
            help="As --match, which also reads what is spelled in the pictures: a listing whose picture spells another "
            "name comes first. Takes some 0.3 s a picture and core, once.",
        ),
    ] = False,
    duplicates: Annotated[
        bool,
        typer.Option(
            "--duplicates", help="List listings that are there twice: the same picture, the same words, or both."
        ),
    ] = False,
    worst: Annotated[int, typer.Option(min=1, help="How many listings --match shows.")] = 20,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with settings of encoders and match, as for `recsys fit`.")
    ] = None,
    cache: Cache = None,
) -> None:
    """Validate a shop and count what it holds.

    Every row, value or picture that cannot be used is written to quarantine.jsonl with file, row, rule and value; the
    rest is what `recsys fit` works with. The shop folder itself is not touched. Exits with 0 where at least one item
    is usable, with 2 and one line that says why where the shop cannot be used at all.

    Next: recsys fit SHOP
    """
    from features.errors import InputError
    from features.pictures.check import check_pictures
    from features.pictures.fetched import FetchedImages
    from features.quarantine import Quarantine
    from features.shop.impressions import read_impressions
    from features.shop.reviews import read_reviews
    from features.shop.shop import read_shop
    from features.shop.summary import summarize
    from graph.relations.triples import read_triples
    from recsys.run_folder import CACHE

    quarantine = Quarantine()
    file = (out or Path(".recsys") / (shop.resolve().name or "shop")) / "quarantine.jsonl"
    try:
        found = read_shop(shop, quarantine=quarantine, fetched=FetchedImages.of_cache(cache or CACHE))
        shown = read_impressions(found, quarantine=quarantine)
        reviews = read_reviews(found, quarantine=quarantine)
        facts = read_triples(found.path, quarantine=quarantine)
    except InputError as error:
        if not quarantine.total:
            raise
        _write(quarantine, file)
        raise InputError(f"{error}; what was refused is in {file}") from error
    report = check_pictures(found, quarantine=quarantine) if pictures else None
    _write(quarantine, file)
    summary = summarize(found, quarantine, pictures=report, now_s=time.time())
    summary["quarantine"]["file"] = str(file)
    summary["impressions"] = None if shown is None else {"shown": len(shown), "clicked": int(shown.clicked.sum())}
    summary["reviews"] = (
        None if reviews is None else {"read": len(reviews), "items": len(set(reviews.item_idx.tolist()))}
    )
    summary["facts"] = (
        None if facts is None else {"read": len(facts.row), "relations": len(set(facts.relation.tolist()))}
    )
    if duplicates:
        summary["near_duplicates"] = _duplicates(found, config, cache or CACHE)
    if match or lettering:
        summary["match"] = _match(found, config, worst, cache or CACHE, lettering=lettering)
    _show(summary, as_json=as_json)


def _write(quarantine: Quarantine, file: Path) -> None:
    from features.errors import InputError

    try:
        quarantine.write(file)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}; give a folder with --out") from error


def _match(shop: Shop, config_file: Path | None, worst: int, cache: Path, *, lettering: bool) -> dict[str, Any]:
    """The listings that agree least: `judged`, how many have a score, and `worst`, the worst first."""
    from features.encoders.catalog import encode_catalog
    from features.quarantine import Quarantine
    from recsys.config import load_config
    from recsys.listing_scores import judge_listings

    config = load_config(config_file, ["lettering.enabled=true"] if lettering else [])
    catalog = shop.catalog
    pairs = sum(bool(text and image) for text, image in zip(catalog.texts(), catalog.image.tolist(), strict=True))
    if pairs < config.match.min_pairs:
        return {"judged": 0, "worst": []}
    # what cannot be read was told by the picture check
    vectors = encode_catalog(shop, config.encoders, cache_dir=cache, quarantine=Quarantine())
    _, scores, evidence = judge_listings(shop, vectors, config, cache_dir=cache)
    listed = [
        {
            "item_id": catalog.items[row],
            "score": round(float(scores.score[row]), 4),
            "title": catalog.title[row],
            "image": catalog.image[row],
        }
        for row in scores.worst(worst).tolist()
    ]
    found: dict[str, Any] = {"judged": int(scores.known.sum()), "worst": listed}
    if evidence is not None:
        found["lettered"] = int(evidence.known.sum())
        for listing, row in zip(listed, scores.worst(worst).tolist(), strict=True):
            listing.update(evidence.told(catalog, row))
    return found


def _duplicates(shop: Shop, config_file: Path | None, cache: Path) -> dict[str, Any]:
    """Groups of listings that are one, the largest evidence first."""
    from features.duplicates import find_duplicates
    from features.encoders.catalog import encode_catalog
    from features.quarantine import Quarantine
    from recsys.config import load_config

    encoders = load_config(config_file).encoders
    vectors = encode_catalog(shop, encoders, cache_dir=cache, quarantine=Quarantine())
    found = find_duplicates(shop, vectors)
    return {
        "groups": [
            {
                "kind": group.kind,
                "items": [shop.catalog.items[row] for row in group.rows],
                "titles": [shop.catalog.title[row] for row in group.rows],
                "difference": _known(group.difference),
                "words": _known(group.words),
                "fused": _known(group.fused),
            }
            for group in found.groups
        ],
        "compared": found.compared,
        "thresholds": dict(zip(found.thresholds, _known(tuple(found.thresholds.values())), strict=True)),
    }


def _known(scores: tuple[float, ...]) -> list[float | None]:
    """NaN, which JSON has not, as None."""
    return [round(score, 4) if score == score else None for score in scores]  # noqa: PLR0124


def _show(summary: dict[str, Any], *, as_json: bool) -> None:
    import json
    import sys

    from rich.console import Console

    from recsys.check_tables import duplicates_table, match_table, summary_tables

    if as_json:
        sys.stdout.write(json.dumps(summary, ensure_ascii=False, allow_nan=False, indent=2) + "\n")
        return
    console = Console(highlight=False)
    for table in summary_tables(summary):
        console.print(table)
    if "near_duplicates" in summary:
        console.print(duplicates_table(summary["near_duplicates"]))
    if "match" in summary:
        console.print(match_table(summary["match"]))
    refused = summary["quarantine"]
    console.print(f"{refused['total']:,} refused, each one in {refused['file']}", soft_wrap=True, markup=False)
    console.print(f"Next: recsys fit {summary['path']}", soft_wrap=True, markup=False)
