"""A shop whose bundle places new items."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recsys.bundle import Bundle


@pytest.fixture
def shop(start_service: Callable[..., Any], redis_server: Any, publisher: Any, growing: Path) -> Any:
    publisher.publish(Bundle.open(growing))
    return start_service(bundle=growing, redis_url=redis_server.url)
