"""The Python clients against a real service over a real socket."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from serving.access.keyring import new_key, write_keys
from serving.asked import DebugQuery, FeedIn, FeedQuery, OneIn, RecommendIn, SimilarIn, SimilarQuery
from serving.client import calls
from serving.client.asynchronous import AsyncClient
from serving.client.errors import ServiceError, UnreachableError
from serving.client.manners import Manners
from serving.client.sync import Client
from serving.items.shapes import BulkItemIn, ItemIn, ItemPatch
from serving.policy_schemas import TrialIn
from serving.schemas import AnswerOut, EventIn, FailedOut
from serving.search_schemas import SearchIn
from serving.user_schemas import BulkUserIn


def ids(answer: AnswerOut) -> list[str]:
    return [slot.item.item_id for slot in answer.recommendations]


def test_both_clients_send_every_call_there_is() -> None:
    built = {name for name, one in inspect.getmembers(calls, inspect.isfunction) if not name.startswith("_")}
    built = {name for name in built if getattr(calls, name).__module__ == calls.__name__}
    for client in (Client, AsyncClient):
        sent = {name for name in vars(client) if not name.startswith("_")} - {"close", "aclose"}
        assert sent == built


ONE_OF_EACH = {
    "similar": ("i3", SimilarQuery(k=5)),
    "feed": ("u1",),
    "recommend": (RecommendIn(),),
    "batch": ([OneIn(feed=FeedIn(user_id="u1"))],),
    "search": (SearchIn(words="mug"),),
    "item": ("i3",),
    "debug": ("i3", DebugQuery(user_id="u1")),
    "put_item": ("i3", ItemIn(title="Mug")),
    "patch_item": ("i3", ItemPatch(price=3)),
    "delete_item": ("i3",),
    "import_items": ([BulkItemIn(item_id="i3", price=3)],),
    "record": ([EventIn(user_id="u1", item_id="i3", event_type="view")],),
    "user": ("u1",),
    "put_user": ("u1", {"tier": ["gold"]}),
    "patch_user": ("u1", {"tier": []}),
    "import_users": ([BulkUserIn(user_id="u1", attributes={})],),
    "forget": ("u1",),
    "put_rules": ({"rules": []},),
    "dry_run": (TrialIn(user_id="u1"),),
    "put_experiments": ({"experiments": []},),
}
"""Arguments of every call that needs some."""


def test_there_is_a_typed_call_for_all_that_is_answered_in_json(service: Any) -> None:
    built = [
        getattr(calls, name)(*ONE_OF_EACH.get(name, ()))
        for name, one in inspect.getmembers(calls, inspect.isfunction)
        if one.__module__ == calls.__name__ and not name.startswith("_")
    ]
    sent = {(call.method, call.path.replace("/i3", "/{item_id}").replace("/u1", "/{user_id}")) for call in built}
    paths = service.get("/openapi.json").json()["paths"]
    described = {(method.upper(), path) for path, operations in paths.items() for method in operations}
    assert described - sent == {("GET", "/v1/images/{item_id}"), ("GET", "/health"), ("GET", "/metrics")}
    assert sent <= described


def test_a_shop_is_run_by_typed_calls(service: Any) -> None:
    with Client(service.base_url) as client:
        item = client.patch_item("i3", ItemPatch(price=3.5)).item
        assert item.price == 3.5
        assert item.title == "Red shoe 3"
        assert client.patch_item("i3", ItemPatch(price=None)).item.price is None  # said to be unknown
        imported = client.import_items([BulkItemIn(item_id="i5", available=False)], mode="patch")
        assert (imported.accepted, imported.refused) == (1, [])
        assert not client.item("i5").available
        why = client.debug("i5", DebugQuery(page="i3")).why
        assert why is not None
        assert why.hidden_by == ["unavailable"]
        client.delete_item("i7")
        with pytest.raises(ServiceError) as gone:
            client.item("i7")
        assert gone.value.status == 404
        assert client.put_user("u1", {"tier": ["gold"], "city": ["Oslo"]}).attributes["tier"] == ["gold"]
        assert client.patch_user("u1", {"tier": []}).attributes == {"city": ["Oslo"]}
        assert client.import_users([BulkUserIn(user_id="u2", attributes={"tier": ["gold"]})]).accepted == 1
        hide = {"rules": [{"name": "no mugs", "hide": "category under Kitchen"}]}
        trial = client.dry_run(TrialIn(rules=hide, user_id="u2"))
        assert trial.effects[0].n_moved > 0
        put = client.put_rules(hide, note="no mugs", expected=0)
        assert client.rules().rules == hide
        with pytest.raises(ServiceError) as late:
            client.put_rules(hide, expected=put.version + 1)
        assert late.value.status == 409
        client.put_rules({"rules": []})
        assert client.roll_rules_back().version == put.version
        assert client.rules(put.version).history[-1].note == "no mugs"
        arms = [{"name": "a"}, {"name": "b", "overrides": {"exploration": {"temperature": 0.2}}}]
        client.put_experiments({"experiments": [{"name": "warm", "arms": arms}]})
        assert [arm["name"] for arm in client.experiments().experiments["experiments"][0]["arms"]] == ["a", "b"]
        assert [one["name"] for one in client.results().experiments] == ["warm"]
        client.put_experiments({"experiments": []})
        assert client.roll_experiments_back(1).version == 1


def test_a_shop_can_be_asked_and_told_by_typed_calls(service: Any) -> None:
    with Client(service.base_url) as client:
        assert client.ready().ready
        similar = client.similar("i3", SimilarQuery(k=5))
        assert len(ids(similar)) == 5
        assert (
            client.similar("i3", SimilarQuery(k=5, exclude=ids(similar)[:2])).recommendations[0].item.item_id
            not in (ids(similar)[:2])
        )
        further = client.feed("u1", FeedQuery(k=4, cursor=client.feed("u1", FeedQuery(k=4)).next_cursor))
        assert not set(ids(further)) & set(ids(client.feed("u1", FeedQuery(k=4))))
        session = client.recommend(RecommendIn(session=["i2", "i4"], k=3))
        assert all(int(item[1:]) % 2 == 0 for item in ids(session))
        both = client.batch([OneIn(similar=SimilarIn(item_id="i3", k=2)), OneIn(similar=SimilarIn(item_id="none"))])
        assert isinstance(both.answers[0], AnswerOut)
        assert isinstance(both.answers[1], FailedOut)
        assert client.batch([OneIn(feed=FeedIn(user_id="u1"))]).answers
        event = EventIn(user_id="new/person", item_id="i4", event_type="view", event_id="one")
        assert client.record([event]).accepted == 1
        assert client.record([event]).duplicates == 1
        assert [past.item_id for past in client.user("new/person").events] == ["i4"]
        client.forget("new/person")
        assert client.user("new/person").events == []
        assert client.items(k=3, category="Kitchen > Mug").total == 30
        assert client.item("i3").title == "Red shoe 3"


def test_the_asynchronous_client_answers_the_same(service: Any, run_apart: Any) -> None:
    async def ask() -> tuple[list[str], list[str]]:
        async with AsyncClient(service.base_url) as client:
            similar, feed = await asyncio.gather(client.similar("i3"), client.feed("u1", FeedQuery(k=3)))
            return ids(similar), ids(feed)

    with Client(service.base_url) as client:
        assert run_apart(ask()) == (ids(client.similar("i3")), ids(client.feed("u1", FeedQuery(k=3))))


def test_a_refusal_is_an_error_with_its_kind_and_words(service: Any) -> None:
    with Client(service.base_url) as client:
        with pytest.raises(ServiceError, match="no item 'none'") as refused:
            client.similar("none")
        assert (refused.value.status, refused.value.kind) == (404, "unknown-item")
        assert refused.value.problem["item_id"] == "none"
        with pytest.raises(ValueError, match="at least one character"):
            client.similar("")


def test_a_key_opens_a_service_that_asks_for_one(
    start_service: Callable[..., Any], small_bundle: Path, tmp_path: Path
) -> None:
    secret, key = new_key("reader", ["read"])
    write_keys(tmp_path / "keys.json", [key])
    service = start_service(bundle=small_bundle, keys=tmp_path / "keys.json")
    with Client(service.base_url, key=secret) as client:
        assert ids(client.similar("i3"))
        with pytest.raises(ServiceError) as refused:
            client.user("u1")
        assert refused.value.kind == "scope-missing"
    with Client(service.base_url) as stranger, pytest.raises(ServiceError) as refused:
        stranger.similar("i3")
    assert refused.value.kind == "no-valid-key"


@contextmanager
def answering(*answers: tuple[int, str, dict[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """A server that gives these answers in turn, the last one for ever; and the requests it got."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            status, body, headers = answers[min(len(asked), len(answers) - 1)]
            asked.append(self.path)
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


GOOD = '{"items": [], "total": 0, "next_offset": null, "added_by_a_newer_service": 1}'


def test_what_may_be_repeated_is_sent_again_and_an_unknown_member_does_no_harm() -> None:
    with (
        answering((503, "{}", {}), (429, "{}", {"retry-after": "0"}), (200, GOOD, {})) as (url, asked),
        Client(url, manners=Manners(backoff_s=0.01)) as client,
    ):
        assert client.items().total == 0
    assert len(asked) == 3


def test_what_may_not_be_repeated_is_sent_once() -> None:
    event = EventIn(user_id="u", item_id="i", event_type="view")
    with answering((503, "{}", {})) as (url, asked), Client(url, manners=Manners(backoff_s=0.01)) as client:
        with pytest.raises(ServiceError):
            client.record([event])
        assert len(asked) == 1
        with pytest.raises(ServiceError):
            client.record([event.model_copy(update={"event_id": "e"})])
        assert len(asked) == 4


def test_a_long_wait_is_the_caller_s_to_decide() -> None:
    with answering((429, "{}", {"retry-after": "60"})) as (url, asked), Client(url) as client:
        with pytest.raises(ServiceError) as refused:
            client.items()
        assert refused.value.retry_after_s == 60
    assert len(asked) == 1


def test_a_service_that_is_not_there_is_said() -> None:
    with answering((200, GOOD, {})) as (url, _):
        pass
    with (
        Client(url, manners=Manners(backoff_s=0.01, timeout_s=0.5)) as client,
        pytest.raises(UnreachableError, match=r"127\.0\.0\.1"),
    ):
        client.items()
