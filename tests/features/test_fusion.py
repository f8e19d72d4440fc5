from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.fusion import fuse

TEXT = np.array([[1, 0], [0.6, 0.8], [1, 0], [0, 0], [0, 0]], dtype=np.float32)
IMAGE = np.array([[0, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]], dtype=np.float32)


def test_cosines_of_complete_items_mix_in_the_given_ratio() -> None:
    # cos_text = 0.6 and cos_image = 1: 0.75 * 0.6 + 0.25 * 1 = 0.7
    fused = fuse(TEXT, IMAGE, image_share=0.25)
    assert fused[0] @ fused[1] == pytest.approx(0.7, abs=1e-6)


def test_rows_have_length_one_or_zero_where_nothing_is_known() -> None:
    fused = fuse(TEXT, IMAGE, image_share=0.25)
    assert fused.dtype == np.float32
    assert np.linalg.norm(fused, axis=1) == pytest.approx([1, 1, 1, 1, 0], abs=1e-6)


def test_a_missing_modality_leaves_the_other_alone() -> None:
    fused = fuse(TEXT, IMAGE, image_share=1.0)
    np.testing.assert_array_equal(fused[2], [1, 0, 0, 0, 0])
    fused = fuse(TEXT, IMAGE, image_share=0.0)
    np.testing.assert_array_equal(fused[3], [0, 0, 0, 0, 1])


def test_a_distrusted_picture_counts_less_and_an_unjudged_one_fully() -> None:
    trust = np.array([0.0, 1.0, np.nan, np.nan, np.nan], dtype=np.float32)
    fused = fuse(TEXT, IMAGE, image_share=0.5, trust=trust)
    np.testing.assert_allclose(fused[0], [1, 0, 0, 0, 0], atol=1e-7)
    # the shares are 0 and 0.5: sqrt(1 * 0.5) * cos_text = 0.7071 * 0.6
    assert fused[0] @ fused[1] == pytest.approx(np.sqrt(0.5) * 0.6, abs=1e-6)
    np.testing.assert_array_equal(fused[1], fuse(TEXT, IMAGE, image_share=0.5)[1])


def test_trust_moves_the_share_gradually() -> None:
    half = fuse(TEXT[:1], IMAGE[:1], image_share=0.5, trust=np.array([0.5], dtype=np.float32))
    # share 0.5 * 0.5 = 0.25: sqrt(0.75) and sqrt(0.25)
    np.testing.assert_allclose(half[0], [np.sqrt(0.75), 0, 0, 0.5, 0], atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(share=st.floats(0, 1), seed=st.integers(0, 2**16))
def test_the_ratio_holds_for_any_share_and_vectors(share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    text, image = (rng.normal(size=(6, d)).astype(np.float32) for d in (4, 7))
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    image /= np.linalg.norm(image, axis=1, keepdims=True)
    fused = fuse(text, image, image_share=share)
    np.testing.assert_allclose(fused @ fused.T, (1 - share) * text @ text.T + share * image @ image.T, atol=1e-5)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_zero_and_one_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"image_share must be in \[0, 1\]"):
        fuse(TEXT, IMAGE, image_share=share)


def test_a_trust_outside_zero_and_one_is_refused_with_its_item() -> None:
    with pytest.raises(ValueError, match=r"trust must be in \[0, 1\] or NaN, item 1 has 1.5"):
        fuse(TEXT, IMAGE, trust=np.array([0, 1.5, 0, 0, 0], dtype=np.float32))


def test_modalities_of_different_shops_are_refused() -> None:
    with pytest.raises(ValueError, match="text has 5, image 2"):
        fuse(TEXT, IMAGE[:2])
