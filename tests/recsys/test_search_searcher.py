"""What is found for words, pictures and examples in a shop whose meanings are known by hand (`searchable`)."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import orjson
import pytest
from PIL import Image

from recsys.bundle import Bundle
from recsys.bundle_format import BundleError
from recsys.search.encoding import CannotSearch
from recsys.search.query import BadQuery, Examples, SearchQuery
from recsys.search.searcher import AGAINST, Searcher

RED, GREEN, BLUE = (set(range(color, 24, 3)) for color in range(3))
MUGS, SHOES = set(range(0, 24, 2)), set(range(1, 24, 2))


@pytest.fixture(scope="module")
def searcher(searchable: Path) -> Searcher:
    return Searcher(Bundle.open(searchable / "bundle"))


def ask(searcher: Searcher, words: str = "", **given: object) -> list[int]:
    return [result.item_idx for result in searcher.search(SearchQuery(words=words, **given)).results]  # type: ignore[arg-type]


def picture(row: int, searchable: Path) -> Image.Image:
    return Image.open(searchable / "shop" / "images" / f"i{row}.png").convert("RGB")


def test_words_find_what_they_name(searcher: Searcher) -> None:
    assert set(ask(searcher, "red mug", k=4)) == RED & MUGS
    assert set(ask(searcher, "BLUE Shoe", k=3)) == (BLUE & SHOES) - {5}  # 23 has no picture to be found by


def test_words_that_no_title_has_find_what_they_mean(searcher: Searcher) -> None:
    answer = searcher.search(SearchQuery(words="crimson cup", k=4))
    assert {result.item_idx for result in answer.results} == RED & MUGS
    assert all("its words mean what you typed" in result.reasons for result in answer.results[:2])
    assert not any(reason.startswith("words match") for result in answer.results for reason in result.reasons)


def test_words_in_a_writing_that_the_encoder_cannot_read_are_warned_of_and_no_meaning_is_claimed(
    searcher: Searcher,
) -> None:
    answer = searcher.search(SearchQuery(words="红色 mug", k=24))
    assert len(answer.warnings) == 1
    assert "does not know 2 of the 5 letters" in answer.warnings[0]
    claimed = {reason for result in answer.results for reason in result.reasons}
    assert claimed == {"words match: mug"}
    for understood in ("red mug", "red mug 红", "crimson cup"):  # 1 letter of 7 may be anything
        assert "its words mean what you typed" in searcher.search(SearchQuery(words=understood)).results[0].reasons
        assert searcher.search(SearchQuery(words=understood)).warnings == ()
    assert searcher.search(SearchQuery(like=Examples(items=("i0",)))).warnings == ()


def test_words_find_the_picture_of_an_item_without_words(searcher: Searcher) -> None:
    # row 22 is green and has no title: only its picture can answer
    found = {result.item_idx: result for result in searcher.search(SearchQuery(words="green", k=24)).results}
    assert set(list(found)[:7]) == GREEN - {22}
    assert found[22].reasons == ("the picture looks like what you typed",)
    assert found[22].source == "words_to_pictures"


def test_a_picture_finds_its_like(searcher: Searcher, searchable: Path) -> None:
    found = searcher.search(SearchQuery(picture=picture(0, searchable), k=4))
    assert {result.item_idx for result in found.results} == RED & MUGS
    assert found.results[0].source == "picture_to_pictures"
    assert found.results[0].reasons[0] == "looks like your picture"
    assert found.channels == ("picture_to_pictures", "picture_to_words")


def test_an_item_without_a_picture_is_never_said_to_be_found_by_it(searcher: Searcher, searchable: Path) -> None:
    found = searcher.search(SearchQuery(picture=picture(0, searchable), k=24)).results
    assert {result.source for result in found if result.item_idx == 23} == {"picture_to_words"}
    assert {result.source for result in found if result.item_idx == 22} == {"picture_to_pictures"}


def test_the_weight_moves_the_answer_from_the_words_to_the_picture(searcher: Searcher, searchable: Path) -> None:
    green_shoe = picture(1, searchable)
    assert set(ask(searcher, "red mug", picture=green_shoe, picture_weight=0.0, k=4)) == RED & MUGS
    assert set(ask(searcher, "red mug", picture=green_shoe, picture_weight=1.0, k=3)) <= GREEN & SHOES


def test_an_example_finds_its_like_and_is_not_shown_itself(searcher: Searcher) -> None:
    found = ask(searcher, like=Examples(items=("i0",)), k=3)
    assert set(found) == RED & MUGS - {0}


def test_words_turned_away_from_an_example_avoid_what_it_is(searcher: Searcher) -> None:
    plain = ask(searcher, "mug", k=8)
    away = ask(searcher, "mug", unlike=Examples(items=("i0",)), k=7)
    assert set(plain) & RED
    assert not set(away) & RED
    assert set(ask(searcher, "mug", unlike=Examples(words=("red",)), k=7)) <= MUGS - RED


def test_pictures_are_examples_too(searcher: Searcher, searchable: Path) -> None:
    red_mug, blue_shoe = picture(0, searchable), picture(11, searchable)
    assert set(ask(searcher, like=Examples(pictures=(red_mug,)), k=4)) == RED & MUGS
    away = ask(searcher, "blue", unlike=Examples(pictures=(blue_shoe,)), k=24)
    assert min(map(ask(searcher, "blue", k=24).index, (BLUE & SHOES) - {5, 23})) < 4
    assert next(row for row in away if row in BLUE - {23}) in MUGS  # 23 has no picture that could be unwanted


def test_an_unwanted_picture_puts_its_like_last_where_the_query_has_words_alone(
    searcher: Searcher, searchable: Path
) -> None:
    red = Examples(pictures=(picture(0, searchable),))
    mugs = set(ask(searcher, "mug", k=10))
    away = ask(searcher, "mug", unlike=red, k=24)
    assert mugs <= MUGS
    ordered = [row for row in away if row in mugs]
    assert set(ordered[-len(mugs & RED) :]) == mugs & RED
    assert set(ask(searcher, "mug", k=24)) == set(away)  # it hides nothing, and finds nothing else


def test_unwanted_words_count_half_against_what_was_found_by_a_picture(searcher: Searcher, searchable: Path) -> None:
    def scored(**given: object) -> dict[int, float]:
        query = SearchQuery(picture=picture(0, searchable), k=24, **given)  # type: ignore[arg-type]
        return {result.item_idx: result.score for result in searcher.search(query).results}

    plain, away = scored(), scored(unlike=Examples(words=("mug",)))
    rows = sorted(plain)
    assert rows == sorted(away)  # it hides nothing, and finds nothing else
    words = np.asarray(searcher.bundle.text_vectors)[rows]
    cosine = (words @ searcher.encoding.words(["mug"])[0]).astype(np.float64)
    known = words.any(axis=1)
    assert not known.all()
    cosine[~known] = cosine[known].mean()  # who has no words is neither for nor against
    found = np.array([plain[row] for row in rows])
    expected = 2 / 3 * (found - found.mean()) / found.std() - 1 / 3 * (cosine - cosine.mean()) / cosine.std()
    np.testing.assert_allclose([away[row] for row in rows], expected, atol=1e-4)
    query = SearchQuery(picture=picture(0, searchable), k=24, unlike=Examples(words=("mug",)))
    against = {result.item_idx: result.parts[AGAINST] for result in searcher.search(query).results}
    held = -1 / 3 * (cosine - cosine.mean()) / cosine.std()
    np.testing.assert_allclose([against[row] for row in rows], held, atol=1e-4)


def test_the_parts_of_a_score_add_up_to_it(searcher: Searcher, searchable: Path) -> None:
    words, ways = ("lexical", "words_to_words", "words_to_pictures"), ("picture_to_pictures", "picture_to_words")
    red, mug = picture(0, searchable), Examples(words=("mug",))
    taste = {"user_vector": np.array([1.0], dtype=np.float32), "user_weight": 0.3}
    for query, names in (
        (SearchQuery(words="red mug", k=24), words),
        (SearchQuery(words="green shoe", picture=red, picture_weight=0.3, k=24), (*words, *ways)),
        (SearchQuery(picture=red, unlike=mug, k=24), (*ways, AGAINST)),
        (SearchQuery(words="red", unlike=Examples(pictures=(red,)), k=24, **taste), (*words, AGAINST, "personal")),
        (SearchQuery(words="red", unlike=mug, k=24), words),  # these turn away from a mug by themselves
    ):
        for result in searcher.search(query).results:
            assert tuple(result.parts) == names
            assert sum(result.parts.values()) == pytest.approx(result.score, abs=1e-9)


def test_filters_hold_before_ranking_so_a_page_is_full_while_enough_pass(searcher: Searcher) -> None:
    blue = ask(searcher, "red mug", filters={"Color": ("BLUE",)}, k=8)
    assert set(blue) == BLUE - {5}
    both = ask(searcher, "red", filters={"color": ("blue", "green"), "category": ("shoe",)}, k=20)
    assert set(both) == ((BLUE | GREEN) & SHOES) - {5}


def test_price_bounds_are_inclusive_and_sold_out_items_are_left_out_unless_asked_for(searcher: Searcher) -> None:
    assert set(ask(searcher, "shoe mug", min_price=4, max_price=7, k=24)) == {3, 4, 6}
    assert set(ask(searcher, "shoe mug", min_price=4, max_price=7, available_only=False, k=24)) == {3, 4, 5, 6}


def test_pages_continue_one_another(searcher: Searcher) -> None:
    whole = ask(searcher, "red mug", k=20)
    first = searcher.search(SearchQuery(words="red mug", k=7))
    assert first.next_offset == 7
    pages = [ask(searcher, "red mug", k=7, offset=offset) for offset in (0, 7, 14)]
    assert [row for page in pages for row in page][:20] == whole
    last = searcher.search(SearchQuery(words="red mug", k=20, offset=10))
    assert last.next_offset is None


def test_taste_orders_what_is_found_and_says_so(searcher: Searcher) -> None:
    shoes_first = np.array([-1.0], dtype=np.float32)
    assert set(ask(searcher, "red", user_vector=shoes_first, user_weight=0.5, k=4)) == RED & SHOES
    assert set(ask(searcher, "red", user_vector=-shoes_first, user_weight=0.5, k=4)) == RED & MUGS
    plain = ask(searcher, "red", k=8)
    assert ask(searcher, "red", user_vector=shoes_first, user_weight=0.0, k=8) == plain


def test_matched_words_are_named_as_they_were_typed(searcher: Searcher) -> None:
    best = searcher.search(SearchQuery(words="RED sneaker mugs", k=1)).results[0]
    assert best.reasons[0] == "words match: red mugs"


def test_a_shop_without_encoders_is_searched_by_letters_and_counted(small_bundle: Path) -> None:
    searcher = Searcher(Bundle.open(small_bundle))
    answer = searcher.search(SearchQuery(words="red mug", k=12))
    assert answer.channels == ("lexical",)
    assert [result.item_idx % 6 for result in answer.results[:10]] == [0] * 10
    assert answer.total == 10 + 20 + 10 - 1  # red mugs, other mugs, red shoes, of which i57 is sold out
    assert searcher.search(SearchQuery(words="zebra")).total == 0


def test_a_picture_is_refused_where_the_bundle_cannot_encode_one(small_bundle: Path) -> None:
    with pytest.raises(CannotSearch, match=r"cannot encode pictures \(onnx/image_encoder.onnx is missing\)"):
        Searcher(Bundle.open(small_bundle)).search(SearchQuery(picture=Image.new("RGB", (4, 4))))


def test_an_older_bundle_opens_and_says_that_it_cannot_be_searched(small_bundle: Path, tmp_path: Path) -> None:
    old = shutil.copytree(small_bundle, tmp_path / "old")
    shutil.rmtree(old / "search")
    manifest = orjson.loads((old / "manifest.json").read_bytes())
    manifest["files"] = {name: entry for name, entry in manifest["files"].items() if not name.startswith("search/")}
    from recsys.bundle_format import FileEntry, content_version

    kept = {name: FileEntry.model_validate(entry) for name, entry in manifest["files"].items()}
    manifest["version"] = content_version(kept)
    (old / "manifest.json").write_bytes(orjson.dumps(manifest))
    bundle = Bundle.open(old)
    with pytest.raises(CannotSearch, match=r"has no search index \(search/search.json is missing\)"):
        Searcher(bundle)


def test_an_encoder_that_was_replaced_behind_an_open_bundle_is_not_used(searchable: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(searchable / "bundle", tmp_path / "bundle")
    searcher = Searcher(Bundle.open(copied))
    (copied / "onnx" / "text_encoder.onnx").write_bytes(b"another")
    with pytest.raises(BundleError, match=r"text_encoder\.onnx: size must be"):
        searcher.search(SearchQuery(words="red"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"words": "  "}, "words must not be blank"),
        ({"words": "a", "filters": {"size": ("xl",)}}, r"filters.size must be an attribute of this shop \(category, c"),
        ({"words": "a", "filters": {"color": ("pink",)}}, "filters.color must be a value that an item .* got 'pink'"),
        ({"words": "a", "like": Examples(items=("nope",))}, "like.items must name items of the catalog, got 'nope'"),
        ({"words": "a", "k": 0}, "k must be >= 1"),
        ({"words": "a", "offset": 995, "k": 10}, "offset must be >= 0, and offset . k at most 1000"),
        ({"words": "a", "picture_weight": 1.5}, "picture_weight must be in"),
        ({"words": "a", "min_price": 5.0, "max_price": 4.0}, "max_price must be >= min_price"),
        ({"words": "a" * 501}, "words must have at most 500"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_rule_and_value(
    searcher: Searcher, given: dict[str, object], message: str
) -> None:
    with pytest.raises(BadQuery, match=message):
        searcher.search(SearchQuery(**given))  # type: ignore[arg-type]
