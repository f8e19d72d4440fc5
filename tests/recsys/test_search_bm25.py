from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from recsys.search.bm25 import Field, LexicalIndex, build_lexical
from recsys.search.terms import terms

FIELDS = (Field(3.0, 0.3), Field(1.5, 0.3), Field(1.0, 0.75))


def naive(items: Sequence[Sequence[str]], query: str, k1: float) -> list[float]:
    """BM25F as the formula reads, one number at a time."""
    words = [[[term.text for term in terms(text)] for text in item] for item in items]
    scores = []
    for item in words:
        score = 0.0
        for term in [term.text for term in terms(query)]:
            held_by = sum(any(term in field for field in other) for other in words)
            tf = 0.0
            for place, rule in enumerate(FIELDS):
                mean = sum(len(other[place]) for other in words) / len(words)
                if item[place]:
                    relative = 1 - rule.length_penalty + rule.length_penalty * len(item[place]) / mean
                    tf += rule.boost * item[place].count(term) / relative
            score += math.log(1 + (len(items) - held_by + 0.5) / (held_by + 0.5)) * tf / (k1 + tf) if tf else 0.0
        scores.append(score)
    return scores


@pytest.fixture(scope="module")
def catalog() -> list[tuple[str, str, str]]:
    rng = np.random.default_rng(3)
    words = ["red", "blue", "shirt", "mug", "cotton", "large", "红色", "衬衫", "t-shirt", "42mm"]

    def text(most: int) -> str:
        return " ".join(rng.choice(words, rng.integers(0, most + 1)))

    return [(text(5), text(3), text(20)) for _ in range(80)]


def score(index: LexicalIndex, query: str) -> np.ndarray:
    counts: dict[str, float] = {}
    for term in terms(query):
        counts[term.text] = counts.get(term.text, 0.0) + 1
    return index.score(counts)


@pytest.mark.parametrize("query", ["red", "red cotton shirt", "红色衬衫", "42 mm mug", "red red blue", "unknown mug"])
def test_scores_are_those_of_the_formula(catalog: list[tuple[str, str, str]], query: str) -> None:
    index = build_lexical(catalog, FIELDS, k1=1.2)
    np.testing.assert_allclose(score(index, query), naive(catalog, query, 1.2), rtol=1e-5, atol=1e-6)


def test_a_word_of_the_title_counts_more_than_one_of_the_description() -> None:
    index = build_lexical([("mug", "", "a b c"), ("a b c", "", "mug")], FIELDS, k1=1.2)
    in_title, in_description = score(index, "mug")
    assert in_title > in_description > 0


def test_a_rare_word_counts_more_than_a_common_one() -> None:
    index = build_lexical([("red mug", "", ""), ("red cup", "", ""), ("red jar", "", "")], FIELDS, k1=1.2)
    assert score(index, "mug")[0] > score(index, "red")[0] > 0


def test_no_item_reaches_the_most_a_query_can_give() -> None:
    index = build_lexical([("mug " * 50, "mug", "mug"), ("cup", "", "")], FIELDS, k1=1.2)
    most = index.most({"mug": 1.0})
    assert 0.9 * most < score(index, "mug")[0] < most
    assert index.most({"nowhere": 1.0}) == pytest.approx(math.log(1 + 2.5 / 0.5))


def test_postings_of_a_term_are_rising_rows_and_nothing_else_is_read() -> None:
    index = build_lexical([("b a", "", ""), ("b", "", ""), ("a", "", "")], FIELDS, k1=1.2)
    assert list(index.terms) == ["a", "b"]
    assert index.postings("a")[0].tolist() == [0, 2]
    assert index.postings("b")[0].tolist() == [0, 1]
    assert index.postings("c")[0].tolist() == []


def test_which_items_hold_which_terms_is_told() -> None:
    index = build_lexical([("red mug", "", ""), ("", "", ""), ("mug", "", "")], FIELDS, k1=1.2)
    assert index.holds(terms("red mug jar"), np.array([2, 0, 1])).tolist() == [
        [False, True, False],
        [True, True, False],
        [False, False, False],
    ]


def test_a_chinese_catalog_is_searched_without_a_dictionary() -> None:
    titles = ["红色纯棉衬衫", "蓝色牛仔裤", "红色马克杯", "白色衬衫 男款", "陶瓷杯子"]
    index = build_lexical([(title, "", "") for title in titles], FIELDS, k1=1.2)
    assert np.argsort(-score(index, "红色衬衫"), kind="stable")[0] == 0
    assert set(np.argsort(-score(index, "衬衫"), kind="stable")[:2]) == {0, 3}
    assert score(index, "衬衫")[[1, 2, 4]].tolist() == [0, 0, 0]
    assert set(np.argsort(-score(index, "杯"), kind="stable")[:2]) == {2, 4}


def test_an_empty_catalog_has_an_empty_index() -> None:
    assert build_lexical([("", "", "")], FIELDS, k1=1.2).score({"a": 1.0}).tolist() == [0.0]
