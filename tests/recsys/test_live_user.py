from __future__ import annotations

import numpy as np
import pytest

from recsys.live_user import LiveConfig, live_vector, pushed_away, recent_weights

CONFIG = LiveConfig(half_life_items=2, half_life_s=100, patience=2)


def test_a_view_counts_half_after_so_many_later_ones_and_half_after_so_many_seconds() -> None:
    np.testing.assert_allclose(recent_weights(5, None, CONFIG), [0.25, 2**-1.5, 0.5, 2**-0.5, 1.0], rtol=1e-6)
    np.testing.assert_allclose(recent_weights(3, np.array([200.0, 100, 0]), CONFIG), [0.125, 2**-1.5, 1.0], rtol=1e-6)
    assert recent_weights(0, None, CONFIG).shape == (0,)
    assert recent_weights(2, np.array([1e9, 1e9]), CONFIG).min() > 0


def test_the_blend_follows_its_formula() -> None:
    trained = np.array([0.0, 3.0], dtype=np.float32)
    recent = np.array([[2.0, 0.0], [4.0, 0.0]], dtype=np.float32)
    blend = live_vector(trained, recent, np.array([0.5, 1.0], dtype=np.float32), CONFIG)
    # W = 1.5, a = 1.5 / 3.5 = 3/7; r points along x and takes the trained length 3
    assert blend is not None
    np.testing.assert_allclose(blend.vector, [3 / 7 * 3, 4 / 7 * 3], rtol=1e-6)
    assert blend.trained_share == pytest.approx(4 / 7)
    np.testing.assert_allclose(blend.trained_share * trained + blend.recent_pull @ recent, blend.vector, rtol=1e-6)


def test_an_unknown_user_is_the_mean_of_what_was_viewed() -> None:
    recent = np.array([[2.0, 0.0], [0.0, 4.0]], dtype=np.float32)
    weights = np.array([0.5, 1.0], dtype=np.float32)
    for nobody in (None, np.zeros(2, dtype=np.float32)):
        blend = live_vector(nobody, recent, weights, CONFIG)
        assert blend is not None
        np.testing.assert_allclose(blend.vector, [2 / 3, 8 / 3], rtol=1e-6)
        assert blend.trained_share == 0


def test_views_of_items_without_a_vector_do_not_count() -> None:
    trained = np.array([1.0, 1.0], dtype=np.float32)
    blend = live_vector(trained, np.zeros((2, 2), dtype=np.float32), np.ones(2, dtype=np.float32), CONFIG)
    assert blend is not None
    assert blend.vector.tolist() == [1, 1]
    assert live_vector(None, np.zeros((2, 2), dtype=np.float32), np.ones(2, dtype=np.float32), CONFIG) is None
    assert live_vector(None, np.zeros((0, 2), dtype=np.float32), np.ones(0, dtype=np.float32), CONFIG) is None


def test_beside_others_a_view_without_a_vector_counts_nothing_and_one_along_an_axis_counts() -> None:
    trained = np.array([1.0, 1.0], dtype=np.float32)
    recent = np.array([[0.0, 0.0], [0.0, 2.0], [3.0, 0.0]], dtype=np.float32)
    weights = np.array([1.0, 0.5, 0.5], dtype=np.float32)
    mixed, alone = (live_vector(trained, of, by, CONFIG) for of, by in ((recent, weights), (recent[1:], weights[1:])))
    assert mixed is not None
    assert alone is not None
    assert mixed.vector.tolist() == alone.vector.tolist()
    assert mixed.trained_share == alone.trained_share
    assert mixed.recent_pull.tolist() == [0.0, *alone.recent_pull.tolist()]


def test_a_vector_is_pushed_away_from_the_mean_of_the_examples_that_have_one() -> None:
    config = LiveConfig(aversion=0.5)
    vector = np.array([3.0, 4.0], dtype=np.float32)
    nothing = np.zeros((1, 2), dtype=np.float32)
    unwanted = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 0.0], [4.0, 0.0]], dtype=np.float32)
    found = pushed_away(vector, unwanted, config)  # |v| = 5, and half of it along x
    assert found is not None
    assert found.tolist() == [0.5, 4.0]
    both = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]], dtype=np.float32)
    away = pushed_away(None, both, config)
    assert away is not None
    assert away.tolist() == pytest.approx([-(0.5**0.5), -(0.5**0.5)])
    assert pushed_away(vector, nothing, config) is vector
    assert pushed_away(vector, unwanted, LiveConfig(aversion=0)) is vector
    assert pushed_away(None, nothing, config) is None
