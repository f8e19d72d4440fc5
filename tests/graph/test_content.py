from __future__ import annotations

import numpy as np

from features.encoders.embeddings import Embeddings, ItemVectors
from features.match.scores import MatchScores
from graph.content import centered, item_content


def embeddings(rows: list[list[float]]) -> Embeddings:
    raw = np.array(rows, dtype=np.float32)
    return Embeddings.of(raw, raw.any(axis=1), "test")


def test_centering_takes_away_what_all_vectors_share_and_leaves_missing_rows_missing() -> None:
    in_a_cone = embeddings([[10, 1], [10, -1], [0, 0]])
    np.testing.assert_allclose(centered(in_a_cone), [[0, 1], [0, -1], [0, 0]], atol=1e-6)


def test_vectors_that_are_all_the_same_say_nothing() -> None:
    assert not centered(embeddings([[1, 1], [1, 1]])).any()


def test_a_distrusted_picture_counts_less() -> None:
    text, image = embeddings([[1, 0], [-1, 0], [1, 0], [-1, 0]]), embeddings([[0, 1], [0, -1], [0, 1], [0, -1]])
    scores = np.array([np.nan, 1.0, 0.5, 0.0], dtype=np.float32)
    content = item_content(ItemVectors(text, image), MatchScores(scores), image_share=0.5)
    np.testing.assert_allclose((content[:, 2:] ** 2).sum(axis=1), [0.5, 0.5, 0.25, 0.0], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(content, axis=1), 1.0, rtol=1e-6)


def test_an_item_without_picture_is_known_by_its_words() -> None:
    text, image = embeddings([[1, 0], [-1, 0]]), embeddings([[0, 0], [0, 0]])
    content = item_content(ItemVectors(text, image), MatchScores.unknown(2), image_share=0.5)
    np.testing.assert_allclose(content, [[1, 0, 0, 0], [-1, 0, 0, 0]], atol=1e-6)
