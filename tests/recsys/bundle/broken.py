"""Bundles made to break."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from recsys.bundle_format import (
    FILES,
    ITEMS,
    FileEntry,
    content_version,
    neighbor_files,
    places_file,
)

EVERY_FILE = [*FILES, *neighbor_files("text"), *neighbor_files("image"), places_file(ITEMS)]


def rewrite_manifest(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    raw = orjson.loads((bundle / "manifest.json").read_bytes())
    change(raw)
    (bundle / "manifest.json").write_bytes(orjson.dumps(raw))


def replace_array(bundle: Path, name: str, values: np.ndarray) -> None:
    """Swap a file's content and vouch for it in the manifest, as a writer with a bug would."""
    np.save(bundle / name, values)
    vouch(bundle, name, dtype=values.dtype.str, shape=list(values.shape))


def vouch(bundle: Path, name: str, **form: Any) -> None:
    """Say in the manifest that a file is as it is."""
    content = (bundle / name).read_bytes()

    def change(raw: dict[str, Any]) -> None:
        raw["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), **form}
        raw["version"] = content_version({file: FileEntry(**entry) for file, entry in raw["files"].items()})

    rewrite_manifest(bundle, change)


def without(bundle: Path, *names: str) -> None:
    """Take files out of a bundle and its manifest."""

    def change(raw: dict[str, Any]) -> None:
        for name in names:
            raw["files"].pop(name)
            (bundle / name).unlink()
        raw["version"] = content_version({file: FileEntry(**entry) for file, entry in raw["files"].items()})

    rewrite_manifest(bundle, change)
