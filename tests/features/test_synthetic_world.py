import numpy as np
import pytest

from features.synthetic import assortment as shop
from features.synthetic.world import FACETS, World, plant_world


@pytest.fixture(scope="module")
def world() -> World:
    return plant_world(n_items=1000, n_users=200, seed=3)


def test_the_same_seed_plants_the_same_world_and_another_seed_another(world: World) -> None:
    again, other = (plant_world(n_items=1000, n_users=200, seed=seed) for seed in (3, 4))
    for facet in FACETS:
        assert np.array_equal(world.facts[facet], again.facts[facet])
        assert np.array_equal(world.tastes[facet], again.tastes[facet])
        assert not np.array_equal(world.facts[facet], other.facts[facet])
    assert np.array_equal(world.picture_of, again.picture_of)
    assert np.array_equal(world.listed_at, again.listed_at)
    assert np.array_equal(world.price, again.price)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_items", [200, 777, 5000])
def test_five_percent_show_a_product_of_another_category_and_another_color(n_items: int, seed: int) -> None:
    world = plant_world(n_items=n_items, n_users=5, seed=seed)
    wrong = np.flatnonzero(world.mismatched)
    assert len(wrong) == round(0.05 * n_items)
    for facet in ("category", "color"):
        assert (world.facts[facet][wrong] != world.facts[facet][world.picture_of[wrong]]).all()


def test_pictures_only_change_places_so_none_appears_twice(world: World) -> None:
    assert sorted(world.picture_of.tolist()) == list(range(1000))
    assert set(np.flatnonzero(world.mismatched)) == set(world.picture_of[world.mismatched])


def test_materials_and_usages_belong_to_the_category(world: World) -> None:
    for code, material, usage in zip(world.facts["category"], world.facts["material"], world.usage, strict=True):
        kind = shop.KINDS[code]
        assert shop.MATERIALS[material] in kind.materials
        assert shop.USAGES[usage] in kind.usages


def test_every_value_of_every_facet_is_sold(world: World) -> None:
    for facet, values in FACETS.items():
        assert set(world.facts[facet]) == set(range(len(values)))


def test_utility_is_the_sum_of_the_tastes_for_an_items_facts(world: World) -> None:
    users, items = np.array([0, 17, 199]), np.array([5, 0, 999])
    by_hand = [
        sum(float(world.tastes[facet][user, world.facts[facet][item]]) for facet in FACETS)
        for user, item in zip(users, items, strict=True)
    ]
    assert world.utility(users, items) == pytest.approx(by_hand, rel=1e-5)
    table = world.utility(users[:, None], np.arange(1000)[None, :])
    assert table.shape == (3, 1000)
    assert table[np.arange(3), items] == pytest.approx(by_hand, rel=1e-5)


def test_cold_items_and_only_they_are_listed_in_the_last_five_days(world: World) -> None:
    day = (world.listed_at - world.listed_at.min()) / 86_400
    assert world.cold.sum() == 80
    assert (day[world.cold] >= 55).all()
    assert (day[world.cold] < 60).all()
    assert (day[~world.cold] < 55).all()
    assert np.mean(day[~world.cold] == 0) == pytest.approx(0.8, abs=0.05)


def test_appeal_has_a_tail_and_sums_to_one(world: World) -> None:
    ranked = np.sort(world.appeal)[::-1]
    assert ranked.sum() == pytest.approx(1.0)
    assert ranked[0] / ranked[99] == pytest.approx(100**0.7)  # Zipf with exponent 0.7


def test_a_higher_price_level_costs_more_within_each_category(world: World) -> None:
    for category in range(len(shop.KINDS)):
        of_kind = world.facts["category"] == category
        means = [world.price[of_kind & (world.facts["price_level"] == level)].mean() for level in range(3)]
        assert means == sorted(means)
    assert world.price.min() > 0


def test_users_of_an_age_group_share_some_category_taste(world: World) -> None:
    crowd = plant_world(n_items=200, n_users=4000, seed=0)
    taste = crowd.tastes["category"] - crowd.tastes["category"].mean(axis=0)
    within = np.mean([taste[crowd.age_group == group].mean(axis=0).std() for group in range(5)])
    mixed = np.mean([part.mean(axis=0).std() for part in np.array_split(taste, 5)])
    assert within > 4 * mixed
