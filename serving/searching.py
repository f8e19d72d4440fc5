"""Searches in threads of their own: encoding a picture takes tens of milliseconds, in which others must be answered."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recsys.search.query import Examples, SearchQuery
from recsys.search.searcher import SearchAnswer, Searcher
from serving.problems import ProblemError
from serving.search_schemas import ExamplesIn, SearchIn
from serving.settings import Settings

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Uploaded:
    """Pictures that came as files beside the query.

    Args:
        picture: the query's own; None for none.
        like, unlike: examples.
    """

    picture: bytes | None = None
    like: tuple[bytes, ...] = ()
    unlike: tuple[bytes, ...] = ()


class SearchDesk:
    """Takes searches in turn.

    Args:
        settings: threads, and limits.
    """

    def __init__(self, settings: Settings) -> None:
        self._max_pixels = settings.search_max_pixels
        self._most = settings.search_threads + settings.search_waiting
        self._threads = ThreadPoolExecutor(settings.search_threads, thread_name_prefix="search")
        self._here = 0

    async def search(
        self,
        searcher: Searcher,
        asked: SearchIn,
        uploaded: Uploaded,
        *,
        user_vector: NDArray[np.float32] | None,
        allowed: NDArray[np.bool_] | None,
    ) -> SearchAnswer:
        """Answer one search when its turn comes.

        Raises:
            ProblemError: too many are waiting (503), or a picture cannot be read (422).
            BadQuery: the query names what the shop does not have, or asks for nothing.
            CannotSearch: the bundle lacks the encoder.
        """
        if self._here >= self._most:
            detail = f"{self._here} searches are waiting already"
            raise ProblemError(503, "search-busy", detail, headers={"retry-after": "1"})
        self._here += 1
        try:
            loop = asyncio.get_running_loop()
            answer = partial(self._answer, searcher, asked, uploaded, user_vector=user_vector, allowed=allowed)
            return await loop.run_in_executor(self._threads, answer)
        finally:
            self._here -= 1

    def close(self) -> None:
        """Let the threads go; what is waiting is not answered."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _answer(
        self,
        searcher: Searcher,
        asked: SearchIn,
        uploaded: Uploaded,
        *,
        user_vector: NDArray[np.float32] | None,
        allowed: NDArray[np.bool_] | None,
    ) -> SearchAnswer:
        pictures = self._pictures("picture", [asked.picture] if asked.picture else [], (uploaded.picture,))
        query = SearchQuery(
            words=asked.words,
            picture=pictures[0] if pictures else None,
            picture_weight=asked.picture_weight,
            like=self._examples("like", asked.like, uploaded.like),
            unlike=self._examples("unlike", asked.unlike, uploaded.unlike),
            filters={name: tuple(values) for name, values in asked.filters.items()},
            min_price=asked.min_price,
            max_price=asked.max_price,
            available_only=asked.available_only,
            allowed=allowed,
            k=asked.k,
            offset=asked.offset,
            user_vector=user_vector,
            user_weight=asked.user_weight,
        )
        return searcher.search(query)

    def _examples(self, place: str, asked: ExamplesIn, uploaded: tuple[bytes, ...]) -> Examples:
        pictures = self._pictures(f"{place}.pictures", asked.pictures, uploaded)
        return Examples(tuple(asked.items), tuple(asked.words), tuple(pictures))

    def _pictures(self, place: str, texts: Sequence[str], uploaded: Sequence[bytes | None]) -> list[Image]:
        files = [_from_base64(place, text) for text in texts] + [data for data in uploaded if data is not None]
        if not files:
            return []
        from features.pictures.decoding import UnreadableImage, decode  # brings Pillow: only where a picture comes

        found = []
        for data in files:
            try:
                found.append(decode(data, max_pixels=self._max_pixels))
            except UnreadableImage as error:
                raise _not_a_picture(place, str(error)) from error
        return found


def _from_base64(place: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # the latter where it is not ASCII
        raise _not_a_picture(place, "is no base64") from None


def _not_a_picture(place: str, why: str) -> ProblemError:
    errors = [{"place": f"body.{place}", "rule": "must be a picture", "value": why}]
    return ProblemError(422, "not-a-picture", f"body.{place}: must be a picture, this one {why}", errors=errors)
