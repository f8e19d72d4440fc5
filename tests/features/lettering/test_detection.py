"""Rectangles around lettering, from maps made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from features.lettering.detection import GROWTH, places


def core(degrees: float, *, width: float = 60, height: float = 12, probability: float = 0.9) -> np.ndarray:
    """A map with one slanted rectangle around (80, 64)."""
    y, x = np.mgrid[:128, :160] + 0.5
    angle = math.radians(degrees)
    along = (x - 80) * math.cos(angle) + (y - 64) * math.sin(angle)
    across = -(x - 80) * math.sin(angle) + (y - 64) * math.cos(angle)
    return np.where((abs(along) < width / 2) & (abs(across) < height / 2), probability, 0.05).astype(np.float32)


@pytest.mark.parametrize("degrees", [0, 17, -30, 65, 90])
def test_a_core_is_found_as_it_lies_and_grown_by_its_area_over_its_perimeter(degrees: float) -> None:
    (place,) = places(core(degrees))
    grown = 2 * GROWTH * 60 * 12 / (2 * (60 + 12))  # both sides
    assert place.center == pytest.approx([80, 64], abs=1)
    assert place.width == pytest.approx(60 + grown, abs=3)
    assert place.height == pytest.approx(12 + grown, abs=3)
    expected = np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
    assert abs(place.along @ expected) > math.cos(math.radians(3))
    assert place.along[0] > -1e-6  # from left to right


def test_corners_go_round_from_the_top_left_as_the_text_is_read() -> None:
    (place,) = places(core(0))
    x, y = place.corners().T
    assert x[0] == x[1] < x[2] == x[3]
    assert y[0] == y[3] < y[1] == y[2]
    assert place.turned().corners() == pytest.approx(place.corners()[[2, 3, 0, 1]])


def test_what_the_network_doubts_and_what_is_a_hair_is_no_lettering() -> None:
    assert places(core(0, probability=0.4)) == []
    assert places(core(0, height=2)) == []
    assert places(np.zeros((64, 64), dtype=np.float32)) == []
    dot = np.zeros((64, 64), dtype=np.float32)
    dot[10, 10:14] = 1.0  # all on one line: no hull
    assert places(dot) == []


def test_lines_are_told_from_top_to_bottom() -> None:
    both = np.maximum(np.roll(core(0), -40, axis=0), np.roll(core(0), 30, axis=0))
    assert [round(place.center[1]) for place in places(both)] == [24, 94]
