"""Pictures fetched from elsewhere: kept, limited, tried again, and read as the shop's own."""

from __future__ import annotations

import json
import socket
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from features.encoders.cache import content_key
from features.pictures.fetched import Failure, FetchedImages, JoinedImages
from features.pictures.remote import fetch_images
from features.quarantine import Quarantine
from features.shop.shop import read_shop
from tests.features.picture_server import NEARBY, Answer, PictureServer, gives, picture, reason, redirects_to


def test_pictures_are_kept_by_content_and_found_by_address(server: PictureServer, store: FetchedImages) -> None:
    same = picture(1)
    server.answers = {"/a.png": gives(same), "/b.png": gives(same), "/c.png?size=2": gives(picture(2))}
    urls = [server.url(path) for path in server.answers]
    report = fetch_images(urls, store, NEARBY)
    assert (report.there, report.fetched, report.failed) == (0, 3, {})
    assert [store.read(url) for url in urls] == [same, same, picture(2)]
    assert len([file for file in (store.folder / "pictures").rglob("*") if file.is_file()]) == 2
    assert {name: server.headers[0][name] for name in ("Host", "Accept-Encoding")} == {
        "Host": f"127.0.0.1:{server.port}",
        "Accept-Encoding": "identity",
    }


def test_a_second_run_asks_only_for_what_is_missing(server: PictureServer, store: FetchedImages) -> None:
    server.answers = {"/a": gives(picture()), "/no": gives(b"", status=404), "/busy": gives(b"", status=503)}
    urls = [server.url(path) for path in server.answers]
    first = fetch_images(urls, store, NEARBY)
    assert first.failed == {urls[1]: Failure("answers 404", True), urls[2]: Failure("answers 503", False)}
    server.asked.clear()
    server.answers = {path: gives(picture(5)) for path in server.answers}
    later = FetchedImages(store.folder)  # as another process reads it
    second = fetch_images(urls, later, NEARBY)
    assert server.asked == ["/busy"]
    assert (second.there, second.fetched, list(second.failed)) == (1, 1, [urls[1]])
    third = fetch_images(urls, later, NEARBY, again=True)
    assert (third.there, third.fetched, third.failed) == (2, 1, {})


def test_a_killed_run_loses_only_what_it_was_at(server: PictureServer, store: FetchedImages) -> None:
    server.answers = {"/a": gives(picture(1)), "/b": gives(picture(2))}
    urls = [server.url("/a"), server.url("/b")]
    fetch_images(urls[:1], store, NEARBY)
    with (store.folder / "fetched.jsonl").open("ab") as journal:
        journal.write(b'{"url": "http://half')
    server.asked.clear()
    report = fetch_images(urls, FetchedImages(store.folder), NEARBY)
    assert (report.there, report.fetched, server.asked) == (1, 1, ["/b"])
    assert FetchedImages(store.folder).names() == set(urls)


def test_what_passes_is_asked_again_with_growing_pauses(
    server: PictureServer, store: FetchedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.pictures.remote.random.uniform", lambda low, high: (low + high) / 2)
    server.answers["/a"] = [gives(b"", status=503), gives(b"", status=500), gives(picture())]
    start = time.perf_counter()
    report = fetch_images([server.url("/a")], store, NEARBY.model_copy(update={"backoff_s": 0.1}))
    assert (report.fetched, len(server.asked)) == (1, 3)
    assert time.perf_counter() - start >= 0.1 + 0.2
    server.answers["/b"] = [gives(b"", status=429, Retry_After="1"), gives(picture())]
    start = time.perf_counter()
    assert fetch_images([server.url("/b")], store, NEARBY).fetched == 1
    assert time.perf_counter() - start >= 1


def test_the_content_decides_and_not_its_type(server: PictureServer, store: FetchedImages) -> None:
    server.answers = {"/a.exe": gives(picture(), kind="text/html")}
    assert fetch_images([server.url("/a.exe")], store, NEARBY).fetched == 1
    page = reason(server, store, gives(b"<!DOCTYPE html><html>not found</html>", kind="image/jpeg"))
    assert page.final
    assert "is an HTML page" in page.reason
    assert [path for path in server.asked if path == "/x.jpg"] == ["/x.jpg"]  # once: it stays an HTML page


def test_too_many_bytes_are_refused_as_soon_as_they_are_known(server: PictureServer, store: FetchedImages) -> None:
    small = NEARBY.model_copy(update={"max_bytes": 10_000})
    sent = []

    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        for _ in range(100_000):
            request.wfile.write(bytes(1000))
            sent.append(1000)

    assert "more than the 10,000 bytes" in reason(server, store, gives(picture(side=200)), small).reason
    assert "more than the 10,000 bytes" in reason(FreshPath(server), store, endless, small).reason
    assert sum(sent) < 50_000_000


class FreshPath:
    """The same server, asked for another address each time."""

    count = 0

    def __init__(self, server: PictureServer) -> None:
        FreshPath.count += 1
        self._server, self._path = server, f"/fresh{FreshPath.count}.jpg"
        self.answers = self

    def __setitem__(self, _: str, answer: Answer) -> None:
        self._server.answers[self._path] = answer

    def url(self, _: str) -> str:
        return self._server.url(self._path)


def test_a_server_that_drags_on_is_left_in_time(server: PictureServer, store: FetchedImages) -> None:
    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        for byte in picture():
            request.wfile.write(bytes([byte]))
            time.sleep(0.05)

    def silent(request: BaseHTTPRequestHandler) -> None:
        time.sleep(3)

    hasty = NEARBY.model_copy(update={"timeout_s": 0.4, "retries": 0})
    for answer in (drip, silent):
        start = time.perf_counter()
        failure = reason(FreshPath(server), store, answer, hasty)  # type: ignore[arg-type]
        assert failure == Failure("did not answer within 0.4 s", False)
        assert time.perf_counter() - start < 2


def test_half_an_answer_and_none_at_all_may_pass(server: PictureServer, store: FetchedImages) -> None:
    def half(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        request.wfile.write(b"x" * 10)
        request.close_connection = True

    failure = reason(server, store, half)
    assert not failure.final
    assert "cannot be reached" in failure.reason
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}/a"
        assert not fetch_images([nobody], store, NEARBY).failed[nobody].final


def test_a_packed_answer_is_not_unpacked(server: PictureServer, store: FetchedImages) -> None:
    failure = reason(server, store, gives(b"\x1f\x8b", Content_Encoding="gzip"))
    assert failure == Failure("is packed by gzip, which was not asked for", True)


def test_redirects_are_followed_step_by_step_and_not_for_ever(server: PictureServer, store: FetchedImages) -> None:
    server.answers = {
        "/start": redirects_to("/second", 301),
        "/second": redirects_to(server.url("/dir/third"), 307),
        "/dir/third": redirects_to("../end%20here", 308),
        "/end%20here": gives(picture()),
        "/round": redirects_to("/round"),
        "/file": redirects_to("file:///etc/passwd"),
        "/login": redirects_to(f"http://me:secret@127.0.0.1:{server.port}/end"),
    }
    urls = {path: server.url(path) for path in ("/start", "/round", "/file", "/login")}
    report = fetch_images([*urls.values()], store, NEARBY)
    assert store.read(urls["/start"]) == picture()
    assert report.failed[urls["/round"]].reason == "redirects more than 5 times"
    assert "must begin with http:// or https://, it has file" in report.failed[urls["/file"]].reason
    assert "user name or a password" in report.failed[urls["/login"]].reason


def test_a_host_is_asked_for_a_few_pictures_at_once_and_hosts_take_turns(
    server: PictureServer, store: FetchedImages
) -> None:
    def slow(request: BaseHTTPRequestHandler) -> None:
        time.sleep(0.05)
        gives(picture())(request)

    other = PictureServer()
    try:
        for one in (server, other):
            one.answers = {f"/{number}": slow for number in range(12)}
        urls = [one.url(path) for one in (server, other) for path in one.answers]
        report = fetch_images(urls, store, NEARBY.model_copy(update={"per_host": 3, "at_once": 16}))
        assert report.fetched == 24
        assert server.most_at_once == other.most_at_once == 3
    finally:
        other.close()


def test_a_host_that_keeps_failing_is_left_for_another_run(server: PictureServer, store: FetchedImages) -> None:
    server.answers = {f"/{number}": gives(b"", status=503) for number in range(40)}
    few = NEARBY.model_copy(update={"give_up_after": 5, "retries": 0, "per_host": 1})
    report = fetch_images([server.url(path) for path in server.answers], store, few)
    assert len(report.failed) == 40
    assert 5 <= len(server.asked) < 40
    assert sum("was not asked any more" in failure.reason for failure in report.failed.values()) > 0
    assert not any(failure.final for failure in report.failed.values())


def test_fetched_pictures_are_the_items_own(server: PictureServer, store: FetchedImages, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    (shop / "images").mkdir(parents=True)
    (shop / "images" / "here.png").write_bytes(picture(1))
    server.answers["/there.png"] = gives(picture(2))
    names = ["here.png", server.url("/there.png"), server.url("/gone.png"), "https://cdn.example/never-asked.png"]
    rows = [{"item_id": f"i{row}", "title": "t", "image": name} for row, name in enumerate(names)]
    (shop / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    before = read_shop(shop, quarantine=Quarantine())
    assert before.reading.remote_images == {1: (names[1],), 2: (names[2],), 3: (names[3],)}
    fetch_images(names[1:3], store, NEARBY)
    fetch_images([server.url("/there.png")], store, NEARBY)
    quarantine = Quarantine()
    after = read_shop(shop, quarantine=quarantine, fetched=store)
    assert after.catalog.image.tolist() == ["here.png", names[1], "", ""]
    assert after.images is not None
    assert [after.images.read(name) for name in names[:2]] == [picture(1), picture(2)]
    assert after.reading.remote_images == {2: (names[2],), 3: (names[3],)}
    [refusal] = quarantine.refusals
    assert (refusal.file, refusal.row, refusal.value) == (names[2], 2, "'answers 404'")
    assert after.fingerprint != before.fingerprint
    assert read_shop(shop, quarantine=Quarantine(), fetched=FetchedImages(tmp_path / "none")).fingerprint == (
        before.fingerprint
    )


def test_joined_pictures_tell_their_own_and_the_fetched_apart(store: FetchedImages) -> None:
    store.folder.mkdir()
    store.found("http://a", store.store(b"one"))
    store.found("http://b", store.store(b"two"))
    joined = JoinedImages(None, store, addresses=["http://a"])
    assert joined.names() == {"http://a"}
    assert joined.read("http://a") == b"one"
    for name in ("http://b", "own.jpg"):
        with pytest.raises(KeyError):
            joined.read(name)
    assert joined.fingerprint() != JoinedImages(None, store).fingerprint()
    file = next(file for file in store.folder.rglob("*") if file.name == content_key(b"one").hex())
    file.write_bytes(b"changed")
    with pytest.raises(ValueError, match="was changed"):
        joined.read("http://a")
