"""Features of candidates where one side has no vector, or one that has nothing in common with the other."""

from __future__ import annotations

import numpy as np

from recsys.ranking.askers import Asker, Block, Floats, Rows
from recsys.ranking.features import FEATURES, Catalog, features
from recsys.ranking.standing import Standing


def test_nothing_in_common_is_0_and_a_missing_vector_is_nan() -> None:
    words = np.array([[1, 0], [0, 1], [0, 0], [0.6, 0.8]], dtype=np.float32)  # i2 has no words

    def vectors(rows: Rows) -> Floats:
        return words[rows]

    def nobody(rows: Rows) -> tuple[Rows, Rows]:
        return np.full((len(rows), 1), -1), np.zeros((len(rows), 1), dtype=np.int64)

    catalog = Catalog(
        item_vectors=np.zeros((4, 3), dtype=np.float32),
        text=vectors,
        image=lambda rows: np.zeros((len(rows), 1), dtype=np.float32),
        popularity=np.ones(4, dtype=np.float32),
        together=nobody,
        alike=lambda rows, depth: [],
        prices=np.full(4, np.nan, dtype=np.float32),
        match_scores=np.full(4, np.nan, dtype=np.float32),
        newcomers=np.zeros(0, dtype=np.int64),
    )
    asker = Asker(np.ones(3, dtype=np.float32), np.array([0]))
    found = features(catalog, Block.of(asker), np.arange(1, 4), np.array([0, 3]), standing=Standing.of_nothing(4))
    text = found[:, FEATURES.index("text")]
    np.testing.assert_allclose(text, [0.0, np.nan, 0.6], rtol=1e-6)
    assert np.isnan(found[:, FEATURES.index("image")]).all()
