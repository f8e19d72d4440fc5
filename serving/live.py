"""What a worker answers from: an open bundle, and where that is kept. A request takes one and finishes with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from features.errors import InputError
from recsys.amended.bundle import AmendedBundle
from recsys.bundle import Bundle
from recsys.bundle_format import read_manifest
from recsys.recommender import BundleRecommender
from recsys.search.encoding import CannotSearch
from recsys.search.searcher import Searcher
from recsys.search.spaces import Spaces
from recsys.search.stored import StoredSearch
from serving.cursor import checksums
from serving.display import Grid
from serving.settings import Settings

log = structlog.get_logger()

RETRY_S = 15.0
"""A version whose bundle does not open is tried again after so long."""


@dataclass(frozen=True, eq=False)
class Live:
    """An open bundle with what answers from it."""

    bundle: Bundle
    recommender: BundleRecommender
    grid: Grid
    searcher: Searcher | None
    no_search: str
    """Why there is no searcher; "" where there is one."""

    @property
    def version(self) -> str:
        """The bundle's version."""
        return self.bundle.version

    @cached_property
    def checksums(self) -> NDArray[np.uint32]:
        """Of the items' ids, as cursors name them."""
        return checksums(self.bundle.items)

    @property
    def changes(self) -> AmendedBundle | None:
        """The bundle as an amended one; None where nothing was said of its items."""
        return self.bundle if isinstance(self.bundle, AmendedBundle) else None

    def lists_hold(self, item_idx: int) -> bool:
        """Whether the list of similar items that was published for an item still is what its bundle says."""
        return self.changes is None or item_idx not in self.changes.touched

    def feeds_hold(self) -> bool:
        """Whether published feeds still are what the bundle says: no item has joined since."""
        return self.changes is None or len(self.changes) == self.changes.n_trained

    def amended(self, bundle: AmendedBundle, search: StoredSearch | None, spaces: Spaces) -> Live:
        """The same with what was said of its items since."""
        searcher = self.searcher
        if searcher is not None and search is not None:
            searcher = Searcher(bundle, stored=search, encoding=searcher.encoding)
        return Live(bundle, self.recommender.amended(bundle, spaces), Grid(bundle), searcher, self.no_search)

    @classmethod
    def open(cls, path: Path, *, recommender: Callable[..., BundleRecommender] = BundleRecommender) -> Live:
        """Open and touch a bundle, so that the first request finds it warm.

        Args:
            path: the bundle.
            recommender: what answers from it.

        Raises:
            InputError: the bundle is broken.
        """
        bundle = Bundle.open(path)
        searcher, no_search = None, ""
        try:
            searcher = Searcher(bundle)
        except CannotSearch as error:
            no_search = str(error)
        spaces = None if searcher is None else searcher.stored.spaces
        live = cls(bundle, recommender(bundle, spaces=spaces), Grid(bundle), searcher, no_search)
        # files may be replaced behind an open bundle
        _ = bundle.attribute_counts, bundle.ranker, bundle.prices, bundle.columns
        _ = live.checksums
        if bundle.ranker is not None:
            live.recommender.catalog.warm()
        if len(bundle.items):
            bundle.display(0)
            live.recommender.similar_items(bundle.items[0], 1)
        return live


async def passed(closing: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, at most so long; whether it came.

    Background work ends by this and not by cancellation, which would tear a conversation with Redis in the middle.
    """
    try:
        await asyncio.wait_for(closing.wait(), seconds)
    except TimeoutError:
        return False
    return True


class Catalog(Protocol):
    """Where the bundle that answers is kept, with what was said of its items since it was made."""

    @property
    def live(self) -> Live | None:
        """What is answered from now."""
        ...


def always() -> bool:
    """Wanted whatever comes."""
    return True


class Shelves(Catalog, Protocol):
    """A catalog that can be moved to another bundle."""

    async def move(
        self,
        base: Live,
        ahead: Callable[[Live], Awaitable[None]] | None = None,
        *,
        hurry: bool = False,
        wanted: Callable[[], bool] = always,
    ) -> bool:
        """Answer from another bundle, once it is ready.

        Args:
            base: the bundle.
            ahead: makes what will answer ready, while the one before still answers.
            hurry: nothing answers until then.
            wanted: whether it still is to be answered from; asked between the steps, and last when it is ready.

        Returns:
            Whether it is what answers now: not where it was no longer wanted, and then all is as if never asked.
        """
        ...


def open_version(
    version: str,
    published: str | None,
    settings: Settings,
    recommender: Callable[..., BundleRecommender] = BundleRecommender,
) -> Live:
    """The bundle of a version: where it was published from, or the worker's own copy of it.

    Raises:
        InputError: neither is there, or opens.
    """
    said = []
    for path in (None if published is None else Path(published), settings.bundle):
        if path is None:
            continue
        try:
            if read_manifest(path).version == version:
                return Live.open(path, recommender=recommender)
            said.append(f"{path} holds another version")
        except InputError as error:
            said.append(str(error))
    raise InputError(f"no bundle of version {version} opens: {'; '.join(said) or 'no path is known'}")
