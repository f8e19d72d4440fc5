"""A client of an empty Redis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis


@pytest.fixture
def client(redis_server: Any) -> Iterator[Redis]:
    with redis_server.client() as client:
        yield client
