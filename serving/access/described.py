"""The description of the API, with what each request needs a key for."""

from __future__ import annotations

from typing import Any

from serving.access.gate import need
from serving.problems import MEDIA_TYPE
from serving.schemas import ProblemOut

REFUSALS = {
    "401": "No API key, or none that is known",
    "403": "The key may not do this",
    "429": "The key sends too many requests; try again after `Retry-After` seconds",
}


def with_keys(described: dict[str, Any]) -> dict[str, Any]:
    """Add the ways to send a key, the scope that each operation needs, and the refusals.

    Args:
        described: OpenAPI document; it is changed in place.
    """
    schemes = described.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes["bearer"] = {"type": "http", "scheme": "bearer"}
    schemes["header"] = {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    content = {MEDIA_TYPE: {"schema": ProblemOut.model_json_schema()}}
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            needed = need(method.upper(), path)
            if needed == "public":
                continue
            operation["security"] = [{"bearer": []}, {"header": []}]
            operation["description"] = (
                f"{operation.get('description', '')}\n\nNeeds a key of scope `{needed}`.".lstrip()
            )
            for status, said in REFUSALS.items():
                operation["responses"].setdefault(status, {"description": said, "content": content})
    return described
