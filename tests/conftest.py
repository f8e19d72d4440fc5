"""What every test may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real shops and benchmarks beside the checkout."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"real data is not beside this checkout ({REAL_DATA.parent.name}/{REAL_DATA.name} is missing)")
    return REAL_DATA
