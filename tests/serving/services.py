"""The application behind a real socket."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from serving.app import create_app
from serving.settings import Settings
from tests.serving.redis_server import wait_for


@dataclass
class Service:
    """The application behind a real socket."""

    app: FastAPI
    base_url: str

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.base_url, timeout=10)

    def get(self, path: str, **query: Any) -> httpx.Response:
        return httpx.get(self.base_url + path, params=query, timeout=10)

    def post(self, *events: dict[str, Any]) -> httpx.Response:
        return httpx.post(self.base_url + "/v1/events", json={"events": list(events)}, timeout=10)

    def ask(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return httpx.post(self.base_url + path, json=body, timeout=10)

    def say(self, method: str, item_id: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """PUT, PATCH or DELETE of an item."""
        return httpx.request(method, f"{self.base_url}/v1/items/{item_id}", json=body, timeout=10)

    def feed(self, user_id: str, k: int = 12) -> dict[str, Any]:
        answer = self.get(f"/v1/users/{user_id}/feed", k=k)
        assert answer.status_code == 200, answer.text
        parsed: dict[str, Any] = answer.json()
        return parsed

    def feed_ids(self, user_id: str, k: int = 12) -> list[str]:
        return [slot["item"]["item_id"] for slot in self.feed(user_id, k)["recommendations"]]

    def metric(self, name: str, **labels: str) -> float:
        """A counter's value, 0 where it has not been counted."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        found = [
            float(line.rsplit(" ", 1)[1])
            for line in self.get("/metrics").text.splitlines()
            if line.split("{")[0].split(" ")[0] == name and all(part in line for part in wanted)
        ]
        return sum(found)


def listen(app: Any, stack: ExitStack) -> str:
    """Serve an application until the stack ends; its address. Its background work must live for as long."""
    failures: list[str] = []

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        async def tell(message: Any) -> None:
            if message["type"].endswith(".failed"):
                failures.append(message.get("message", ""))
            await send(message)

        await app(scope, receive, tell if scope["type"] == "lifespan" else send)

    config = uvicorn.Config(
        watched, host="127.0.0.1", port=0, log_level="error", access_log=False, ws="none", server_header=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join(20)
        assert not failures, failures[0]
        assert not thread.is_alive(), "the service did not end"

    stack.callback(stop)
    wait_for(lambda: server.started or not thread.is_alive())
    assert server.started, "the service did not start"
    port = server.servers[0].sockets[0].getsockname()[1]
    return f"http://127.0.0.1:{port}"


@contextmanager
def starter() -> Iterator[Callable[..., Service]]:
    """Starts services that end with the context; takes settings by name."""
    with ExitStack() as stack:
        state_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rs")))

        def start(**given: Any) -> Service:
            patient = {"redis_timeout_s": 2.0, "state_dir": state_dir}  # a busy machine is no lost Redis
            brief = {"poll_s": 0.05, "log_requests": False, "search_warm": False}  # most tests encode nothing
            settings = Settings(**{**brief, **patient, **given})
            app = create_app(settings)
            return Service(app, listen(app, stack))

        yield start
