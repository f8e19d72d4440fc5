"""The service as `recsys serve` runs it, and a visitor in a real browser."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from serving.access.keyring import new_key, write_keys
from serving.demo import base_url, free_port, wait_until_ready
from serving.embedded_redis import EmbeddedRedis

ARTIFACTS = Path(__file__).parents[3] / "artifacts"
"""Screenshots of the last test run; not committed."""
HOST = "127.0.0.1"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Debian's Chromium lies; skips where it or playwright is missing."""
    pytest.importorskip("playwright.sync_api", reason="playwright, which drives the browser, is missing")
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium); .ci/run installs it")
    return found


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """Chromium, which holds an event loop in this thread: for one file of tests, as those of others run loops."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def storefront_url(chromium: str, small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`recsys serve` on the small bundle with an embedded Redis and a drawn picture for each item that names one."""
    folder = tmp_path_factory.mktemp("storefront")
    draw_pictures(folder / "shop" / "images")
    with served(small_bundle, folder / "shop", folder) as url:
        yield url


@pytest.fixture(scope="session")
def search_url(chromium: str, searchable: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`recsys serve` on the shop that encodes words and pictures."""
    with served(searchable / "bundle", searchable / "shop", tmp_path_factory.mktemp("search")) as url:
        yield url


@dataclass(frozen=True)
class LockedShop:
    """Where a service with API keys is, its keys by name, and where its Redis is."""

    url: str
    keys: dict[str, str]
    redis_url: str


@pytest.fixture(scope="session")
def locked_shop(chromium: str, small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LockedShop]:
    """`recsys serve` with API keys, open to pages of every origin."""
    folder = tmp_path_factory.mktemp("locked")
    draw_pictures(folder / "shop" / "images")
    made = {"widget": new_key("widget", ["read", "write"]), "owner": new_key("owner", ["read", "write", "admin"])}
    write_keys(folder / "keys.json", [key for _, key in made.values()])
    settings = {"keys": str(folder / "keys.json"), "cors_origins": '["*"]'}
    with (
        served(small_bundle, folder / "shop", folder, **settings) as url,
        EmbeddedRedis(folder / "state" / "redis") as running,  # the service's own, found running
    ):
        yield LockedShop(url, {name: secret for name, (secret, _) in made.items()}, running.url)


@contextmanager
def served(bundle: Path, shop: Path, folder: Path, **settings: str) -> Iterator[str]:
    """`recsys serve` with an embedded Redis whose state, like the log, lies in `folder`; RECSYS_* settings by name."""
    port = free_port(HOST, 0)
    command = ["serve", "--bundle", str(bundle), "--shop", str(shop)]
    environment = {name: value for name, value in os.environ.items() if "REDIS_URL" not in name}
    environment["RECSYS_STATE_DIR"] = str(folder / "state")
    environment |= {f"RECSYS_{name.upper()}": value for name, value in settings.items()}
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "recsys", *command, "--host", HOST, "--port", str(port)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    try:
        wait_until_ready(process, HOST, port, log=folder / "serve.log", timeout_s=60)
        yield base_url(HOST, port)
    finally:
        process.terminate()
        process.wait(30)


def draw_pictures(folder: Path) -> None:
    """A 160 x 240 picture for each of i0 to i58: mugs are squares, shoes circles."""
    folder.mkdir(parents=True)
    for row in range(59):
        picture = Image.new("RGB", (160, 240), (245, 244, 240))
        draw = ImageDraw.Draw(picture)
        color = ("#c2410c", "#1d4ed8", "#15803d")[row % 3]
        (draw.ellipse if row % 2 else draw.rectangle)((25, 60, 135, 180), fill=color)
        draw.text((70, 205), str(row), fill="black")
        picture.save(folder / f"i{row}.png")


@dataclass
class Storefront:
    """One visitor's open page."""

    page: Any
    complaints: list[str]
    """Errors and warnings of the browser's console; any left at the end fails the test."""

    def until(self, script: str, timeout_s: float = 15.0) -> None:
        """Wait for an expression to hold, by asking: the page's security policy forbids a watcher that evaluates."""
        deadline = time.monotonic() + timeout_s
        while not self.page.evaluate(script):
            assert time.monotonic() < deadline, f"never came true: {script}"
            self.page.wait_for_timeout(30)

    def wait_for_home(self) -> None:
        self.page.wait_for_selector(".grid .card[data-item]")
        self.page.wait_for_selector("#for-you .card[data-item]")

    def wait_for_product(self) -> None:
        """Until the similar products are there and the view has changed the personal row."""
        self.page.wait_for_selector("#similar .card[data-item]")
        self.until("document.querySelector('#for-you .row-note').textContent.startsWith('Updated after')")

    def shown(self, place: str) -> list[str]:
        """Item ids of the cards in a row or grid, in order."""
        found: list[str] = self.page.eval_on_selector_all(f"{place} .card", "all => all.map((e) => e.dataset.item)")
        return found

    def facts(self, place: str) -> list[dict[str, Any]]:
        """Source and reasons under each card, as a visitor reads them."""
        script = """all => all.map((e) => ({ source: e.querySelector('.badge')?.dataset.source,
            reasons: [...e.querySelectorAll('.reasons li')].map((reason) => reason.innerText.trim()) }))"""
        found: list[dict[str, Any]] = self.page.eval_on_selector_all(f"{place} .card", script)
        return found

    def run(self, script: str) -> Any:
        """Evaluate a function from a file beside this one."""
        return self.page.evaluate((Path(__file__).parent / script).read_text())

    def keep_screenshot(self, name: str) -> None:
        ARTIFACTS.mkdir(exist_ok=True)
        self.page.wait_for_timeout(600)  # pictures fade in, cards come to rest
        self.page.screenshot(path=ARTIFACTS / f"storefront-{name}.png")


@pytest.fixture
def visit(browser: Any, storefront_url: str) -> Iterator[Callable[..., Storefront]]:
    """Opens a page as a new visitor; by the end of the test its console must not have complained."""
    opened: list[Storefront] = []

    def open_page(path: str = "/", *, at: str = storefront_url, **options: Any) -> Storefront:
        page = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options}).new_page()
        page.set_default_timeout(15_000)
        store = Storefront(page, [])
        opened.append(store)
        page.on(
            "console", lambda said: store.complaints.append(said.text) if said.type in {"error", "warning"} else None
        )
        page.on("pageerror", lambda error: store.complaints.append(str(error)))
        page.goto(at + path)
        return store

    yield open_page
    for store in opened:
        store.page.context.close()
    assert [complaint for store in opened for complaint in store.complaints] == []
