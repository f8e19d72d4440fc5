"""Two bundles to publish, one after the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys.bundle import Bundle


@pytest.fixture
def small(small_bundle: Path) -> Bundle:
    return Bundle.open(small_bundle)


@pytest.fixture
def changed(changed_bundle: Path) -> Bundle:
    return Bundle.open(changed_bundle)
