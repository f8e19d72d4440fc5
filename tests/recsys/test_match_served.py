"""The match model in a bundle: listings that come or change while it is served are scored as the fit would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recsys.amended.amendments import Amendments
from recsys.amended.placed import Placer
from recsys.bundle import Bundle
from recsys.bundle_format import MATCH, BundleError
from recsys.cold_items import ColdItems
from recsys.fit import FitSummary
from recsys.search.encoding import Encoding


@pytest.fixture(scope="module")
def bundle(fitted: FitSummary) -> Bundle:
    return Bundle.open(fitted.folder.bundle)


@pytest.fixture(scope="module")
def placer(bundle: Bundle) -> Placer:
    return Placer(bundle, Encoding(bundle))


def vectors(bundle: Bundle, words: int, picture: int) -> dict[str, np.ndarray]:
    return {"text": np.asarray(bundle.text_vectors[words]), "image": np.asarray(bundle.image_vectors[picture])}


def test_every_item_of_training_scores_anew_within_a_ten_thousandth_of_what_the_fit_said(bundle: Bundle) -> None:
    assert bundle.match is not None
    said = np.asarray(bundle.match_scores)
    anew = bundle.match.score(np.asarray(bundle.text_vectors), np.asarray(bundle.image_vectors))
    assert np.isfinite(said).sum() > 200
    np.testing.assert_array_equal(np.isnan(anew), np.isnan(said))
    assert np.nanmax(np.abs(anew - said)) < 1e-4


def test_a_score_stands_in_the_bundle_and_in_the_place_of_a_new_item(bundle: Bundle, placer: Placer) -> None:
    assert bundle.match is not None
    row = int(np.nanargmax(bundle.match_scores))
    others = np.arange(len(bundle))
    swapped = bundle.match.score(np.repeat(bundle.text_vectors[[row]], len(others), axis=0), bundle.image_vectors)
    wrong = int(np.nanargmin(swapped))
    shown = bundle.display(row)
    right_one, wrong_one = (
        placer.placed("new", {**shown, "item_id": "new"}, vectors(bundle, row, picture)) for picture in (row, wrong)
    )
    assert right_one.match_score == pytest.approx(float(bundle.match_scores[row]), abs=1e-4)
    assert wrong_one.match_score == pytest.approx(float(swapped[wrong]), abs=1e-6)
    assert right_one.match_score is not None
    assert wrong_one.match_score is not None
    assert right_one.match_score > wrong_one.match_score + 0.3
    place = ColdItems(bundle).embed(
        **vectors(bundle, row, wrong),
        attributes=shown["attributes"],
        price=shown["price"],
        trust=wrong_one.match_score,
    )
    np.testing.assert_array_equal(wrong_one.place, place)  # a picture counts as far as it is believed
    amended, _, _ = Amendments(bundle, None).apply({"new": wrong_one})
    assert amended.match_scores[-1] == np.float32(wrong_one.match_score)


def test_a_known_item_scores_by_its_new_picture_until_its_own_is_back(bundle: Bundle, placer: Placer) -> None:
    assert bundle.match is not None
    row = int(np.nanargmax(bundle.match_scores))
    wrong = int(
        np.nanargmin(
            bundle.match.score(np.repeat(bundle.text_vectors[[row]], len(bundle), axis=0), bundle.image_vectors)
        )
    )
    item_id, shown = bundle.items[row], bundle.display(row)
    amendments = Amendments(bundle, None)
    changed = placer.placed(item_id, shown, {"image": np.asarray(bundle.image_vectors[wrong])})
    amended, _, _ = amendments.apply({item_id: changed})
    assert amended.match_scores[row] < bundle.match_scores[row] - 0.3
    others = np.delete(np.arange(len(bundle)), row)
    np.testing.assert_array_equal(amended.match_scores[others], bundle.match_scores[others])
    blind, _, _ = amendments.apply(
        {item_id: placer.placed(item_id, shown, {"image": np.zeros_like(changed.vectors["image"])})}
    )
    assert np.isnan(blind.match_scores[row])
    back, _, _ = amendments.apply({item_id: placer.placed(item_id, shown, {})})
    assert back.match_scores[row] == bundle.match_scores[row]


def test_a_bundle_without_a_match_model_opens_and_knows_no_score_of_what_is_new(small_bundle: Path) -> None:
    bundle = Bundle.open(small_bundle)
    assert not set(MATCH) & set(bundle.manifest.files)
    assert bundle.match is None
    changed = Placer(bundle, Encoding(bundle)).match_score("i0", {"image": np.asarray(bundle.image_vectors[1])})
    assert changed is not None
    assert np.isnan(changed)  # what the fit said was of another picture


def test_a_match_model_replaced_behind_an_open_bundle_is_refused(fitted: FitSummary, tmp_path: Path) -> None:
    import shutil

    copied = tmp_path / "bundle"
    shutil.copytree(fitted.folder.bundle, copied)
    bundle = Bundle.open(copied)
    told = (copied / MATCH[0]).read_text()
    (copied / MATCH[0]).write_text(told.replace('"prior": 0.95', '"prior": 0.05'))
    with pytest.raises(BundleError, match=r"match/match\.json"):
        _ = bundle.match
