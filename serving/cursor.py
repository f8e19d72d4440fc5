"""Where a list goes on: an opaque text that says which items were shown already.

The next page is made anew, of the best items that were not on the pages before. So no page shows anything again, events
between two pages still count, and a cursor outlives a new version of the model: items are named by a checksum of their
id, not by a row. Two ids may share a checksum (one pair in 4 * 10^9), and then the second is left out of later pages.

Layout before base64: format u1, 8 bytes of the question's hash, then a u4 checksum for each item shown, rising. A
cursor only ever leaves items out of its owner's own list, so it is checked for being whole and for belonging to the
question, and needs no signature.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from features.pace import gently

FORMAT = 1
MAX_SHOWN = 1_000
"""Items that one list can be leafed through."""
_HEAD = 9


class BadCursor(ValueError):  # noqa: N818 - reads as what it is
    """A text that is no cursor of this question; the message says what it must be."""


@dataclass(frozen=True, eq=False)
class Cursor:
    """What a list has shown.

    Args:
        question: 8 bytes; see `question_hash`.
        shown: uint32 [n]; checksums of the items shown.
    """

    question: bytes
    shown: NDArray[np.uint32]

    @classmethod
    def start(cls, question: bytes) -> Cursor:
        """Before the first page."""
        return cls(question, np.zeros(0, dtype=np.uint32))

    @classmethod
    def parse(cls, text: str, question: bytes) -> Cursor:
        """Read a cursor that belongs to a question.

        Raises:
            BadCursor: it is damaged, or belongs to another question.
        """
        try:
            raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error):
            raise BadCursor("must be the next_cursor of an earlier answer, unchanged") from None
        n_bytes = len(raw) - _HEAD
        if n_bytes < 0 or n_bytes % 4 or raw[0] != FORMAT or n_bytes > 4 * MAX_SHOWN:
            raise BadCursor("must be the next_cursor of an earlier answer, unchanged")
        if raw[1:_HEAD] != question:
            raise BadCursor("must belong to an earlier answer to the same question")
        return cls(question, np.frombuffer(raw, dtype="<u4", offset=_HEAD).astype(np.uint32))

    def after(self, item_ids: Iterable[str]) -> str | None:
        """The text to go on with when these have been shown too; None where the list ends, as it has grown too long."""
        shown = sorted({*self.shown.tolist(), *(zlib.crc32(item_id.encode()) for item_id in item_ids)})
        if len(shown) >= MAX_SHOWN:
            return None
        raw = bytes([FORMAT]) + self.question + struct.pack(f"<{len(shown)}I", *shown)
        return base64.urlsafe_b64encode(raw).decode("ascii")


def checksums(item_ids: Iterable[str]) -> NDArray[np.uint32]:
    """A checksum of each id, uint32 [n]."""
    return np.fromiter((zlib.crc32(item_id.encode()) for item_id in gently(item_ids)), dtype=np.uint32)


def question_hash(surface: str, subject: str, question: Mapping[str, object]) -> bytes:
    """8 bytes that are the same for every page of one list."""
    asked = orjson.dumps([surface, subject, question], option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(asked, digest_size=8).digest()
