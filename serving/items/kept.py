"""Changed items in a file of the state folder, for a worker that starts while Redis is away or has lost them.

A line says of which Redis and of which change of it the rest is, then comes a line an item. What was made of words and
pictures is kept as well, so that nothing is encoded again.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from features.aside import replacing
from features.errors import InputError
from features.pace import gently
from serving.items.said import Said

_VECTOR = "vector:"


@dataclass(frozen=True, eq=False)
class Remembered:
    """What was known of items, and the last change that it holds for."""

    items: Mapping[str, Said]
    change: str


class KeptItems:
    """The file.

    Args:
        path: where it lies; workers of one service share it, in several pods too, as each would write the same.
        redis: which Redis it is of, without its password.
    """

    def __init__(self, path: Path, redis: str) -> None:
        self.path = path
        self._redis = redis

    def write(self, remembered: Remembered) -> None:
        """Replace what it says.

        Raises:
            OSError: it cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        head = {"redis": self._redis, "change": remembered.change, "items": len(remembered.items)}
        with replacing(self.path) as unfinished, unfinished.open("wb") as file:
            file.write(orjson.dumps(head) + b"\n")
            for item_id, said in gently(remembered.items.items()):
                file.write(orjson.dumps([item_id, _texts(said)]) + b"\n")

    def read(self) -> Remembered | None:
        """What it says; None where there is none, or it is of another Redis.

        Raises:
            InputError: it cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                head = orjson.loads(file.readline())
                if head["redis"] != self._redis:
                    return None
                items = {str(item_id): _said(texts) for item_id, texts in map(orjson.loads, file)}
            if len(items) != head["items"]:
                raise ValueError(f"{head['items']} items are said to be here, there are {len(items)}")
            return Remembered(items, str(head["change"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{self.path} must hold changed items as they were written: {error}") from error


def _texts(said: Said) -> dict[str, str]:
    packed = said.packed()
    return {
        name: base64.b64encode(value).decode() if name.startswith(_VECTOR) else value.decode()
        for name, value in packed.items()
    }


def _said(texts: Mapping[str, str]) -> Said:
    packed = {
        name.encode(): base64.b64decode(text, validate=True) if name.startswith(_VECTOR) else text.encode()
        for name, text in texts.items()
    }
    return Said.unpacked(packed)
