"""Drops what was said of items once the models say the same by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import redis
import structlog

from recsys.bundle import Bundle
from serving.items.said import FIELDS, Said
from serving.items.shelf import CHANGES_CAP
from serving.keys import Keys

log = structlog.get_logger()


def says_the_same(item_id: str, said: Said, bundle: Bundle) -> bool:
    """Whether a bundle shows an item as it was said to be, so that saying it changes nothing."""
    if item_id not in bundle.items:
        return said.deleted
    own = bundle.display(bundle.items.idx(item_id))
    shown = said.display(item_id, bundle)
    return shown is not None and all(_plain(shown[name]) == _plain(own[name]) for name in FIELDS)


def prune_items(client: redis.Redis, keys: Keys, bundles: Sequence[Bundle]) -> int:
    """Forget what all of these bundles say by themselves; a change that comes meanwhile is kept.

    Args:
        client: Redis.
        keys: of the tenant.
        bundles: the one that is current, and those that a rollback may return to.

    Returns:
        How many items need nothing said of them any more.
    """
    dropped = 0
    for member in cast("set[bytes]", client.smembers(keys.items)):
        item_id = member.decode()
        key = keys.item_now(item_id)

        def drop(pipeline: Any, item_id: str = item_id, key: str = key) -> None:
            packed = pipeline.hgetall(key)
            pipeline.multi()
            if packed and all(says_the_same(item_id, Said.unpacked(packed), bundle) for bundle in bundles):
                pipeline.delete(key, keys.item_picture(item_id))
                pipeline.srem(keys.items, item_id)
                pipeline.xadd(keys.item_changes, {"item_id": item_id}, maxlen=CHANGES_CAP, approximate=True)

        dropped += bool(client.transaction(drop, key))
    if dropped:
        log.info("changes of items dropped, as the models say the same", items=dropped)
    return dropped


def _plain(value: object) -> object:
    """What is absent, however that is written."""
    return None if value in ("", None, {}) else value
