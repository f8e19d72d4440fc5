"""How a request goes, without sending anything: the one way of both clients, which do what it says next."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import httpx
from pydantic import BaseModel

from serving.client.calls import Call
from serving.client.errors import ServiceError, UnreachableError, service_error
from serving.client.manners import Manners

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


Heard: TypeAlias = httpx.Response | httpx.TransportError | None
"""What came of the step before: an answer, or that there was none; None after a pause, and at the beginning."""


def talk(call: Call[T], manners: Manners, url: object) -> Generator[Call[T] | Pause, Heard, T]:
    """The steps of a request: `call` where it is to be sent, else a pause; the answer is what it returns.

    Args:
        call: what is asked.
        manners: repetitions and pauses.
        url: of the service, for the message.

    Raises:
        ServiceError: the service refuses or fails.
        UnreachableError: it does not answer.
    """
    tried = 0
    while True:
        heard = yield call
        status: int | None = None
        error: ServiceError | UnreachableError
        if isinstance(heard, httpx.Response):
            if heard.is_success or heard.status_code in call.also:
                return call.read(heard.content)
            status = heard.status_code
            error = service_error(status, heard.content, heard.headers.get("retry-after"))
        else:
            error = UnreachableError(f"{url}: {type(heard).__name__}: {heard}")
            error.__cause__ = heard
        pause_s = manners.pause_s(tried, error)
        if not manners.again(repeatable=call.repeatable, tried=tried, status=status, pause_s=pause_s):
            raise error
        yield Pause(pause_s)
        tried += 1
