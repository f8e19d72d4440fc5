"""`recsys demo`: what it does again and what not, which port it takes, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from features.encoders.config import EncoderConfig
from features.errors import InputError
from features.onnx.encoder_export import exported_encoders
from serving.demo import DemoFolder, base_url, free_port, get, verify, wait_until_ready

HOST = "127.0.0.1"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A shop folder as far as the demo looks at one: files."""
    folder = tmp_path / "shop"
    (folder / "images").mkdir(parents=True)
    (folder / "items.csv").write_text("item_id,title\na,Lamp\n")
    (folder / "images" / "a.png").write_bytes(b"picture")
    return folder


@pytest.fixture
def fitted(shop: Path, small_bundle: Path, tmp_path: Path) -> DemoFolder:
    """A demo of that shop that was fitted before, by way of the small bundle."""
    folder = DemoFolder.of_shop(tmp_path / "work", shop)
    shutil.copytree(small_bundle, folder.run.bundle)
    folder.record("fit", {"seed": 0, "split": None, "settings": []})
    return folder


@contextmanager
def listening() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        yield taken.getsockname()[1]


def command(shop: Path, folder: DemoFolder, *more: str) -> list[str]:
    return [sys.executable, "-m", "recsys", "demo", str(shop), "--work", str(folder.path.parent), *more]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if "REDIS_URL" not in name} | {"COLUMNS": "200"}


@pytest.mark.parametrize("change", ["content", "time", "new file", "file gone", "other arguments", "interrupted"])
def test_a_step_is_done_again_when_its_files_or_arguments_change(shop: Path, tmp_path: Path, change: str) -> None:
    folder, arguments = DemoFolder.of_shop(tmp_path / "work", shop), {"seed": 0}
    assert not folder.is_made("fit", arguments)
    folder.record("fit", arguments)
    assert folder.is_made("fit", arguments)
    assert not folder.is_made("synth", arguments)
    match change:
        case "content":
            (shop / "items.csv").write_text("item_id,title\na,Lamps\n")
        case "time":
            os.utime(shop / "images" / "a.png", ns=(1, 1))
        case "new file":
            (shop / "images" / "b.png").write_bytes(b"")
        case "file gone":
            (shop / "images" / "a.png").unlink()
        case "other arguments":
            arguments = {"seed": 1}
        case "interrupted":
            folder.forget("fit")
    assert not folder.is_made("fit", arguments)


def test_a_record_that_cannot_be_read_counts_as_none(shop: Path, tmp_path: Path) -> None:
    folder = DemoFolder.of_shop(tmp_path / "work", shop)
    folder.record("fit", {})
    (folder.path / "demo.json").write_text("[1, 2")
    assert not folder.is_made("fit", {})
    folder.record("fit", {})
    assert folder.is_made("fit", {})


def test_a_bundle_that_cannot_be_served_is_noticed(fitted: DemoFolder) -> None:
    assert fitted.why_no_bundle() is None
    (fitted.run.bundle / "users.json").write_text("[]")
    assert "users.json" in str(fitted.why_no_bundle())
    manifest = fitted.run.bundle / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format_version": "99.0"}))
    assert "it is 99.0" in str(fitted.why_no_bundle())
    manifest.unlink()
    assert "manifest.json" in str(fitted.why_no_bundle())


def test_two_shops_of_one_name_have_two_folders(tmp_path: Path) -> None:
    one, other = (DemoFolder.of_shop(tmp_path, tmp_path / where / "shop").path for where in ("a", "b"))
    assert one != other
    assert one.name.startswith("shop-")


def test_a_port_in_use_is_passed_over(tmp_path: Path) -> None:
    with listening() as taken:
        assert taken < free_port(HOST, taken) <= taken + 50
    assert free_port(HOST, taken) == taken
    assert free_port(HOST, 0) > 0
    with pytest.raises(InputError, match=r"--host must be an address of this machine, got 'no\.such\.host\.invalid'"):
        free_port("no.such.host.invalid", 8000)


def test_the_address_is_one_a_browser_can_open() -> None:
    assert base_url("0.0.0.0", 8000) == "http://127.0.0.1:8000"  # noqa: S104 - compared, not bound
    assert base_url("::", 81) == "http://[::1]:81"
    assert base_url("shop.local", 80) == "http://shop.local:80"


def test_a_service_that_ends_or_hangs_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    log.write_text("bundle is broken: items.json\n")
    expected = r"(?s)exit code 7 before it was ready.*bundle is broken: items\.json"
    ends = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"])
    with ends, pytest.raises(InputError, match=expected):
        wait_until_ready(ends, HOST, free_port(HOST, 0), log=log, timeout_s=20)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as hangs:
        with pytest.raises(InputError, match="not ready within 0 s"):
            wait_until_ready(hangs, HOST, free_port(HOST, 0), log=tmp_path / "none", timeout_s=0.2)
        hangs.kill()


def test_an_empty_feed_or_a_missing_page_is_no_demo() -> None:
    pages = {
        "/": ("text/html", b"<!doctype html>"),
        "/static/storefront.js": ("text/javascript", b"1"),
        "/v1/users/demo-check/feed?k=4": ("application/json", json.dumps({"recommendations": []}).encode()),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, body = pages.get(self.path, ("text/plain", b""))
            self.send_response(200 if self.path in pages else 404)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(InputError, match="feed must answer 200 and not be empty"):
            verify(HOST, server.server_port)
        del pages["/static/storefront.js"]
        with pytest.raises(InputError, match=r"/static/storefront\.js with javascript, got 404"):
            verify(HOST, server.server_port)
        server.shutdown()


def test_a_second_start_only_serves_and_is_there_within_ten_seconds(shop: Path, fitted: DemoFolder) -> None:
    with listening() as taken:
        began = time.monotonic()
        arguments = command(shop, fitted, "--check", "--port", str(taken))
        done = subprocess.run(arguments, capture_output=True, text=True, env=environment(), timeout=120, check=False)
        took = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    assert "trained before, nothing has changed" in done.stdout
    chosen = re.search(rf"port {taken} is in use, taking (\d+)", done.stdout)
    assert chosen is not None
    for address in ("/", "/docs", "/metrics"):
        assert f"http://{HOST}:{chosen[1]}{address} " in done.stdout
    assert str(fitted.run.report.resolve()) in done.stdout
    assert took < 10
    with pytest.raises(OSError, match="refused"):
        get(HOST, int(chosen[1]), "/ready")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stopping_the_demo_stops_the_service_and_its_redis(shop: Path, fitted: DemoFolder, how: signal.Signals) -> None:
    port = free_port(HOST, 0)
    arguments = command(shop, fitted, "--port", str(port))
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment()) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "Ctrl-C" in line:
                break
        assert get(HOST, port, "/health")[0] == 200
        server = json.loads((fitted.path / "state" / "redis" / "address.json").read_text())
        os.kill(server["pid"], 0)
        demo.send_signal(how)
        assert demo.wait(30) == 0
    with pytest.raises(OSError, match="refused"):
        get(HOST, port, "/health")
    with pytest.raises(ProcessLookupError):
        os.kill(server["pid"], 0)


def test_a_folder_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "recsys", "demo", str(tmp_path / "none"), "--work", str(tmp_path / "work")]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment(), timeout=60, check=False)
    assert done.returncode == 2
    assert "SHOP_DIR must be a folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "work").exists()


def test_from_nothing_to_a_storefront_with_a_trained_model(tmp_path: Path, cache: Path) -> None:
    """The whole way on the smallest synthetic shop, with one baseline and short training; only the exported encoders,
    the same for every shop, are those of the other tests.
    """
    exported_encoders(EncoderConfig(), text=True, image=True, cache_dir=cache)
    shutil.copytree(cache / "onnx", tmp_path / "cache" / "onnx")
    quick = ["baselines.models=['popularity']", "train.epochs=10", "match.epochs=5", "alternatives=[]"]
    arguments = [sys.executable, "-m", "recsys", "demo", "--work", str(tmp_path), "--items", "200", "--port", "0"]
    arguments += ["--check", *(word for setting in quick for word in ("--set", setting))]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment(), timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    assert "ready in" in done.stdout
    folder = DemoFolder.synthetic(tmp_path, items=200, seed=0)
    models = json.loads(folder.run.evaluation.read_text())["models"]
    assert models["gnn"]["test"]["recall@20"] > models["popularity"]["test"]["recall@20"]
    assert folder.run.report.stat().st_size > 1000
    again = subprocess.run(arguments, capture_output=True, text=True, env=environment(), timeout=60, check=False)
    assert again.returncode == 0, again.stderr
    assert "nothing has changed" in again.stdout
    assert "Training" not in again.stdout
