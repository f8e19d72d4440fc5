"""`recsys publish` and `recsys serve`, run as a user would."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from features.errors import InputError
from recsys.bundle import Bundle
from recsys.recommendation import UserState
from recsys.recommender import BundleRecommender
from serving.access.keyring import new_key, write_keys
from serving.commands.publish import publish


def arguments(name: str, *given: str) -> list[str]:
    """A command by itself, so that the other commands' imports do not count."""
    program = f"""
import sys, typer
from rich.console import Console
from features.errors import InputError
from serving.commands.{name} import {name}
app = typer.Typer(); app.command()({name})
try:
    app()
except InputError as error:
    Console(stderr=True, soft_wrap=True).print(f"error: {{error}}", markup=False, highlight=False); sys.exit(2)
"""
    return [sys.executable, "-c", program, *given]


FAST = {"RECSYS_POLL_S": "0.1", "RECSYS_REDIS_TIMEOUT_S": "2"}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if "REDIS" not in name and not name.startswith("RECSYS")}
    return {**kept, "RECSYS_STATE_DIR": str(tmp_path / "state"), "COLUMNS": "200", **FAST}


def run(environment: dict[str, str], name: str, *given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments(name, *given), capture_output=True, text=True, env=environment, timeout=120, check=False
    )


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def valkeys(folder: Path) -> list[str]:
    """Servers whose working folder is `folder`."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and (process / "cwd").readlink() == folder:
                found.append((process / "comm").read_text().strip())
        except OSError:
            continue
    return found


@pytest.fixture
def serving(environment: dict[str, str], eventually: Any) -> Iterator[Any]:
    started: list[subprocess.Popen[bytes]] = []

    def start(*given: str) -> tuple[subprocess.Popen[bytes], str]:
        port = free_port()
        process = subprocess.Popen(
            arguments("serve", *given, "--port", str(port)), env=environment, stderr=subprocess.DEVNULL
        )
        started.append(process)
        base = f"http://127.0.0.1:{port}"

        def ready() -> bool:
            assert process.poll() is None, "the service ended"
            try:
                return httpx.get(base + "/ready").status_code == 200
            except httpx.TransportError:
                return False

        eventually(ready, within_s=60)
        return process, base

    yield start
    for process in started:
        process.terminate()
        process.wait(30)


def test_publishing_twice_and_rolling_back_with_the_embedded_server(
    environment: dict[str, str], small_bundle: Path, changed_bundle: Path, tmp_path: Path
) -> None:
    first, second = Bundle.open(small_bundle).version, Bundle.open(changed_bundle).version
    published = run(environment, "publish", str(small_bundle))
    assert published.returncode == 0, published.stderr
    assert first in published.stdout
    assert "140" in published.stdout
    assert "memory predicted" in published.stdout
    again = run(environment, "publish", str(changed_bundle))
    assert second in again.stdout
    assert first in again.stdout
    back = run(environment, "publish", "--rollback")
    assert f"rolled back from {second} to {first}" in back.stdout
    assert valkeys(tmp_path / "state" / "redis") == []


def test_a_gate_keeps_out_what_replays_worse_than_it_may(
    environment: dict[str, str], small_bundle: Path, tmp_path: Path
) -> None:
    """Random feeds of five items, of which the bundle's first choice for strangers is clicked as the others are."""
    first = BundleRecommender(Bundle.open(small_bundle)).recommend(UserState(), 1)[0].item_id
    rng = np.random.default_rng(0)
    shown = np.array([first, "other-1", "other-2", "other-3", "other-4"])[rng.integers(5, size=4000)]
    clicked = (rng.random(4000) < 0.3).astype(int)
    log = tmp_path / "log.parquet"
    pd.DataFrame({"item_id": shown, "click": clicked, "propensity": 0.2}).to_parquet(log)
    bundle = [str(small_bundle), "--gate-log", str(log), "--gate"]
    shut = run(environment, "publish", *bundle, "replay(ctr) >= logged + 100%")
    assert shut.returncode == 2
    assert "not published, the gate 'replay(ctr) >= logged + 100%' stays shut. log: 0." in shut.stderr
    assert "nothing is published" in run(environment, "publish", "--rollback").stderr
    opened = run(environment, "publish", *bundle, "replay(ctr).low >= logged - 50%")
    assert opened.returncode == 0, opened.stderr
    assert "gate  log: 0." in opened.stdout
    assert Bundle.open(small_bundle).version in opened.stdout


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["{bundle}", "--gate", "replay(ctr) >= logged"], "--gate needs a bundle and the traffic"),
        (["{bundle}", "--gate-ctr", "counters"], "--gate-ctr needs --gate"),
        (["--rollback", "--vectors"], "--vectors needs a bundle"),
        ([], "name either a bundle to publish or --rollback"),
        (["--rollback"], "nothing is published"),
        (["{bundle}", "--memory-budget", "1MB"], "the memory budget is 1,000,000 bytes"),
        (["{bundle}", "--memory-budget", "lots"], "a size must read like"),
        (["/nowhere/bundle"], "manifest.json is missing"),
        (["{bundle}", "--redis", "redis://:hidden@127.0.0.1:1"], "Redis at redis://:***@127.0.0.1:1"),
        (["{bundle}", "--redis", "ftp://host"], "Redis at ftp://host"),
    ],
)
def test_a_publish_that_cannot_be_done_says_why(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, small_bundle: Path, given: list[str], said: str
) -> None:
    monkeypatch.setenv("RECSYS_STATE_DIR", environment["RECSYS_STATE_DIR"])
    monkeypatch.delenv("REDIS_URL", raising=False)
    app = typer.Typer()
    app.command()(publish)
    done = CliRunner().invoke(app, [word.replace("{bundle}", str(small_bundle)) for word in given])
    assert isinstance(done.exception, InputError)  # which the command line prints as one line
    assert said in str(done.exception)
    assert "hidden" not in str(done.exception) + done.output


def test_serve_brings_its_own_redis_publishes_and_cleans_up(
    serving: Any, small_bundle: Path, tmp_path: Path, eventually: Any
) -> None:
    process, base = serving("--bundle", str(small_bundle))
    assert httpx.get(base + "/v1/items/i3/similar").json()["store"] == "redis"
    viewed = {"user_id": "u1", "item_id": "i10", "event_type": "view", "event_id": "e"}
    assert httpx.post(base + "/v1/events", json={"events": [viewed]}).json()["accepted"] == 1
    assert valkeys(tmp_path / "state" / "redis") == ["valkey-server"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert valkeys(tmp_path / "state" / "redis") == []
    _, base = serving()  # no --bundle: what was published is found again, and so is what was viewed
    assert httpx.get(base + "/v1/items/i3/similar").json()["store"] == "redis"
    assert [event["item_id"] for event in httpx.get(base + "/v1/users/u1").json()["events"]] == ["i10"]


def test_two_shops_on_two_workers_keep_events_keys_and_rates_apart(
    serving: Any, small_bundle: Path, rewritten: Any, tmp_path: Path, eventually: Any
) -> None:
    old = Bundle.open(small_bundle)
    renamed = [{**shown, "title": f"Bolt's {shown['title']}"} for shown in old.displays()]
    bundles = {"acme": small_bundle, "bolt": rewritten(old, tmp_path / "bolt-bundle", display=renamed)}
    secrets: dict[tuple[str, str], str] = {}
    said = ""
    for shop, bundle in bundles.items():
        owner = new_key("owner", ["read", "write", "admin"])
        eager = new_key("eager", ["read"], rate_per_s=0.01, burst=3)  # of one name in both shops
        secrets[shop, "owner"], secrets[shop, "eager"] = owner[0], eager[0]
        write_keys(tmp_path / f"{shop}.json", [owner[1], eager[1]])
        said += f'[{shop}]\nkeys = "{shop}.json"\nbundle = "{bundle}"\nhosts = ["{shop}.example"]\n'
    (tmp_path / "tenants.toml").write_text(said)
    _, base = serving("--tenants", str(tmp_path / "tenants.toml"), "--workers", "2")

    def ask(shop: str, path: str, key: str = "owner", **given: Any) -> httpx.Response:
        """By a connection of its own, so that either worker may answer."""
        return httpx.request(
            "POST" if given else "GET",
            base + path,
            headers={"authorization": f"Bearer {secrets[shop, key]}"},
            timeout=10,
            **given,
        )

    event = {"user_id": "visitor", "item_id": "i3", "event_type": "view", "event_id": "e1"}
    for _ in range(4):  # the same, told to either worker
        assert ask("acme", "/v1/events", json={"events": [event]}).status_code == 202
    for _ in range(10):
        acme, bolt = (ask(shop, "/v1/users/visitor/feed?k=3").json() for shop in ("acme", "bolt"))
        assert any("because you viewed" in why for slot in acme["recommendations"] for why in slot["reasons"])
        assert not any("because" in why for slot in bolt["recommendations"] for why in slot["reasons"])
        assert all(slot["item"]["title"].startswith("Bolt's ") for slot in bolt["recommendations"])
        assert not any(slot["item"]["title"].startswith("Bolt's ") for slot in acme["recommendations"])
    for shop in ("acme", "bolt"):  # what one has used up, the other still has
        statuses = [ask(shop, "/v1/items/i1/similar", "eager").status_code for _ in range(12)]
        assert (statuses.count(200), statuses.count(429)) == (3, 9)
    stranger = {"authorization": f"Bearer {secrets['acme', 'owner']}", "host": "bolt.example"}
    for _ in range(6):
        assert httpx.get(base + "/v1/items/i1", headers=stranger).status_code == 401

    def accepted(shop: str) -> float:
        told = ask(shop, "/metrics").text.splitlines()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in told
            if line.startswith("recsys_events_total") and f'tenant="{shop}"' in line and 'outcome="accepted"' in line
        )

    assert [accepted("acme") for _ in range(4)] == [1.0] * 4  # whichever worker is asked, it reports all of the shop
    assert [accepted("bolt") for _ in range(4)] == [0.0] * 4


def test_a_publish_beside_a_running_service_reaches_all_its_workers(
    serving: Any, environment: dict[str, str], small_bundle: Path, changed_bundle: Path, eventually: Any
) -> None:
    _, base = serving("--bundle", str(small_bundle), "--workers", "2")
    done = run(environment, "publish", str(changed_bundle))
    assert done.returncode == 0, done.stderr
    version = Bundle.open(changed_bundle).version

    def all_followed() -> bool:
        return {httpx.get(base + "/ready").json()["version"] for _ in range(12)} == {version}

    eventually(all_followed, within_s=20)
    for _ in range(20):
        assert httpx.get(base + "/v1/users/u1/feed").status_code == 200
    counted = [
        float(line.rsplit(" ", 1)[1])
        for line in httpx.get(base + "/metrics").text.splitlines()
        if line.startswith("recsys_requests_total") and "/feed" in line
    ]
    assert sum(counted) == 20  # whichever worker is asked, it reports all


def test_a_port_in_use_and_a_foreign_address_are_refused_before_anything_starts(
    environment: dict[str, str], small_bundle: Path, tmp_path: Path
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        taken = run(environment, "serve", "--bundle", str(small_bundle), "--port", str(port))
    away = run(environment, "serve", "--bundle", str(small_bundle), "--host", "192.0.2.1", "--anyone")
    assert (taken.returncode, away.returncode) == (2, 2)
    where = f"error: --port must be one that can be listened on at 127.0.0.1, {port} is not: Address already in use"
    assert where in taken.stderr
    assert "error: --host must be an address of this machine, got '192.0.2.1'" in away.stderr
    assert not (tmp_path / "state").exists()
