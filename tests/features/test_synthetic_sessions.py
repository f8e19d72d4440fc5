import numpy as np
import pytest
from numpy.typing import NDArray

from features.synthetic.sessions import EVENT_TYPES, Events, browse
from features.synthetic.world import DAY_S, START_S, World, plant_world

N_ITEMS, N_USERS, K = 800, 1500, 20
VIEW, CART, PURCHASE = (EVENT_TYPES.index(kind) for kind in ("view", "cart", "purchase"))


@pytest.fixture(scope="module")
def world() -> World:
    return plant_world(n_items=N_ITEMS, n_users=N_USERS, seed=0)


@pytest.fixture(scope="module")
def events(world: World) -> Events:
    return browse(world)


def held_out(events: Events) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The first 80% of each user's events as seen pairs, and the new pairs among the last 20%."""
    order = np.lexsort((events.timestamp, events.user_idx))
    user, item = events.user_idx[order], events.item_idx[order]
    place = np.arange(len(user)) - np.searchsorted(user, user)
    late = place >= 0.8 * np.bincount(user, minlength=N_USERS)[user]
    seen, new = np.zeros((2, N_USERS, N_ITEMS), dtype=bool)
    seen[user[~late], item[~late]] = True
    new[user[late], item[late]] = True
    return seen, new & ~seen


def recall(score: NDArray[np.floating], seen: NDArray[np.bool_], new: NDArray[np.bool_]) -> float:
    shown = np.argpartition(-np.where(seen, -np.inf, score), K, axis=1)[:, :K]
    has = new.any(axis=1)
    return float((np.take_along_axis(new, shown, axis=1).sum(axis=1)[has] / new.sum(axis=1)[has]).mean())


def test_an_oracle_of_the_planted_tastes_beats_popularity_several_times(world: World, events: Events) -> None:
    seen, new = held_out(events)
    appeal = np.log(world.appeal)
    tastes = world.utility(np.arange(N_USERS)[:, None], np.arange(N_ITEMS)[None, :])
    popularity = recall(np.broadcast_to(seen.sum(axis=0).astype(float), seen.shape), seen, new)
    oracle = recall(tastes + appeal, seen, new)
    strangers = recall(np.roll(tastes, 1, axis=0) + appeal, seen, new)
    assert popularity > 2 * K / N_ITEMS
    assert oracle > 3 * popularity
    assert strangers < 1.1 * popularity


@pytest.mark.parametrize("facet", ["category", "color", "pattern", "brand", "material", "price_level"])
def test_each_facet_of_taste_steers_what_users_look_at(world: World, events: Events, facet: str) -> None:
    views = events.event_type == VIEW
    user, code = events.user_idx[views], world.facts[facet][events.item_idx[views]]
    own = world.tastes[facet][user, code].mean()
    others = world.tastes[facet][(user + 1) % N_USERS, code].mean()
    assert own > others + 0.2


def test_the_deeper_the_event_the_better_it_is_liked(world: World, events: Events) -> None:
    liked = world.utility(events.user_idx, events.item_idx)
    view, cart, purchase = (liked[events.event_type == kind].mean() for kind in (VIEW, CART, PURCHASE))
    assert view + 0.3 < cart
    assert cart + 0.1 < purchase
    n_view, n_cart, n_purchase = np.bincount(events.event_type)
    assert 0.1 < n_cart / n_view < 0.4
    assert 0.2 < n_purchase / n_cart < 0.8


def test_what_is_bought_was_carted_before_and_what_is_carted_was_viewed_before(events: Events) -> None:
    def first(kind: int) -> dict[tuple[int, int], int]:
        of_kind = np.flatnonzero(events.event_type == kind)[::-1]
        pairs = zip(events.user_idx[of_kind].tolist(), events.item_idx[of_kind].tolist(), strict=True)
        return dict(zip(pairs, events.timestamp[of_kind].tolist(), strict=True))

    viewed, carted, bought = first(VIEW), first(CART), first(PURCHASE)
    assert carted.keys() <= viewed.keys()
    assert bought.keys() <= carted.keys()
    assert all(viewed[pair] < time for pair, time in carted.items())
    assert all(carted[pair] < time for pair, time in bought.items())


def test_nothing_is_seen_before_it_is_listed_so_cold_items_have_few_events(world: World, events: Events) -> None:
    assert (events.timestamp >= world.listed_at[events.item_idx]).all()
    count = np.bincount(events.item_idx, minlength=N_ITEMS)
    assert count[world.cold].mean() < 0.1 * count[~world.cold].mean()
    assert count[world.cold].sum() > 0


def test_few_items_draw_most_events_and_all_days_have_some(events: Events) -> None:
    count = np.sort(np.bincount(events.item_idx, minlength=N_ITEMS))[::-1]
    assert count[: N_ITEMS // 5].sum() > 0.5 * count.sum()
    assert count[N_ITEMS // 2 :].sum() < 0.25 * count.sum()
    assert (np.diff(events.timestamp) >= 0).all()
    day = (events.timestamp - START_S) // DAY_S
    assert set(day[: len(day) - 100]) == set(range(60))


def test_evenings_are_busier_than_nights(events: Events) -> None:
    hour = events.timestamp % DAY_S // 3600
    assert np.sum((hour >= 18) & (hour < 22)) > 8 * np.sum((hour >= 1) & (hour < 5))


def test_users_browse_in_sessions_of_a_few_products_within_the_hour(events: Events) -> None:
    user = events.user_idx == 11
    gaps = np.diff(events.timestamp[user])
    assert np.mean(gaps < 3600) > 0.6
    assert np.bincount(events.user_idx, minlength=N_USERS).mean() == pytest.approx(57, abs=6)


def test_within_a_session_the_intended_category_comes_back(world: World, events: Events) -> None:
    order = np.lexsort((events.timestamp, events.user_idx))
    order = order[events.event_type[order] == VIEW]
    user, time, kind = events.user_idx[order], events.timestamp[order], world.facts["category"][events.item_idx[order]]
    same_user = user[1:] == user[:-1]
    near = same_user & (np.diff(time) < 1200)
    far = same_user & (np.diff(time) > 6 * 3600)
    again = kind[1:] == kind[:-1]
    assert again[near].mean() > 1.2 * again[far].mean()


def test_the_same_seed_gives_the_same_events(world: World, events: Events) -> None:
    again = browse(plant_world(n_items=N_ITEMS, n_users=N_USERS, seed=0))
    assert np.array_equal(again.user_idx, events.user_idx)
    assert np.array_equal(again.item_idx, events.item_idx)
    assert np.array_equal(again.timestamp, events.timestamp)


def test_one_user_is_enough() -> None:
    few = browse(plant_world(n_items=200, n_users=1, seed=1))
    assert len(few) > 3
    assert set(few.user_idx) == {0}
