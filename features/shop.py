"""A shop folder, read: items, events, users, pictures."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import structlog

from features.catalog import Attributes, Catalog
from features.errors import InputError
from features.images import FolderImages, ImageSource, ZipImages
from features.interactions import Interactions
from features.quarantine import Quarantine
from features.read_attributes import read_attributes
from features.read_catalog import read_catalog
from features.read_interactions import read_interactions
from features.shop_config import FILE, ShopConfig, read_shop_config
from features.tables import ENDINGS, as_text, find_table, read_table

log = structlog.get_logger()


@dataclass(frozen=True, eq=False)
class Shop:
    """What a shop gives.

    Args:
        name: of `shop.toml`, else the folder's.
        path: the folder.
        catalog: its items.
        interactions: its events, perhaps none; `interactions.users` are all users, those of the user table too.
        user_attributes: facts of the users; `row_idx` is a row of `interactions.users`.
        images: where its pictures are, None where it has none.
        fingerprint: hex digest of everything the folder says; of pictures, of their archive or names and sizes.
        notes: what a reader should know: columns and events left out, addresses not fetched.
    """

    name: str
    path: Path
    catalog: Catalog
    interactions: Interactions
    user_attributes: Attributes
    images: ImageSource | None
    fingerprint: str
    notes: tuple[str, ...]


def read_shop(path: Path, *, quarantine: Quarantine) -> Shop:
    """Read a shop folder; see the README for its files.

    Args:
        path: the folder.
        quarantine: takes every row and value that is refused.

    Raises:
        InputError: it is no folder, has no item table, no usable item, or a file cannot be read.
    """
    if not path.is_dir():
        raise InputError(f"{path}: a shop must be a folder, this is {'a file' if path.exists() else 'not there'}")
    config = read_shop_config(path)
    item_table = find_table(path, "items")
    if item_table is None:
        raise InputError(f"{path}: a shop needs items{', items'.join(ENDINGS)}; none is there")
    images = open_images(path)
    items = read_catalog(item_table, config, images, quarantine=quarantine)
    user_ids, user_facts, user_notes = _read_users(path, config, quarantine)
    events = read_interactions(
        find_table(path, "interactions"), config, items.catalog.items, user_ids, quarantine=quarantine
    )
    rows = events.interactions.users.idxs(user_ids)
    notes = [f"items: column {name!r} is no attribute: it {why}" for name, why in items.left_out.items()]
    notes += user_notes
    notes += [f"interactions: column {name!r} has no meaning here" for name in events.ignored_columns]
    notes += [
        f"interactions: {count} {kind!r} events say nothing about taste by the shop's event rules and are left out"
        for kind, count in events.left_out.items()
    ]
    if items.remote_images:
        notes.append(f"items: {items.remote_images} pictures are addresses on the network, which are not fetched")
    if quarantine.total:
        log.warning("rows or values refused", shop=str(path), **{"refused": quarantine.total})
    return Shop(
        name=config.name or path.resolve().name,
        path=path,
        catalog=items.catalog,
        interactions=events.interactions,
        user_attributes=Attributes(rows[user_facts.row_idx], user_facts.name, user_facts.value),
        images=images,
        fingerprint=_fingerprint(path),
        notes=tuple(notes),
    )


def open_images(shop: Path) -> ImageSource | None:
    """Where a shop's pictures are: `images/`, else `images.zip`, else None.

    Raises:
        InputError: `images.zip` is no zip archive.
    """
    if (shop / "images").is_dir():
        return FolderImages(shop / "images")
    if (shop / "images.zip").is_file():
        return ZipImages(shop / "images.zip")
    return None


def _read_users(shop: Path, config: ShopConfig, quarantine: Quarantine) -> tuple[list[str], Attributes, list[str]]:
    path = find_table(shop, "users")
    if path is None:
        return [], Attributes.of([]), []
    table = read_table(path, config.columns.users, quarantine=quarantine)
    if "user_id" not in table.columns:
        raise InputError(f"{path}: column 'user_id' is missing; there are {', '.join(table.columns) or 'none'}")
    ids = as_text(table["user_id"])
    missing = ids == ""
    twice = table["user_id"].duplicated().to_numpy() & ~missing
    quarantine.refuse_all(path.name, table.index[missing], "user_id is missing", [""] * int(missing.sum()))
    quarantine.refuse_all(path.name, table.index[twice], "user_id was there before", ids[twice].tolist())
    kept = table.loc[~missing & ~twice].reset_index(drop=True)
    columns = [name for name in kept.columns if name != "user_id" and name not in config.ignore]
    facts, left_out = read_attributes(kept, columns)
    notes = [f"users: column {name!r} is no attribute: it {why}" for name, why in left_out.items()]
    return ids[~missing & ~twice].tolist(), facts, notes


def _fingerprint(shop: Path) -> str:
    digest = hashlib.sha256()
    files = [shop / FILE, shop / "images.zip"]
    files += [shop / f"{table}{ending}" for table in ("items", "interactions", "users") for ending in ENDINGS]
    for file in sorted(files):
        if file.is_file():
            with file.open("rb") as opened:
                digest.update(f"{file.name} {hashlib.file_digest(opened, 'sha256').hexdigest()}\n".encode())
    if (shop / "images").is_dir():
        for file in sorted((shop / "images").rglob("*")):
            if file.is_file():
                status = file.stat()
                digest.update(f"{file.relative_to(shop)} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
