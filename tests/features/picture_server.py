"""A real server of pictures whose answers a test writes down, and what tests ask of it."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

from features.pictures.fetched import Failure, FetchedImages
from features.pictures.remote import FetchConfig, fetch_images

NEARBY = FetchConfig(allow_private=True, backoff_s=0.01, timeout_s=5, retries=2)


def picture(seed: int = 0, side: int = 24) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


Answer = Callable[[BaseHTTPRequestHandler], None]


def gives(content: bytes, *, status: int = 200, kind: str = "image/png", length: bool = True, **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Type", kind)
        if length:
            request.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(content)

    return answer


def redirects_to(place: str, status: int = 302) -> Answer:
    return gives(b"", status=status, Location=place)


class PictureServer:
    """A real HTTP server whose answers a test writes down; it counts what it is asked, and how much at once."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer | list[Answer]] = {}
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = self._now = 0
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with server._lock:
                    server.asked.append(self.path)
                    server.headers.append(dict(self.headers.items()))
                    server._now += 1
                    server.most_at_once = max(server.most_at_once, server._now)
                try:
                    answer = server.answers.get(self.path, gives(b"gone", status=404))
                    if isinstance(answer, list):
                        answer = answer.pop(0) if len(answer) > 1 else answer[0]
                    answer(self)
                except OSError:
                    self.close_connection = True  # whoever asked has left
                finally:
                    with server._lock:
                        server._now -= 1

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


def reason(server: PictureServer, store: FetchedImages, answer: Answer, config: FetchConfig = NEARBY) -> Failure:
    server.answers["/x.jpg"] = answer
    report = fetch_images([server.url("/x.jpg")], store, config)
    assert report.fetched == 0
    return report.failed[server.url("/x.jpg")]
