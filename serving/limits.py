"""How large a request may be, by path; the same for those who are refused and in the description of the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving.settings import Settings

WITH_PICTURES = ("/v1/search", "/v1/items", "/v1/items/")
"""Paths whose bodies may hold pictures; one that ends in a slash stands for all below it."""


def larger_bodies(settings: Settings) -> Mapping[str, int]:
    """Paths that take more than `max_body_bytes`, and how many bytes."""
    return dict.fromkeys(WITH_PICTURES, settings.search_max_body_bytes)


def most_bytes(path: str, usual: int, larger: Mapping[str, int]) -> int:
    """The largest body that a path takes."""
    above = next((most for place, most in larger.items() if place[-1] == "/" and path.startswith(place)), 0)
    return max(above, larger.get(path, usual))


def with_limits(described: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Say the limits of bodies and pictures where the settings know them.

    Args:
        described: OpenAPI document; it is changed in place.
        settings: of the service.
    """
    larger = larger_bodies(settings)
    for path, operations in described["paths"].items():
        for operation in operations.values():
            refused = operation["responses"].get("413")
            if refused is not None:
                refused["description"] = (
                    f"A body of more than {most_bytes(path, settings.max_body_bytes, larger):,} bytes"
                )
    described["info"]["description"] += (
        f"\nA body has at most {settings.max_body_bytes:,} bytes, one that may hold pictures "
        f"{settings.search_max_body_bytes:,}; a picture at most {settings.search_max_pixels:,} pixels.\n"
    )
    return described
