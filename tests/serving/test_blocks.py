"""Lists that wait in one turn are ranked together; what goes wrong with one is no matter of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from recsys.pipeline.request import Request
from recsys.recommendation import UserState
from serving.blocks import MOST, Blocks, Wanted, rankings
from serving.live import Live


class Engine:
    """Ranks at once, and remembers how often it was asked."""

    asked = 0

    async def ranked(self, live: Live, ask: Callable[[], Any]) -> Any:
        self.asked += 1
        return ask()


@pytest.fixture
def ranked(live: Live, run_apart: Callable[..., list[Any]]) -> Callable[[list[Wanted]], tuple[list[Any], int]]:
    """Ranks what is wanted in one turn; what came of it, and of how many blocks."""

    def rank(wanted: list[Wanted]) -> tuple[list[Any], int]:
        engine = Engine()

        async def ask() -> list[Any]:
            blocks = Blocks(cast(Any, engine))
            return await asyncio.gather(*(blocks.ranking(live, one) for one in wanted), return_exceptions=True)

        return run_apart(ask()), engine.asked

    return rank


@pytest.fixture
def live(small_bundle: Path) -> Live:
    return Live.open(small_bundle)


def test_what_waits_in_one_turn_is_ranked_in_blocks_and_each_as_if_alone(
    live: Live, ranked: Callable[..., tuple[list[Any], int]]
) -> None:
    wanted = [Wanted(Request(4, UserState(f"u{number % 20}")), (), split=number % 2 == 0) for number in range(MOST + 3)]
    found, n_blocks = ranked(wanted)
    assert n_blocks == 2
    assert found == [rankings(live, [one])[0] for one in wanted]


def test_only_the_request_that_is_at_fault_fails(live: Live, ranked: Callable[..., tuple[list[Any], int]]) -> None:
    wanted = [Wanted(Request(4, page=page), ()) for page in ("i0", "nowhere", "i1")]
    found, _ = ranked(wanted)
    assert isinstance(found[1], KeyError)
    assert [found[0], found[2]] == [rankings(live, [wanted[place]])[0] for place in (0, 2)]


def test_what_was_given_up_before_its_turn_is_not_ranked(live: Live, run_apart: Callable[..., list[Any]]) -> None:
    engine, wanted = Engine(), Wanted(Request(4, UserState("u1")), ())

    async def ask() -> tuple[list[Any], int]:
        blocks = Blocks(cast(Any, engine))
        alone = asyncio.ensure_future(blocks.ranking(live, wanted))
        await asyncio.sleep(0)  # it waits now
        alone.cancel()
        gone = await asyncio.gather(alone, return_exceptions=True)
        await asyncio.sleep(0.01)
        return gone, engine.asked

    (gone,), n_blocks = run_apart(ask())
    assert isinstance(gone, asyncio.CancelledError)
    assert n_blocks == 0
