"""How a client speaks to a service."""

from __future__ import annotations

from dataclasses import dataclass

from serving.client.errors import ServiceError, UnreachableError

AGAIN = frozenset({429, 502, 503, 504})
"""Statuses after which a request that may be repeated is sent again."""


@dataclass(frozen=True)
class Manners:
    """Timeouts and repetitions.

    Args:
        timeout_s: longest wait for one answer.
        retries: a request that may be sent twice is sent again so often, after an outage or a refusal for now.
        backoff_s: pause before the first repetition, doubled each time; `Retry-After` goes before it.
        longest_pause_s: a longer `Retry-After` is not waited for.
    """

    timeout_s: float = 5.0
    retries: int = 2
    backoff_s: float = 0.1
    longest_pause_s: float = 5.0

    def pause_s(self, tried: int, error: ServiceError | UnreachableError) -> float:
        """Seconds before repetition number `tried` (from 0)."""
        asked_s = error.retry_after_s if isinstance(error, ServiceError) else None
        return self.backoff_s * 2**tried if asked_s is None else asked_s

    def again(self, *, repeatable: bool, tried: int, status: int | None, pause_s: float) -> bool:
        """Whether to send a request again; status None: there was no answer."""
        passing = status is None or status in AGAIN
        return repeatable and passing and tried < self.retries and pause_s <= self.longest_pause_s


def headers(key: str | None) -> dict[str, str]:
    """What goes with every request."""
    return {} if key is None else {"authorization": f"Bearer {key}"}
