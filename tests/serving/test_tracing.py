"""A request's trace tells what took its time, and nothing is traced where nobody asked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import ValidationError

from recsys.bundle import Bundle
from serving import tracing
from serving.publishing import Publisher
from serving.settings import Settings

RULES = {"rules": [{"name": "b", "boost": "price > 1", "factor": 2}, {"name": "c", "cap": "category", "at_most": 3}]}


class Traced:
    """A traced service, and the spans it told of."""

    def __init__(self, service: Any, spans: InMemorySpanExporter, traces: list[tracing.Tracing]) -> None:
        self.service = service
        self.spans = spans
        self.traces = traces

    def of(self, name: str, **attributes: object) -> list[ReadableSpan]:
        """The spans of the latest request of this name."""
        self.traces[0].provider.force_flush()
        told = self.spans.get_finished_spans()
        root = [span for span in told if span.name == name][-1]
        return [span for span in told if span.context.trace_id == root.context.trace_id]


@pytest.fixture
def traced(
    start_service: Callable[..., Any],
    redis_server: Any,
    publisher: Publisher,
    small_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Traced:
    spans = InMemorySpanExporter()
    made: list[tracing.Tracing] = []
    begin = tracing.Tracing.__init__

    def remembered(self: tracing.Tracing, settings: Settings) -> None:
        begin(self, settings)
        made.append(self)

    monkeypatch.setattr(tracing, "exporter_of", lambda _: spans)
    monkeypatch.setattr(tracing.Tracing, "__init__", remembered)
    publisher.publish(Bundle.open(small_bundle))
    service = start_service(
        bundle=small_bundle, redis_url=redis_server.url, traces_to="http://127.0.0.1:9/v1/traces", traces_share=1.0
    )
    return Traced(service, spans, made)


def test_a_feed_s_trace_holds_redis_candidates_rules_slots_and_reasons_within_the_request(traced: Traced) -> None:
    service = traced.service
    assert httpx.put(service.base_url + "/v1/rules", json=RULES, timeout=10).status_code == 200
    service.post({"user_id": "u1", "item_id": "i3", "event_type": "view"})
    assert service.feed("u1")["source"] == "personalized"
    spans = traced.of("GET /v1/users/{user_id}/feed")
    by_name = {span.name: span for span in spans}
    assert set(by_name) == {
        "GET /v1/users/{user_id}/feed",
        "redis",
        "moment",
        "candidates",
        "rules",
        "slots",
        "reasons",
    }
    root = by_name["GET /v1/users/{user_id}/feed"]
    assert root.parent is None
    assert dict(root.attributes or {})["recsys.tier"] == "personalized"
    assert dict(root.attributes or {})["http.response.status_code"] == 200
    for span in spans:
        if span is not root:
            assert span.parent is not None
            assert span.parent.span_id == root.context.span_id
            assert root.start_time <= span.start_time <= span.end_time <= root.end_time  # type: ignore[operator]


def test_a_trace_goes_on_where_the_caller_began_it_and_a_caller_that_is_not_traced_stays_so(traced: Traced) -> None:
    for flag in ("01", "00"):
        trace = ("1" if flag == "01" else "2") * 32
        headers = {"traceparent": f"00-{trace}-{'3' * 16}-{flag}"}
        assert httpx.get(traced.service.base_url + "/v1/items/i3/similar", headers=headers).status_code == 200
    spans = traced.of("GET /v1/items/{item_id}/similar")
    assert {span.context.trace_id for span in spans} == {int("1" * 32, 16)}
    assert sorted(span.name for span in spans if span.name != "redis") == ["GET /v1/items/{item_id}/similar"]


def test_a_collector_that_is_away_costs_no_answer(
    start_service: Callable[..., Any], small_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = start_service(bundle=small_bundle, traces_to="http://127.0.0.1:9/v1/traces", traces_share=1.0)
    assert service.get("/v1/items/i3/similar").status_code == 200


def test_an_application_that_is_not_traced_never_imports_what_traces(small_bundle: Path) -> None:
    code = (
        "import sys; from serving.app import create_app; from serving.settings import Settings; "
        "from serving.store import Store; app = create_app(Settings()); assert 'serving.tracing' not in sys.modules; "
        "assert not any('otlp' in name for name in sys.modules); assert type(app.state.store) is Store"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_an_address_that_takes_no_traces_is_refused() -> None:
    with pytest.raises(ValidationError, match="traces_to"):
        Settings(traces_to="collector:4318")
