"""What tests of reading a shop share: tables to write, and what was refused of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from features.quarantine import Quarantine
from features.shop.shop import Shop, read_shop

ITEMS = [
    {"item_id": "a", "title": "Ant", "price": 1.5, "brand": "Acme", "tags": ["x", "y"], "category": ["Top", "Sub"]},
    {"item_id": "b", "title": "Bee", "price": None, "brand": None, "tags": [], "category": ["Top"]},
    {"item_id": "c", "title": "Cat", "price": 3.0, "brand": "Bolt", "tags": ["y"], "category": None},
]
EVENTS = [
    {"user_id": "u", "item_id": "b", "event_type": "view"},
    {"user_id": "v", "item_id": "a", "event_type": "purchase"},
    {"user_id": "u", "item_id": "a", "event_type": "like"},
]
Rows = list[dict[str, Any]]
Read = Callable[..., tuple[Shop, Quarantine]]


def put(folder: Path, name: str, rows: Rows, kind: str = "jsonl") -> None:
    path = folder / f"{name}.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    elif kind == "csv":
        table = [{k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows]
        pd.DataFrame(table).to_csv(path, index=False)
    else:
        pd.DataFrame(rows).to_parquet(path)


def reading(folder: Path) -> Read:
    """Writes the given tables (and shop.toml) into a folder and reads them as a shop."""

    def read_it(
        items: Rows = ITEMS, events: Rows | None = None, users: Rows | None = None, toml: str = "", kind: str = "jsonl"
    ) -> tuple[Shop, Quarantine]:
        for name, rows in (("items", items), ("interactions", events), ("users", users)):
            if rows is not None:
                put(folder, name, rows, kind)
        if toml:
            (folder / "shop.toml").write_text(toml, encoding="utf-8")
        quarantine = Quarantine()
        return read_shop(folder, quarantine=quarantine), quarantine

    return read_it


def refusals(quarantine: Quarantine) -> list[tuple[str, int | None, str]]:
    return [(refusal.file, refusal.row, refusal.rule.split(";")[0]) for refusal in quarantine.refusals]
