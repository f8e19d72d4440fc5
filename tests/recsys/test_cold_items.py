from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.onnx.encoders import QueryEncoders
from features.onnx.match_export import MATCH_IMAGE, MATCH_TEXT
from features.onnx.session import open_network, run_network
from recsys.bundle import Bundle
from recsys.bundle_format import BundleError
from recsys.cold_items import COLD_ITEM, ColdItems
from recsys.fit import FitSummary


@pytest.fixture(scope="module")
def bundle(fitted: FitSummary) -> Bundle:
    return Bundle.open(fitted.folder.bundle)


def newcomers(bundle: Bundle) -> list[int]:
    """Items that all have the prior of new items: nobody met them in training."""
    assert bundle.cold is not None
    return np.flatnonzero(np.isclose(bundle.item_prior, bundle.cold.prior, atol=1e-6)).tolist()


def placed(bundle: Bundle, row: int, **changed: object) -> np.ndarray:
    """An item of the bundle, placed as if it were new."""
    shown = bundle.display(row)
    trust = float(bundle.match_scores[row])
    known = {
        "text": np.asarray(bundle.text_vectors[row]),
        "image": np.asarray(bundle.image_vectors[row]),
        "attributes": shown["attributes"],
        "price": shown["price"],
        "trust": None if np.isnan(trust) else trust,
    }
    return ColdItems(bundle).embed(**known | changed)  # type: ignore[arg-type]


def test_a_bundle_holds_every_network_of_the_service(bundle: Bundle) -> None:
    for name in ("encoders.json", "text_encoder.onnx", "tokenizer.json", "image_encoder.onnx"):
        assert bundle.onnx(name) is not None
    for name in (MATCH_TEXT, MATCH_IMAGE, COLD_ITEM):
        assert bundle.onnx(name) is not None


def test_an_item_placed_anew_stands_where_training_put_it(bundle: Bundle) -> None:
    rows = newcomers(bundle)
    assert len(rows) >= 5
    known = np.asarray(bundle.item_embeddings)
    for row in rows:
        place = placed(bundle, row)
        assert place.shape == (bundle.item_vectors.shape[1],)
        assert place[-1] == pytest.approx(bundle.item_prior[row], abs=1e-6)
        cosine = known @ place[:-1]
        # the graph knows who lists it as a look-alike, a new item does not: near, and nearer than to all others
        assert cosine[row] > 0.95
        assert np.count_nonzero(cosine > cosine[row]) <= 2


def test_each_thing_known_of_a_new_item_moves_it(bundle: Bundle) -> None:
    row = next(row for row in newcomers(bundle) if bundle.image_vectors[row].any() and bundle.text_vectors[row].any())
    whole = placed(bundle, row)
    for changed in (
        {"text": np.zeros_like(bundle.text_vectors[row])},
        {"image": np.zeros_like(bundle.image_vectors[row])},
        {"attributes": {}},
        {"price": None},
        {"trust": 0.0},
    ):
        assert np.abs(placed(bundle, row, **changed) - whole).max() > 1e-4, changed
    unheard = bundle.display(row)["attributes"] | {"brand": ["a brand that nobody has"]}
    without = {name: values for name, values in bundle.display(row)["attributes"].items() if name != "brand"}
    np.testing.assert_array_equal(placed(bundle, row, attributes=unheard), placed(bundle, row, attributes=without))


def test_the_match_towers_tell_a_pair_from_a_mispairing(bundle: Bundle) -> None:
    paths = bundle.onnx(MATCH_TEXT), bundle.onnx(MATCH_IMAGE)
    assert paths[0] is not None
    assert paths[1] is not None
    both = np.flatnonzero(np.asarray(bundle.match_scores) > 0.5)
    text = run_network(open_network(paths[0]), vector=np.asarray(bundle.text_vectors[both]))
    image = run_network(open_network(paths[1]), vector=np.asarray(bundle.image_vectors[both]))
    np.testing.assert_allclose(np.linalg.norm(text, axis=1), 1, rtol=1e-4)
    cosine = text @ image.T
    assert np.diag(cosine).mean() > cosine.mean() + 0.2


def test_a_query_in_words_finds_listings_that_say_so(bundle: Bundle) -> None:
    path = bundle.onnx("encoders.json")
    assert path is not None
    queries = QueryEncoders.open(path.parent)
    assert queries.text is not None
    row = 3
    title = bundle.display(row)["title"]
    cosine = np.asarray(bundle.text_vectors) @ queries.text.encode([title])[0]
    best = np.argsort(-cosine)[:5]
    assert row in best


def test_a_vector_of_another_encoder_is_refused(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match=r"text must be \[384\], got \(3,\)"):
        placed(bundle, 0, text=np.zeros(3, dtype=np.float32))


def test_a_bundle_without_a_tower_says_so(small_bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"says nothing of new items \(onnx/cold_item\.onnx"):
        ColdItems(Bundle.open(small_bundle))
