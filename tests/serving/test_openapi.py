"""The description of the API is complete, and the service does what it says, whatever is sent."""

from __future__ import annotations

import time
import warnings
from itertools import product
from typing import Any

import httpx
import pytest


def test_every_route_of_the_api_is_described(standing_service: Any) -> None:
    paths = standing_service.get("/openapi.json").json()["paths"]
    assert {path: sorted(operations) for path, operations in paths.items()} == {
        "/v1/items": ["get", "post"],
        "/v1/items/{item_id}": ["delete", "get", "patch", "put"],
        "/v1/items/{item_id}/similar": ["get"],
        "/v1/items/{item_id}/debug": ["get"],
        "/v1/users": ["post"],
        "/v1/users/{user_id}": ["delete", "get", "patch", "put"],
        "/v1/users/{user_id}/feed": ["get"],
        "/v1/events": ["post"],
        "/v1/recommend": ["post"],
        "/v1/batch": ["post"],
        "/v1/search": ["post"],
        "/v1/rules": ["get", "put"],
        "/v1/rules/dry-run": ["post"],
        "/v1/rules/rollback": ["post"],
        "/v1/experiments": ["get", "put"],
        "/v1/experiments/results": ["get"],
        "/v1/experiments/rollback": ["post"],
        "/v1/images/{item_id}": ["get"],
        "/health": ["get"],
        "/ready": ["get"],
        "/metrics": ["get"],
    }
    search = paths["/v1/search"]["post"]
    assert set(search["requestBody"]["content"]) == {"application/json", "multipart/form-data"}
    assert {"200", "409", "413", "415", "422", "503"} <= set(search["responses"])
    k = paths["/v1/users/{user_id}/feed"]["get"]["parameters"][1]
    assert (k["name"], k["schema"]["minimum"], k["schema"]["maximum"], k["schema"]["default"]) == ("k", 1, 100, 12)


def test_every_body_has_a_limit_that_is_described_and_held(start_service: Any) -> None:
    small = start_service(max_body_bytes=20_000, search_max_body_bytes=50_000, search_max_pixels=9_999)
    described = small.get("/openapi.json").json()
    assert "at most 9,999 pixels" in described["info"]["description"]
    limits = {
        (method, path): operation["responses"]["413"]["description"]
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
        if "requestBody" in operation
    }
    assert len(limits) == 15
    for (method, path), said in limits.items():
        most = int(said.removeprefix("A body of more than ").removesuffix(" bytes").replace(",", ""))
        assert most == (50_000 if path in {"/v1/search", "/v1/items", "/v1/items/{item_id}"} else 20_000)
        url = small.base_url + path.replace("{item_id}", "i3").replace("{user_id}", "u1")
        headers = {"content-type": "application/json"}
        one_more = httpx.request(method, url, content=b" " * (most + 1), headers=headers)
        assert one_more.status_code == 413
        assert httpx.request(method, url, content=b" " * most, headers=headers).status_code != 413


@pytest.mark.filterwarnings("ignore")
def test_the_service_keeps_to_its_description_whatever_is_sent(service: Any) -> None:
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

    schema = schemathesis.openapi.from_url(service.base_url + "/openapi.json")
    end = time.monotonic() + 20.0
    tried: set[str] = set()
    operations = [found.ok() for found in schema.get_all_operations()]
    takes_any = {"/metrics", "/health", "/ready", "/v1/experiments/results"}
    # a file must be a picture, a filter the shop's, a cursor the service's own: no schema can say so
    lists = {"/v1/items/{item_id}/similar", "/v1/users/{user_id}/feed", "/v1/recommend", "/v1/batch"}
    # an expression must fit the catalog, names must differ, a number of a version is written without a fraction
    documents = {f"/v1/{path}" for path in ("rules", "rules/dry-run", "rules/rollback", "experiments")}
    documents.add("/v1/experiments/rollback")
    # an import names the rows that break the description, and takes the others of the same body
    judges_rows = {"POST /v1/items", "POST /v1/users"}
    judges_content = {"/v1/search", "/v1/items", "/v1/items/{item_id}", *lists, *documents}
    for operation, mode in product(operations, schemathesis.GenerationMode):
        if mode is schemathesis.GenerationMode.NEGATIVE and operation.path in takes_any:
            continue  # nothing to send that could be wrong

        @seed(0)
        @settings(
            max_examples=12,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def keeps(case: Any) -> None:
            if case.operation.label not in tried or time.monotonic() < end:
                excluded = [positive_data_acceptance] if case.operation.path in judges_content else []
                excluded += [negative_data_rejection] if case.operation.label in judges_rows else []
                case.call_and_validate(excluded_checks=excluded)
                tried.add(case.operation.label)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            keeps()
    assert tried == {operation.label for operation in operations}
