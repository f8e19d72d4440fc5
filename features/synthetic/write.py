"""Writes the planted shop as a folder that any shop reader takes, with the truth beside it in `truth/`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.errors import InputError
from features.synthetic import assortment as shop
from features.synthetic.album import Entry, draw_album
from features.synthetic.pictures import Look
from features.synthetic.sessions import EVENT_TYPES, Events, browse
from features.synthetic.words import Texts, write_texts
from features.synthetic.world import FACETS, World, plant_world

FORMAT = 1
"""Changes whenever the same arguments would give another shop."""

LEAST_ITEMS, MOST_ITEMS, MOST_USERS = 200, 1_000_000, 50_000
BRAND_TOLD, MATERIAL_TOLD = 0.92, 0.85
"""Share of the items that carry the attribute in their row."""

_SHOP_TOML = """\
name = "{name}"

# how much each event says about taste
[events]
view = 1.0
cart = 3.0
purchase = 5.0
"""


def default_users(n_items: int) -> int:
    """Number of users where none is given: 15 for 8 items, and no more than `MOST_USERS`."""
    return min(n_items * 15 // 8, MOST_USERS)


def write_shop(
    out: Path,
    *,
    n_items: int = 800,
    n_users: int | None = None,
    seed: int = 0,
    pictures: bool = True,
    force: bool = False,
) -> bool:
    """Write a synthetic shop; the same arguments give the same bytes.

    An interrupted run leaves what it drew in a hidden sibling folder, and the next run with the same arguments goes on
    from there.

    Args:
        out: the folder to make; a complete shop of the same arguments is left as it is.
        n_items: number of listings, from 200 up; above 1,000,000 without pictures.
        n_users: number of users; as `default_users` says where None.
        seed: what everything is drawn from, >= 0.
        pictures: whether to draw pictures.
        force: replace a synthetic shop that is there already, and never anything else.

    Returns:
        whether anything was written.

    Raises:
        InputError: a size is out of range, or the folder holds something else.
    """
    n_users = default_users(n_items) if n_users is None else n_users
    _check_sizes(n_items, n_users, seed, pictures)
    request = {"format": FORMAT, "n_items": n_items, "n_users": n_users, "seed": seed, "pictures": pictures}
    if out.exists() and not out.is_dir():
        raise InputError(f"the shop must be written to a folder, {out} is a file")
    found = read_request(out)
    if found == request and not force:
        return False
    if found is not None and not force:
        raise InputError(
            f"{out} holds a synthetic shop of other arguments ({_spell(found)}); use --force to replace it"
        )
    if found is None and out.is_dir() and any(out.iterdir()):
        raise InputError(f"a shop is only written to a new or empty folder, {out} holds other files")
    building = out.absolute().parent / f".{out.absolute().name}.building"
    if building.exists() and _load(building / "request.json") != request:
        shutil.rmtree(building)
    (building / "truth").mkdir(parents=True, exist_ok=True)
    (building / "request.json").write_text(json.dumps(request))

    world = plant_world(n_items=n_items, n_users=n_users, seed=seed)
    if not pictures:
        world = replace(world, picture_of=np.arange(n_items))
    texts, events = write_texts(world), browse(world)
    item_ids, user_ids = _ids("sku-", n_items), _ids("user-", n_users)
    _write_items(building, world, texts, item_ids, pictures=pictures)
    _write_users(building, world, user_ids)
    _write_events(building, events, item_ids, user_ids)
    (building / "shop.toml").write_text(_SHOP_TOML.format(name="The Planted Shop"))
    if pictures:
        draw_album(_entries(world, item_ids), building / "images.zip", chunks=building / "chunks")
    _write_truth(building, world, request, item_ids)
    (building / "request.json").unlink()
    if out.exists():
        shutil.rmtree(out)
    building.rename(out)
    return True


def read_request(folder: Path) -> dict[str, object] | None:
    """The arguments a complete synthetic shop was made with; None where the folder is none."""
    truth = _load(folder / "truth" / "truth.json")
    request = truth.get("request") if truth else None
    return request if isinstance(request, dict) else None


def _load(path: Path) -> dict[str, object] | None:
    try:
        loaded = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return loaded if isinstance(loaded, dict) else None


def _spell(request: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in request.items() if name != "format")


def _check_sizes(n_items: int, n_users: int, seed: int, pictures: bool) -> None:
    if n_items < LEAST_ITEMS:
        raise InputError(f"a synthetic shop has at least {LEAST_ITEMS} items, {n_items} were asked for")
    if n_items > MOST_ITEMS and pictures:
        raise InputError(f"above {MOST_ITEMS:,} items a shop is made without pictures, {n_items:,} were asked for")
    if n_users < 1:
        raise InputError(f"a synthetic shop has at least 1 user, {n_users} were asked for")
    if seed < 0:
        raise InputError(f"a seed is 0 or more, {seed} was given")


def _ids(prefix: str, n: int) -> NDArray[np.object_]:
    digits = max(5, len(str(n - 1)))
    return np.array([f"{prefix}{row:0{digits}d}" for row in range(n)], dtype=object)


def _entries(world: World, item_ids: NDArray[np.object_]) -> list[Entry]:
    """What each listing's picture shows: its own product, or the one it was exchanged with."""
    facts = np.stack([world.facts[f] for f in ("category", "color", "pattern", "brand")], axis=1)[world.picture_of]
    rows = zip(item_ids.tolist(), facts.tolist(), world.picture_of.tolist(), strict=True)
    return [
        (f"{item_id}.jpg", Look(kind, color, pattern, brand, seed=(world.seed, 5, shown)))
        for item_id, (kind, color, pattern, brand), shown in rows
    ]


def _named(codes: NDArray[np.int64], names: tuple[str, ...]) -> NDArray[np.object_]:
    return np.array(names, dtype=object)[codes]


def _write_items(out: Path, world: World, texts: Texts, item_ids: NDArray[np.object_], *, pictures: bool) -> None:
    rng = np.random.default_rng([world.seed, 6])
    brand, material = (_named(world.facts[facet], FACETS[facet]) for facet in ("brand", "material"))
    brand[rng.random(world.n_items) >= BRAND_TOLD] = None
    material[rng.random(world.n_items) >= MATERIAL_TOLD] = None
    paths = [[kind.department, kind.category] for kind in shop.KINDS]
    columns = {
        "item_id": item_ids,
        "title": texts.title,
        "description": texts.description,
        "image": [f"{item_id}.jpg" for item_id in item_ids] if pictures else None,
        "price": np.round(world.price, 2),
        "available": world.available,
        "category": [paths[code] for code in world.facts["category"].tolist()],
        "brand": brand,
        "material": material,
    }
    _table(out / "items.parquet", {name: column for name, column in columns.items() if column is not None})
    facts = {facet: _named(world.facts[facet], values) for facet, values in FACETS.items()}
    truth = {
        "item_id": item_ids,
        **facts,
        "usage": _named(world.usage, shop.USAGES),
        "picture_of": item_ids[world.picture_of],
        "mismatched": world.mismatched,
        "cold": world.cold,
        "listed_at": world.listed_at,
        "appeal": world.appeal,
        **{f"text_tells_{fact}": told for fact, told in texts.tells.items()},
    }
    _table(out / "truth" / "items.parquet", truth)


def _write_users(out: Path, world: World, user_ids: NDArray[np.object_]) -> None:
    known = {
        "user_id": user_ids,
        "age_group": _named(world.age_group, shop.AGE_GROUPS),
        "country": _named(world.country, shop.COUNTRIES),
    }
    _table(out / "users.parquet", known)
    tastes = {facet: list(taste) for facet, taste in world.tastes.items()}
    _table(out / "truth" / "users.parquet", {"user_id": user_ids, **tastes})


def _write_events(out: Path, events: Events, item_ids: NDArray[np.object_], user_ids: NDArray[np.object_]) -> None:
    def coded(codes: NDArray[np.int64], names: NDArray[np.object_]) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(names)).dictionary_decode()

    columns = {
        "user_id": coded(events.user_idx, user_ids),
        "item_id": coded(events.item_idx, item_ids),
        "event_type": coded(events.event_type, np.array(EVENT_TYPES, dtype=object)),
        "timestamp": events.timestamp,
    }
    _table(out / "interactions.parquet", columns)


def _write_truth(out: Path, world: World, request: Mapping[str, object], item_ids: NDArray[np.object_]) -> None:
    truth = {
        "request": request,
        "mismatched": item_ids[world.mismatched].tolist(),
        "cold": item_ids[world.cold].tolist(),
        "sold_out": item_ids[~world.available].tolist(),
        "facets": {facet: list(values) for facet, values in FACETS.items()},
        "visible": {
            "picture": ["category", "color", "pattern", "brand"] if request["pictures"] else [],
            "text": ["category", "color", "material", "usage"],
            "attributes": ["category", "brand", "material", "price"],
        },
    }
    (out / "truth" / "truth.json").write_text(json.dumps(truth, indent=1))


def _table(path: Path, columns: Mapping[str, object]) -> None:
    pq.write_table(pa.table(columns), path)
