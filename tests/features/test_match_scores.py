from __future__ import annotations

import numpy as np
import pytest

from features.encoders.embeddings import Embeddings, ItemVectors
from features.match.scores import MatchScores

NAN = float("nan")


def test_the_worst_listings_come_first_and_unknown_ones_never() -> None:
    scores = MatchScores(np.array([0.9, NAN, 0.1, 0.5, 0.1], dtype=np.float32))
    assert scores.worst(3).tolist() == [2, 4, 3]
    assert scores.worst(10).tolist() == [2, 4, 3, 0]
    assert scores.known.tolist() == [True, False, True, True, True]


def test_nothing_is_known_of_an_unjudged_shop() -> None:
    assert MatchScores.unknown(3).worst(3).tolist() == []
    assert np.isnan(MatchScores.unknown(3).score).all()


def test_a_score_outside_zero_and_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"item 1 has 1\.5"):
        MatchScores(np.array([NAN, 1.5], dtype=np.float32))


def test_embeddings_are_scaled_and_what_is_no_vector_is_missing() -> None:
    raw = np.array([[3, 4], [0, 0], [1, 0], [NAN, 1]], dtype=np.float32)
    given = Embeddings.of(raw, np.array([True, True, False, True]), "e")
    np.testing.assert_allclose(given.vectors, [[0.6, 0.8], [0, 0], [0, 0], [0, 0]])
    assert given.mask.tolist() == [True, False, False, False]
    assert (given.dim, len(given)) == (2, 4)


@pytest.mark.parametrize(
    ("vectors", "mask", "rule"),
    [
        ([[2.0, 0.0]], [True], "row 0 has 2.0 and mask True"),
        ([[1.0, 0.0], [1.0, 0.0]], [True, False], "row 1 has 1.0 and mask False"),
        ([[NAN, 0.0]], [True], "row 0 has nan"),
        ([[1.0, 0.0]], [True, True], r"got \(1, 2\) and \(2,\)"),
    ],
)
def test_embeddings_of_another_length_are_refused(vectors: list[list[float]], mask: list[bool], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        Embeddings(np.array(vectors, dtype=np.float32), np.array(mask), "e")


def test_a_listing_is_paired_only_with_both_modalities() -> None:
    text = Embeddings(np.eye(3, dtype=np.float32), np.ones(3, dtype=bool), "t")
    image = Embeddings.of(np.eye(3, dtype=np.float32), np.array([True, False, True]), "i")
    assert ItemVectors(text, image).paired.tolist() == [True, False, True]
    with pytest.raises(ValueError, match="text has 3, image 2"):
        ItemVectors(text, Embeddings.missing(2, 4, "i"))


def test_independent_evidence_adds_in_log_odds() -> None:
    scores = MatchScores(np.array([0.5, 0.9, NAN, 0.2, NAN], dtype=np.float32))
    evidence = np.array([np.log(3), -np.log(9), np.log(1 / 19), NAN, NAN])
    after = scores.beside(evidence, prior=0.95).score
    # odds 1 * 3, 9 / 9, 19 / 19 by the prior; without evidence nothing changes
    assert after == pytest.approx([0.75, 0.5, 0.5, 0.2, NAN], nan_ok=True)


def test_a_score_that_was_rounded_to_certain_can_still_change() -> None:
    scores = MatchScores(np.array([0, 1], dtype=np.float32)).beside(np.array([20.0, -20.0]), prior=0.5)
    assert scores.score[0] > 0.99
    assert scores.score[1] < 0.01


def test_evidence_must_have_a_row_an_item() -> None:
    with pytest.raises(ValueError, match="a row an item"):
        MatchScores.unknown(3).beside(np.zeros(2), prior=0.5)
