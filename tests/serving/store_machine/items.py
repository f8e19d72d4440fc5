"""What is said of items, against a dictionary."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis.stateful import invariant, rule

from recsys.bundle import Bundle
from serving.items.said import PLAIN, Said
from tests.serving.store_machine.machine import FIELDS, ITEMS, Machine


class SaidItems(Machine):
    """Items are put, patched and deleted, and workers look for what changed."""

    @rule(item_id=ITEMS, fields=FIELDS, picture=st.booleans())
    def put(self, item_id: str, fields: dict[str, Any], picture: bool) -> None:
        self.say(item_id, Said(whole=True, fields=fields), {item_id: b"picture"} if picture else {})
        self.said[item_id] = {"whole": True, "deleted": False, "fields": dict(fields), "picture": picture}

    @rule(item_id=ITEMS, fields=FIELDS)
    def patch(self, item_id: str, fields: dict[str, Any]) -> None:
        if not fields:
            return
        self.say(item_id, Said(fields=fields), {})
        known = self.said.setdefault(item_id, {"whole": False, "deleted": False, "fields": {}, "picture": False})
        known["fields"] |= fields

    @rule(item_id=ITEMS)
    def delete(self, item_id: str) -> None:
        self.say(item_id, Said(deleted=True), {})
        self.said[item_id] = {"whole": False, "deleted": True, "fields": {}, "picture": False}

    @rule()
    def look_for_changes(self) -> None:
        found, self.looked = self.run(self.shelf.since(self.looked))
        assert found == list(dict.fromkeys(self.changed))
        self.changed = []

    @invariant()
    def items_are_as_they_were_said(self) -> None:
        found, _ = self.run(self.shelf.every())
        told = {
            one: {"whole": said.whole, "deleted": said.deleted, "fields": dict(said.fields)}
            for one, said in found.items()
        }
        assert told == {one: {k: v for k, v in said.items() if k != "picture"} for one, said in self.said.items()}
        for item_id in ("i0", "i1", "i2", "new"):
            wanted = b"picture" if self.said.get(item_id, {}).get("picture") else None
            assert self.run(self.shelf.picture(item_id, "")) == wanted

    def say(self, item_id: str, said: Said, pictures: dict[str, bytes]) -> None:
        self.run(self.shelf.write({item_id: said}, pictures))
        self.changed.append(item_id)

    def prune(self, kept: list[Bundle]) -> None:
        """Drop what all kept bundles say by themselves."""
        for item_id, said in list(self.said.items()):
            same = []
            for bundle in kept:
                if item_id not in bundle.items:
                    same.append(said["deleted"])
                    continue
                own = {**PLAIN, **bundle.display(bundle.items.idx(item_id))}
                shown = {**(PLAIN if said["whole"] else own), **said["fields"]}
                plain = [
                    {name: None if value in ("", None, {}) else value for name, value in of.items()}
                    for of in (own, shown)
                ]
                same.append(not said["deleted"] and all(plain[0][name] == plain[1][name] for name in PLAIN))
            if all(same):
                del self.said[item_id]
