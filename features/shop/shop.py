"""A shop folder, read whole: items, events, users, and where the pictures are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import structlog

from features.catalog import Attributes, Catalog
from features.errors import InputError
from features.interactions import Interactions
from features.pictures.fetched import FetchedImages, JoinedImages
from features.pictures.sources import FolderImages, ImageSource, ZipImages
from features.quarantine import Quarantine
from features.shop import cells
from features.shop.attribute_reader import AttributeNotes, read_attributes
from features.shop.catalog_reader import CatalogRead, read_catalog, require, with_our_names
from features.shop.cells import Sieve
from features.shop.config import ShopConfig, read_shop_config
from features.shop.interaction_reader import InteractionsRead, read_interactions
from features.shop.tables import SUFFIXES, find_table, read_table
from features.vocabulary import Vocabulary

log = structlog.get_logger()


@dataclass(frozen=True)
class Reading:
    """What is worth telling about how a shop was read, beside what was refused.

    Args:
        left_out: event type -> number of events left out by its rule.
        ignored_columns: table -> columns that were not read.
        attribute_columns: table -> column -> how it was binned, or why it is no attribute.
        remote_images: item row -> addresses, of items with pictures elsewhere that were not fetched.
        remarks: what else one should know, in sentences.
    """

    left_out: dict[str, int] = field(default_factory=dict)
    ignored_columns: dict[str, list[str]] = field(default_factory=dict)
    attribute_columns: dict[str, dict[str, str]] = field(default_factory=dict)
    remote_images: dict[int, tuple[str, ...]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Shop:
    """A shop as its folder has it.

    Args:
        name: from shop.toml, or the folder's name.
        path: the folder.
        catalog: the items.
        interactions: the events, in the order of their file, possibly none; its `users` are all users of the shop,
            first those of the user table, then others in the order of their first event.
        users_attributes: what is known of the users, by row of `interactions.users`.
        images: the pictures, None where the folder has neither images/ nor images.zip and none was fetched.
        fingerprint: hex digest of everything read; two shops that have the same are the same.
        reading: how it was read.
    """

    name: str
    path: Path
    catalog: Catalog
    interactions: Interactions
    users_attributes: Attributes
    images: ImageSource | None
    fingerprint: str
    reading: Reading = field(default_factory=Reading)


def read_shop(path: Path, *, quarantine: Quarantine, fetched: FetchedImages | None = None) -> Shop:
    """Read a shop folder: `items.*`, `interactions.*`, `users.*` (parquet, csv or jsonl), `images/` or `images.zip`,
    `shop.toml`; only the items must be there. Pictures are listed, not opened.

    Args:
        path: the folder.
        quarantine: takes every row and value that is refused.
        fetched: pictures that were fetched from elsewhere; items whose address is there have it as their picture.

    Raises:
        InputError: there is no such folder, a table cannot be read or lacks a column, shop.toml is wrong, or no item
            is usable.
    """
    if not path.is_dir():
        raise InputError(f"a shop must be a folder with items{SUFFIXES[0]}, .csv or .jsonl, {path} is none")
    config = read_shop_config(path)
    tables = {name: find_table(path, name) for name in ("items", "interactions", "users")}
    items_path = tables["items"]
    if items_path is None:
        raise InputError(f"{path} has no item table: items.parquet, items.csv or items.jsonl must be there")
    own = _open_images(path, quarantine)
    joined = own if fetched is None else JoinedImages(own, fetched)
    items = read_catalog(items_path, config, joined, quarantine=quarantine)
    images = own if fetched is None else _of_this_shop(own, fetched, items, quarantine)
    user_ids, user_attributes, user_notes = _read_users(tables["users"], config, quarantine)
    if tables["interactions"] is None:
        events = InteractionsRead(Interactions.empty(Vocabulary.of(user_ids), items.catalog.items))
    else:
        events = read_interactions(tables["interactions"], items.catalog.items, user_ids, config, quarantine=quarantine)
    shop = Shop(
        name=config.name or path.resolve().name,
        path=path,
        catalog=items.catalog,
        interactions=events.interactions,
        users_attributes=user_attributes,
        images=images,
        fingerprint=_fingerprint([*tables.values(), path / "shop.toml"], images),
        reading=Reading(
            left_out=events.left_out,
            ignored_columns={"interactions": events.ignored} if events.ignored else {},
            attribute_columns={
                table: notes.binned | {name: f"left out, {why}" for name, why in notes.left_out.items()}
                for table, notes in (("items", items.notes), ("users", user_notes))
                if notes.binned or notes.left_out
            },
            remote_images=items.remote_images,
            remarks=tuple(events.remarks),
        ),
    )
    log.info(
        "shop read",
        shop=shop.name,
        items=len(shop.catalog),
        users=len(shop.interactions.users),
        interactions=len(shop.interactions),
        refused=quarantine.total,
    )
    return shop


def _open_images(path: Path, quarantine: Quarantine) -> ImageSource | None:
    folder, archive = path / "images", path / "images.zip"
    if folder.is_dir():
        if archive.is_file():
            raise InputError(f"{path} must hold its pictures once, it has both images/ and images.zip")
        return FolderImages(folder)
    if not archive.is_file():
        return None
    images = ZipImages(archive)
    for name in images.outside:
        quarantine.refuse(archive.name, None, "member path leaves the folder", name)
    return images


def _of_this_shop(
    own: ImageSource | None, fetched: FetchedImages, items: CatalogRead, quarantine: Quarantine
) -> ImageSource | None:
    """The shop's own pictures and those fetched for its items; addresses that gave none are refused with the reason."""
    for row, addresses in items.remote_images.items():
        for address in addresses:
            if (failure := fetched.failure(address)) is not None:
                rule = "picture could not be fetched; the item is kept without it"
                quarantine.refuse(address, row, rule, failure.reason)
    used = fetched.names().intersection(name for names in items.catalog.images() for name in names)
    return JoinedImages(own, fetched, addresses=used) if used else own


def _read_users(
    path: Path | None, config: ShopConfig, quarantine: Quarantine
) -> tuple[list[str], Attributes, AttributeNotes]:
    """Ids in row order and what is known of them."""
    if path is None:
        return [], Attributes.of([]), AttributeNotes()
    frame = read_table(path, quarantine=quarantine)
    frame, hidden = with_our_names(frame, "users", path, config)
    require(frame, "users", path, ("user_id",))
    sieve = Sieve(path.name, frame, quarantine)
    codes, ids = cells.coded_ids(frame["user_id"])
    sieve.refuse(codes < 0, "user_id is missing", frame["user_id"])
    sieve.refuse(pd.Series(codes).duplicated().to_numpy(), "user_id is there already", frame["user_id"])
    attributes, notes = read_attributes(frame.loc[sieve.kept].drop(columns="user_id"), config.attributes)
    notes.left_out |= dict.fromkeys(hidden, "another column was given its name in shop.toml")
    return [ids[code] for code in codes[sieve.kept].tolist()], attributes, notes


def _fingerprint(files: list[Path | None], images: ImageSource | None) -> str:
    digest = hashlib.sha256()
    for path in files:
        if path is not None and path.is_file():
            with path.open("rb") as file:
                digest.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    if images is not None:
        digest.update(images.fingerprint().encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
