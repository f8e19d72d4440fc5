"""API keys: a file of names, scopes, limits and hashes; a key itself is shown once, when it is made, and kept nowhere.

A key is 256 random bits, so one SHA-256 of it is as good as a slow password hash: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import orjson
import structlog
from pydantic import Field, PositiveFloat, PositiveInt, StringConstraints, ValidationError

from features.aside import write_private
from features.errors import InputError
from features.section import Section

log = structlog.get_logger()

Scope = Literal["read", "write", "metrics", "admin"]
"""read: lists, items, search. write: events. metrics: /metrics alone. admin: everything else, such as items, rules,
users' data, and metrics too."""
PREFIX = "rk_"
"""Begins every key, so that one which leaks into a text is recognized."""
LOOK_EVERY_S = 1.0
MAX_KEYS = 1000
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class ApiKey(Section):
    """What the file holds of one key."""

    name: Name
    """Stands in logs and metrics in place of the key."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """Of the key's UTF-8 bytes, in hex."""
    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    """What it may ask for."""
    rate_per_s: PositiveFloat | None = None
    """Requests a second that a worker lets through on average; none: no limit."""
    burst: PositiveInt = 20
    """Requests that may come at once before the rate is enforced."""


class _File(Section):
    keys: Annotated[tuple[ApiKey, ...], Field(max_length=MAX_KEYS)] = ()


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """The keys of a file.

    Raises:
        InputError: the file cannot be read, is of another form, or names two keys alike.
    """
    try:
        keys = _File.model_validate_json(path.read_bytes()).keys
    except OSError as error:
        raise InputError(f"{path}: the file of API keys cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"{path}: {place}: {first['msg']}") from None  # the value may be a key that was pasted there
    names = [key.name for key in keys]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}: names of keys must differ, {twice!r} stands there twice")
    return keys


def write_keys(path: Path, keys: Sequence[ApiKey]) -> None:
    """Replace the file, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, orjson.dumps({"keys": [_plain(key) for key in keys]}, option=orjson.OPT_INDENT_2))


def new_key(
    name: str, scopes: Sequence[Scope], *, rate_per_s: float | None = None, burst: int = 20
) -> tuple[str, ApiKey]:
    """A fresh key and what the file keeps of it.

    Raises:
        InputError: the name, a scope or a limit cannot be used.
    """
    secret = PREFIX + secrets.token_urlsafe(32)
    given = {"name": name, "sha256": _digest(secret), "scopes": scopes, "rate_per_s": rate_per_s, "burst": burst}
    try:
        return secret, ApiKey.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{first['loc'][0]}: {first['msg']}, got {first['input']!r}") from None


class KeyRing:
    """The keys of a file, which is looked at again when it changes: a revoked key is refused within a second or two.

    A file that breaks while the service runs is reported and the last good keys stay.

    Args:
        path: the file.

    Raises:
        InputError: the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed_ns = path.stat().st_mtime_ns if path.exists() else 0
        self._keys = read_keys(path)
        self._next_look = time.monotonic() + LOOK_EVERY_S

    def find(self, presented: str) -> ApiKey | None:
        """The key that was presented, None where there is no such key.

        Every key of the file is compared, each in constant time, so that the time tells nothing.
        """
        self._look()
        digest = _digest(presented)
        found: ApiKey | None = None
        for key in self._keys:
            if hmac.compare_digest(digest, key.sha256):
                found = key
        return found

    def _look(self) -> None:
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_EVERY_S
        try:
            changed_ns = self._path.stat().st_mtime_ns
            if changed_ns == self._changed_ns:
                return
            self._keys = read_keys(self._path)
            self._changed_ns = changed_ns
            log.info("API keys read again", keys=len(self._keys))
        except (OSError, InputError) as error:
            log.error("the last good API keys stay", why=str(error))


def _plain(key: ApiKey) -> dict[str, object]:
    return {**key.model_dump(exclude={"scopes"}), "scopes": sorted(key.scopes)}


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
