"""Pictures that were fetched from elsewhere: kept by content, found by address, and read like a shop's own."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from features.locks import alone_in
from features.pictures.sources import ImageSource, UnreadableImage


class Failure(NamedTuple):
    """Why an address gave no picture, and whether asking again is of no use."""

    reason: str
    final: bool


class FetchedImages:
    """A folder of fetched pictures.

        pictures/ab/abcd...   a file, named by the SHA-256 of its content
        fetched.jsonl         a line an address: its content's SHA-256, or why there is none; the last line counts

    The journal is only appended to and a picture is on disk before its line is, so that a run that is killed loses
    what it was at and nothing else.

    Args:
        folder: where they lie; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._journal = folder / "fetched.jsonl"
        self._digest: dict[str, str] = {}
        self._failure: dict[str, Failure] = {}
        if self._journal.is_file():
            self._load()

    @classmethod
    def of_cache(cls, cache_dir: Path) -> FetchedImages:
        """Those kept beside encoded words and pictures."""
        return cls(cache_dir / "fetched")

    def names(self) -> set[str]:
        """The addresses whose picture is here."""
        return set(self._digest)

    def read(self, name: str) -> bytes:
        """The picture fetched from an address.

        Raises:
            KeyError: it was not fetched, or the file is gone.
            UnreadableImage: the file is not what it was.
        """
        digest = self._digest[name]
        try:
            data = self._file(digest).read_bytes()
        except OSError as error:
            raise KeyError(f"no fetched picture of {name}: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise UnreadableImage("was changed since it was fetched")
        return data

    def fingerprint(self) -> str:
        """Addresses and contents."""
        return "\n".join(f"{name}\0{digest}" for name, digest in sorted(self._digest.items()))

    def failure(self, name: str) -> Failure | None:
        """Why an address gave no picture the last time; None where it did, or was never asked."""
        return self._failure.get(name)

    def store(self, data: bytes) -> str:
        """Put a picture on disk, whole or not at all; the SHA-256 of its content. Safe in several threads."""
        digest = hashlib.sha256(data).hexdigest()
        file = self._file(digest)
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            draft = file.with_name(f".{digest}.{os.getpid()}.{id(data)}")
            draft.write_bytes(data)
            draft.replace(file)
        return digest

    def found(self, name: str, digest: str) -> None:
        """Note that an address gave the picture of that content, which is on disk."""
        self._digest[name] = digest
        self._failure.pop(name, None)
        self._note({"url": name, "sha256": digest})

    def failed(self, name: str, failure: Failure) -> None:
        """Note that an address gave no picture."""
        self._failure[name] = failure
        self._note({"url": name, "reason": failure.reason, "final": failure.final})

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from fetching into this folder; waits for one that does, and takes in what it left."""
        with alone_in(self.folder, doing="fetches into the same cache"):
            if self._journal.is_file():
                self._load()
            yield

    def _file(self, digest: str) -> Path:
        return self.folder / "pictures" / digest[:2] / digest

    def _note(self, entry: dict[str, object]) -> None:
        with self._journal.open("ab") as journal:
            journal.write(json.dumps(entry).encode() + b"\n")

    def _load(self) -> None:
        content = self._journal.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):  # the line at which a run was killed
            os.truncate(self._journal, whole)
        for line in content[:whole].splitlines():
            entry = json.loads(line)
            name = entry["url"]
            if "sha256" in entry:
                self._digest[name] = entry["sha256"]
                self._failure.pop(name, None)
            else:
                self._failure[name] = Failure(entry["reason"], entry["final"])


class JoinedImages:
    """A shop's own pictures by name, and fetched ones by address.

    Args:
        own: the shop's; None where it has none.
        fetched: from elsewhere.
        addresses: those of the shop; None takes all that were fetched.
    """

    def __init__(
        self, own: ImageSource | None, fetched: FetchedImages, *, addresses: Iterable[str] | None = None
    ) -> None:
        self._own = own
        self._fetched = fetched
        known = fetched.names()
        self._addresses = known if addresses is None else known.intersection(addresses)

    def names(self) -> set[str]:
        """The names and addresses of all pictures."""
        return self._addresses | (self._own.names() if self._own is not None else set())

    def read(self, name: str) -> bytes:
        """The bytes of one picture.

        Raises:
            KeyError: there is no such picture.
            UnreadableImage: it is larger than a picture may be, or broken.
        """
        if name in self._addresses:
            return self._fetched.read(name)
        if self._own is None:
            raise KeyError(f"no picture {name!r}")
        return self._own.read(name)

    def fingerprint(self) -> str:
        """Text that changes when a picture of either kind does."""
        lines = [line for line in self._fetched.fingerprint().split("\n") if line.split("\0")[0] in self._addresses]
        return "\n".join([*lines, self._own.fingerprint() if self._own is not None else ""])
