"""What was said of one item since some model was trained, and how that lies in Redis."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from recsys.amended.placed import words_of
from recsys.bundle import Bundle

FIELDS = ("title", "description", "price", "available", "image", "attributes")
UPLOADED = "uploaded:"
"""Begins the name of a picture that was sent; the hash of its bytes follows."""
PLAIN: Mapping[str, Any] = {
    "title": "",
    "description": "",
    "price": None,
    "available": True,
    "image": None,
    "attributes": {},
}
"""An item of which nothing is known."""


@dataclass(frozen=True, eq=False)
class Said:
    """What is known of an item beside its bundle.

    Args:
        whole: whether it stands for itself; otherwise its fields lie over those of the bundle.
        deleted: whether the item is gone.
        fields: what was said.
        vectors: "text" and "image", float32 [d]; what was made of words and picture.
        made_of: "text" and "image" -> what each vector was made of and by which encoder; see `source_of`.
    """

    whole: bool = False
    deleted: bool = False
    fields: Mapping[str, Any] = field(default_factory=dict)
    vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    made_of: Mapping[str, str] = field(default_factory=dict)

    def display(self, item_id: str, bundle: Bundle) -> dict[str, Any] | None:
        """What is shown of the item; None where there is none."""
        if self.deleted:
            return None
        if self.whole:
            return {"item_id": item_id, **PLAIN, **self.fields}
        if item_id not in bundle.items:
            return None
        return {**bundle.display(bundle.items.idx(item_id)), **self.fields}

    def then(self, change: Said) -> Said:
        """What is known after a further change."""
        if change.whole or change.deleted:
            return change
        return replace(
            self,
            fields={**self.fields, **change.fields},
            vectors={**self.vectors, **change.vectors},
            made_of={**self.made_of, **change.made_of},
        )

    def packed(self) -> dict[str, bytes]:
        """As the fields of a Redis hash."""
        packed = {name: orjson.dumps(value) for name, value in self.fields.items()}
        packed |= {f"vector:{kind}": vector.astype("<f4").tobytes() for kind, vector in self.vectors.items()}
        packed |= {f"made_of:{kind}": of.encode() for kind, of in self.made_of.items()}
        packed |= {"whole": b"1"} if self.whole else {}
        return packed | ({"deleted": b"1"} if self.deleted else {})

    @classmethod
    def unpacked(cls, packed: Mapping[bytes, bytes]) -> Said:
        """From the fields of a Redis hash; what this version does not know is ignored."""
        by_name = {name.decode(): value for name, value in packed.items()}
        return cls(
            whole="whole" in by_name,
            deleted="deleted" in by_name,
            fields={name: orjson.loads(by_name[name]) for name in FIELDS if name in by_name},
            vectors={
                kind: np.frombuffer(by_name[f"vector:{kind}"], dtype="<f4").astype(np.float32)
                for kind in ("text", "image")
                if f"vector:{kind}" in by_name
            },
            made_of={
                kind: by_name[f"made_of:{kind}"].decode() for kind in ("text", "image") if f"made_of:{kind}" in by_name
            },
        )


def source_of(kind: str, display: Mapping[str, Any], encoder: str) -> str:
    """What a vector of an item's "text" or "image" is made of; changes with words or picture, and with the encoders."""
    content = words_of(display) if kind == "text" else str(display["image"] or "")
    return f"{encoder}:{hashlib.blake2b(content.encode(), digest_size=12).hexdigest()}"


def uploaded_name(data: bytes) -> str:
    """The name of a picture that was sent."""
    return UPLOADED + hashlib.blake2b(data, digest_size=12).hexdigest()
