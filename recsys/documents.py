"""What a shop writes for the running service: TOML or JSON, checked as a whole, with a time in which it holds."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError, model_validator

from features.errors import InputError
from features.section import Section

T = TypeVar("T", bound="Document")
SHOWN_COMPLAINTS = 20


class Document(Section):
    """The base of what is written and stored as a whole."""

    def dump(self) -> bytes:
        """As JSON; what is not said is left out."""
        return orjson.dumps(self.model_dump(mode="json", exclude_defaults=True), option=orjson.OPT_INDENT_2)

    @classmethod
    def read(cls: type[T], raw: bytes | Mapping[str, Any], place: str) -> T:
        """From JSON, or from parsed TOML.

        Args:
            raw: the document.
            place: what messages call it.

        Raises:
            InputError: it breaks a rule; the message names the entry, the field and the value.
        """
        try:
            if isinstance(raw, bytes):
                return cls.model_validate_json(raw, strict=True)
            return cls.model_validate(dict(raw))
        except ValidationError as error:
            raise InputError(f"{place}: {'; '.join(_complaints(error, raw))}") from None

    @classmethod
    def load(cls: type[T], path: Path) -> T:
        """From a file, TOML by its name, JSON otherwise.

        Raises:
            InputError: it cannot be read, or breaks a rule.
        """
        try:
            raw = path.read_bytes()
            return cls.read(tomllib.loads(raw.decode()) if path.suffix == ".toml" else raw, str(path))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"{path}: {error}") from None


class Window(Section):
    """Something that holds for a time; always where neither end is named."""

    start: datetime | None = None
    """The first moment; UTC where no zone is given."""
    end: datetime | None = None
    """The first moment after."""

    @model_validator(mode="after")
    def _in_order(self) -> Window:
        if self.start is not None and self.end is not None and not self.begins_s < self.ends_s:
            raise ValueError(f"end must be after start ({self.start.isoformat()}), it is {self.end.isoformat()}")
        return self

    @property
    def begins_s(self) -> float:
        """`start` as UTC seconds, -inf where it is open."""
        return float("-inf") if self.start is None else _utc_s(self.start)

    @property
    def ends_s(self) -> float:
        """`end` as UTC seconds, inf where it is open."""
        return float("inf") if self.end is None else _utc_s(self.end)

    def holds_at(self, now_s: float) -> bool:
        """Whether it holds at this time, UTC seconds."""
        return self.begins_s <= now_s < self.ends_s


def _utc_s(when: datetime) -> float:
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _complaints(error: ValidationError, raw: bytes | Mapping[str, Any]) -> list[str]:
    """What is wrong, in words; an entry of a list is named by its number and its name."""
    found = []
    for one in error.errors(include_url=False, include_context=False)[:SHOWN_COMPLAINTS]:
        parts: list[str] = []
        for depth, part in enumerate(one["loc"]):
            if isinstance(part, int) and parts:
                name = _name_at(raw, one["loc"][: depth + 1])
                parts[-1] += f"[{part + 1}]" + (f" ({name})" if name else "")
            else:
                parts.append(str(part))
        value = "" if isinstance(one["input"], dict | BaseModel) else f", got {str(one['input'])[:80]!r}"
        said = one["msg"].removeprefix("Value error, ") + value
        found.append(f"{'.'.join(parts)}: {said}" if parts else said)
    return found


def _name_at(raw: bytes | Mapping[str, Any], place: tuple[int | str, ...]) -> str:
    try:
        found: Any = orjson.loads(raw) if isinstance(raw, bytes) else raw
        for part in place:
            found = found[part]
        return str(found["name"])[:100]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        return ""
