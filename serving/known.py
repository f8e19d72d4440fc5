"""What a worker remembers of the shop's documents in Redis: while that is away, and should it forget them.

It is kept as it lies in Redis, text by text, so that it can be put back as it was, and in a file, so that a worker that
starts when Redis has nothing still knows what must not be shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from features.errors import InputError

STANDING = ("changed", "active", "last")
"""Names of the numbers of `Standing`, in Redis as well."""


@dataclass(frozen=True)
class Standing:
    """How the versions of a document stand.

    Args:
        changed: when a version was last put or made active, microseconds by Redis' clock; 0 where none was.
        active: the version that holds, 0 for none.
        last: the highest number that was given to one.
    """

    changed: int = 0
    active: int = 0
    last: int = 0

    @classmethod
    def of(cls, values: list[bytes | None]) -> Standing:
        """From the values of `STANDING`, None where there is none."""
        return cls(*(int(value or 0) for value in values))

    def forgets(self, known: Standing) -> bool:
        """Whether a Redis that says this has lost what was known of it: the latest change, or all there was."""
        return self.changed < known.changed or (self.active == 0 and known.active != 0)


@dataclass(frozen=True)
class Edition:
    """One version, as it lies in Redis: its text, and what is known of it beside that, JSON."""

    text: bytes
    about: bytes


@dataclass(frozen=True)
class Copy:
    """What is remembered of a document.

    Args:
        standing: how its versions stand.
        editions: some versions by number: the active one where there is one, and those that were asked for.
    """

    standing: Standing = Standing()
    editions: Mapping[int, Edition] = field(default_factory=dict)

    def _plain(self) -> dict[str, Any]:
        editions = {str(n): [one.text.decode(), one.about.decode()] for n, one in self.editions.items()}
        return {"standing": asdict(self.standing), "editions": editions}

    @classmethod
    def _of(cls, plain: Mapping[str, Any]) -> Copy:
        editions = {int(n): Edition(text.encode(), about.encode()) for n, (text, about) in plain["editions"].items()}
        standing = Standing(*(int(plain["standing"][name]) for name in STANDING))
        if standing.active and standing.active not in editions:
            raise ValueError(f"the text of version {standing.active} is missing")
        return cls(standing, editions)


@dataclass(frozen=True)
class Known:
    """Everything that is remembered.

    Args:
        rules: the active version, and those that arms of experiments name.
        experiments: the active version.
        stopped: experiments that a guard-rail has stopped, each with what it found, JSON.
    """

    rules: Copy = Copy()
    experiments: Copy = Copy()
    stopped: Mapping[str, bytes] = field(default_factory=dict)

    def dump(self, redis: str) -> bytes:
        """As JSON.

        Args:
            redis: which Redis it is of.
        """
        stopped = {name: said.decode() for name, said in self.stopped.items()}
        documents = {"rules": self.rules._plain(), "experiments": self.experiments._plain()}
        return orjson.dumps({"redis": redis, **documents, "stopped": stopped})

    @classmethod
    def read(cls, raw: bytes, redis: str) -> Known | None:
        """From `dump`; None where it is of another Redis.

        Raises:
            InputError: it cannot be read.
        """
        try:
            plain = orjson.loads(raw)
            stopped = {str(name): said.encode() for name, said in plain["stopped"].items()}
            known = cls(Copy._of(plain["rules"]), Copy._of(plain["experiments"]), stopped)
            return known if plain["redis"] == redis else None
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"it must hold what a worker knew of rules and experiments: {error}") from None
