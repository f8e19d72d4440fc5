"""A store, the plain dictionaries it is held against, and what is drawn for both."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from recsys.bundle import Bundle
from serving.items.shelf import ItemShelf
from serving.keys import Keys
from serving.memory import WorkerMemory
from serving.publishing import Publisher
from serving.settings import Settings
from serving.store import Store
from serving.telemetry import Telemetry

SETTINGS = Settings(redis_timeout_s=10.0, recent_cap=3, seen_cap=2, purchase_types=("buy",))
KEEP = 1
TASTE_TTL_S, BOUGHT_TTL_S, ID_TTL_S = SETTINGS.user_ttl_s, SETTINGS.bought_ttl_s, SETTINGS.event_id_ttl_s
USERS, ITEMS = st.sampled_from(["u0", "u1", "v{1}"]), st.sampled_from(["i0", "i1", "i2", "new"])
FIELDS = st.fixed_dictionaries(
    {}, optional={"title": st.sampled_from(["Item 0", "Item 1", "other"]), "price": st.sampled_from([None, 1.5])}
)
ACTIVE = st.sampled_from(["u0", "u0", "u0", "u1", "v{1}"])
KINDS = st.sampled_from(["view", "buy", "buy", "viewable"])
EVENTS = st.lists(
    st.tuples(ACTIVE, ITEMS, KINDS, st.sampled_from("abcdefgh"), st.integers(1, 3)), min_size=1, max_size=12
)


class Machine(RuleBasedStateMachine):
    """The store and what is around it; every rule does one thing to the store and the same to dictionaries, every
    invariant reads the store.
    """

    redis: Any
    models: Sequence[Bundle]
    folder: Path
    made: Sequence[dict[str, bytes]]

    def __init__(self) -> None:
        super().__init__()
        self.client = self.redis.client()
        self.client.flushall()
        self.loop = asyncio.new_event_loop()
        self.store = Store(self.redis.url, SETTINGS, Telemetry())
        self.store.mark_up()
        self.workers = [
            WorkerMemory(users_cap=2, pending_cap=1, recent_cap=3, seen_cap=2, purchases=("buy",)) for _ in range(2)
        ]
        self.shelf, self.keys = ItemShelf(self.store), Keys()
        self.publisher = Publisher(self.client, state_dir=self.folder, keep=KEEP)
        self.current: str | None = None
        self.before: dict[str, str | None] = {}  # of each version that is kept, the one it replaced
        self.tried: str | None = None
        self.said: dict[str, dict[str, Any]] = {}
        self.changed: list[str] = []
        self.looked = "0-0"
        self.applied: set[tuple[str, str]] = set()
        self.recent: dict[str, list[tuple[str, str, float, str]]] = {}
        self.seen: dict[str, dict[str, float]] = {}
        self.bought: dict[str, dict[str, float]] = {}
        self.profile: dict[str, dict[str, tuple[str, ...]]] = {}
        self.stream: list[tuple[str, str]] = []
        self.to_erase: dict[str, int] = {}
        self.forgotten: list[str] = []

    def run(self, story: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(story)

    def teardown(self) -> None:
        self.run(self.store.close())
        self.loop.close()
        self.client.close()
