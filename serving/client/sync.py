"""The blocking client.

with Client("https://recs.example", key="rk_...") as client:
    answer = client.similar("sku-481", SimilarQuery(k=6))
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Self, TypeVar

import httpx
from pydantic import BaseModel

from serving.client import calls
from serving.client.calls import Call
from serving.client.errors import ServiceError, UnreachableError, service_error
from serving.client.manners import Manners, headers

P = ParamSpec("P")
T = TypeVar("T", bound=BaseModel)


def _sends(build: Callable[P, Call[T]]) -> Callable[Concatenate[Client, P], T]:
    """A method with the arguments of a call, which sends it."""

    @wraps(build)
    def send(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._send(build(*args, **kwargs))

    return send


class Client:
    """One service.

    Every method raises `ServiceError` where the service refuses or fails, and `UnreachableError` where it does not
    answer in time.

    Args:
        url: where the service is, such as "https://recs.example".
        key: API key, where the service asks for one.
        manners: timeouts and repetitions.
    """

    def __init__(self, url: str, *, key: str | None = None, manners: Manners | None = None) -> None:
        self._manners = manners or Manners()
        self._http = httpx.Client(base_url=url, headers=headers(key), timeout=self._manners.timeout_s)

    similar = _sends(calls.similar)
    feed = _sends(calls.feed)
    recommend = _sends(calls.recommend)
    batch = _sends(calls.batch)
    search = _sends(calls.search)
    item = _sends(calls.item)
    items = _sends(calls.items)
    record = _sends(calls.record)
    user = _sends(calls.user)
    forget = _sends(calls.forget)
    ready = _sends(calls.ready)

    def close(self) -> None:
        """Give back the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, call: Call[T]) -> T:
        tried = 0
        while True:
            status: int | None = None
            error: ServiceError | UnreachableError
            try:
                answer = self._http.request(call.method, call.path, params=call.query, json=call.body)
            except httpx.TransportError as failed:
                error = UnreachableError(f"{self._http.base_url}: {type(failed).__name__}: {failed}")
                error.__cause__ = failed
            else:
                if answer.is_success or answer.status_code in call.also:
                    return call.read(answer.content)
                status = answer.status_code
                error = service_error(status, answer.content, answer.headers.get("retry-after"))
            pause_s = self._manners.pause_s(tried, error)
            if not self._manners.again(repeatable=call.repeatable, tried=tried, status=status, pause_s=pause_s):
                raise error
            time.sleep(pause_s)
            tried += 1
