"""The summary of a shop as tables on the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from rich.table import Table
from rich.text import Text

from features.errors import nearest_name
from features.shop.config import COLUMNS


def summary_tables(summary: dict[str, Any]) -> Iterator[Table]:
    """A table of the shop, one of its attributes where it has any, one of what was refused where anything was.

    Args:
        summary: as `features.shop.summary.summarize` makes it.
    """
    yield _shop(summary)
    if summary["attributes"] or summary["user_attributes"]:
        yield _attributes(summary)
    if summary["quarantine"]["rules"]:
        yield _refused(summary["quarantine"])


def match_table(match: dict[str, Any]) -> Table:
    """The listings whose picture and words agree least.

    Args:
        match: `judged` and `worst`, as `recsys check --match` finds them, and `lettered` where lettering was read.
    """
    lettered = "lettered" in match
    told = f", {match['lettered']:,} also by the lettering in the picture" if lettered else ""
    table = _table(f"Picture and words agree least ({match['judged']:,} listings judged{told})")
    headings = ["agreement", "item_id", "title", "image", *(["spelled in it", "fits better"] if lettered else [])]
    for heading in headings:
        table.add_column(heading, justify="right" if heading == "agreement" else "left", overflow="fold")
    for listing in match["worst"]:
        row = [f"{listing['score']:.3f}", listing["item_id"], listing["title"], listing["image"]]
        if lettered:
            better = listing["fits_better"]
            row += [listing["lettering"], "" if better is None else f"{better['item_id']}: {better['title']}"]
        table.add_row(*map(Text, row))
    if not match["worst"]:
        table.add_row("", "", Text("too few listings have both words and a picture to judge any"))
    return table


MOST_GROUPS = 40
"""Groups of duplicates shown; JSON has all of them."""


def duplicates_table(found: dict[str, Any]) -> Table:
    """Listings that are there twice.

    Args:
        found: `groups`, as `recsys check --duplicates` finds them.
    """
    groups = found["groups"]
    kinds = Counter(group["kind"] for group in groups)
    told = ", ".join(f"{count:,} x {kind}" for kind, count in kinds.items()) or "none"
    table = _table(f"Duplicate listings ({told})")
    for heading in ("the same is", "item_id", "title", "difference", "words", "fused"):
        table.add_column(heading, justify="right" if heading in ("difference", "words", "fused") else "left")
    for group in groups[:MOST_GROUPS]:
        scores = [[None, *group[name]] for name in ("difference", "words", "fused")]
        for place, item in enumerate(group["items"]):
            shown = ["" if score[place] is None else f"{score[place]:.3g}" for score in scores]
            kind = group["kind"].removeprefix("same ") if place == 0 else ""
            table.add_row(
                Text(kind),
                Text(item),
                Text(group["titles"][place]),
                *shown,
                end_section=not group["items"][place + 1 :],
            )
    if len(groups) > MOST_GROUPS:
        table.add_row("", Text(f"and {len(groups) - MOST_GROUPS:,} groups more: --json lists all"))
    return table


def _table(title: str) -> Table:
    return Table(title=Text(title), title_justify="left", title_style="bold", header_style="dim")


def _shop(summary: dict[str, Any]) -> Table:
    table = _table(f"{summary['name']}  ({summary['path']})")
    table.add_column("what")
    table.add_column("how many", justify="right")
    table.add_column("", overflow="fold")

    def add(what: str, count: int | None, about: str = "") -> None:
        table.add_row(Text(what), "" if count is None else f"{count:,}", Text(about))

    add("items", summary["items"], f"{summary['cold_items']:,} without any event that counts")
    for name, found in summary["modalities"].items():
        if found["items"] or name in ("title", "image"):
            add(f"  {name}", found["items"], f"{found['share']:.1%}")
    if summary["remote_images"]:
        add(
            "  image elsewhere", summary["remote_images"], "addresses that were not fetched; recsys images fetches them"
        )
    duplicates = summary["duplicates"]
    add("  duplicate titles", duplicates["titles"], "equal to an earlier item's" if duplicates["titles"] else "")
    if duplicates["pictures"] is None:
        add("  duplicate pictures", None, "pictures were not opened")
    else:
        add("  duplicate pictures", duplicates["pictures"], "byte for byte" if duplicates["pictures"] else "")
    add("users", summary["users"], f"{summary['active_users']:,} with events that count")
    add("events", summary["interactions"], _range(summary["date_range"]))
    for kind in dict.fromkeys([*summary["events"], *summary["left_out"]]):
        out = summary["left_out"].get(kind, 0)
        add(f"  {kind}", summary["events"].get(kind, 0), f"{out:,} more left out by rule" if out else "")
    if duplicates["events"]:
        add("  repeated events", duplicates["events"], "same user, item, type and time; they are kept")
    if summary.get("impressions"):
        add("impressions", summary["impressions"]["shown"], f"{summary['impressions']['clicked']:,} clicked")
    if summary.get("reviews"):
        add("reviews", summary["reviews"]["read"], f"of {summary['reviews']['items']:,} items")
    if summary.get("facts"):
        add("facts", summary["facts"]["read"], f"of {summary['facts']['relations']:,} relations")
    for name, columns in summary["ignored_columns"].items():
        add("columns not read", len(columns), f"{name}: {', '.join(_perhaps(column, name) for column in columns)}")
    for remark in summary["remarks"]:
        add("note", None, remark)
    return table


def _perhaps(column: str, table: str) -> str:
    """A column that is not read, with the one that it may be meant to be."""
    meant = nearest_name(column, COLUMNS.get(table, ()))
    return column if meant is None else f"{column} (meant {meant}?)"


def _range(dates: dict[str, str] | None) -> str:
    return "without times" if dates is None else f"{dates['first']} to {dates['last']}"


def _attributes(summary: dict[str, Any]) -> Table:
    table = _table("Attributes")
    table.add_column("of")
    table.add_column("name", overflow="fold")
    table.add_column("different values", justify="right")
    table.add_column("coverage", justify="right")
    table.add_column("note", overflow="fold")
    for owners, key in (("items", "attributes"), ("users", "user_attributes")):
        for name, found in summary[key].items():
            share = found[owners] / summary[owners] if summary[owners] else 0.0
            table.add_row(owners, Text(name), f"{found['values']:,}", f"{share:.1%}", Text(found["note"] or ""))
    return table


def _refused(quarantine: dict[str, Any]) -> Table:
    table = _table("Refused")
    table.add_column("rule", overflow="fold")
    table.add_column("how many", justify="right")
    for rule, count in quarantine["rules"].items():
        table.add_row(Text(rule), f"{count:,}")
    return table
