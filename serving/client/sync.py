"""The blocking client.

with Client("https://recs.example", key="rk_...") as client:
    answer = client.similar("sku-481", SimilarQuery(k=6))
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Self, TypeVar, cast

import httpx
from pydantic import BaseModel

from serving.client import calls
from serving.client.calls import Call
from serving.client.manners import Manners, headers
from serving.client.talk import Heard, Pause, talk

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
    debug = _sends(calls.debug)
    put_item = _sends(calls.put_item)
    patch_item = _sends(calls.patch_item)
    delete_item = _sends(calls.delete_item)
    import_items = _sends(calls.import_items)
    record = _sends(calls.record)
    user = _sends(calls.user)
    put_user = _sends(calls.put_user)
    patch_user = _sends(calls.patch_user)
    import_users = _sends(calls.import_users)
    forget = _sends(calls.forget)
    rules = _sends(calls.rules)
    put_rules = _sends(calls.put_rules)
    dry_run = _sends(calls.dry_run)
    roll_rules_back = _sends(calls.roll_rules_back)
    experiments = _sends(calls.experiments)
    put_experiments = _sends(calls.put_experiments)
    roll_experiments_back = _sends(calls.roll_experiments_back)
    results = _sends(calls.results)
    ready = _sends(calls.ready)

    def close(self) -> None:
        """Give back the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, call: Call[T]) -> T:
        steps = talk(call, self._manners, self._http.base_url)
        heard: Heard = None
        while True:
            try:
                step = steps.send(heard)
            except StopIteration as end:
                return cast("T", end.value)
            heard = self._done(step)

    def _done(self, step: Call[T] | Pause) -> Heard:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            return self._http.request(step.method, step.path, params=step.query, json=step.body, headers=step.headers)
        except httpx.TransportError as failed:
            return failed
