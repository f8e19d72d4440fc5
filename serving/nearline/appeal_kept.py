"""Live counts of items in a file, which counting goes on from where Redis has lost them.

Only what changed is read again, every few seconds; the file is written whole, beside its place.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import structlog
from redis import Redis

from features.aside import replacing
from features.errors import InputError
from serving.keys import Keys
from serving.nearline.appeal import PACKED, Beginning, LiveCounting

log = structlog.get_logger()

LIVE = "live.parquet"
KEEP_S = 10.0
"""Between two writes, at least: so much of what is counted a loss may cost."""
PAUSE = 20.0
"""Between two writes, so many times as long as the last one took."""
AT_ONCE = 5_000
_COLUMNS = ("field", *(PACKED.names or ()))
_ABOUT, _REACHES = b"counting", b"reaches_s"


class KeptAppeal:
    """The file, as one near-line worker keeps it.

    Args:
        client: of Redis, answers as bytes.
        keys: of the tenant.
        path: where it lies; workers may share it, as each would write the same.
    """

    def __init__(self, client: Redis, keys: Keys, path: Path) -> None:
        self._client = client
        self._keys = keys
        self._path = path
        self._look_at = self._after = 0.0
        self._last: set[bytes] = set()  # fields that changed at the moment `after`
        self._cells: dict[bytes, bytes] = {}
        self._begin(b"")

    def look(self) -> bool:
        """Keep what changed, if it is time to; never is there more to do at once."""
        began = time.monotonic()
        if began >= self._look_at:
            try:
                self.keep()
            except OSError as error:
                log.error("live counts of items cannot be kept", path=str(self._path), error=str(error))
            self._look_at = time.monotonic() + max(KEEP_S, PAUSE * (time.monotonic() - began))
        return False

    def keep(self) -> None:
        """Write what is counted now. Should Redis have lost it meanwhile, the file stays as it is.

        Raises:
            OSError: it cannot be written.
        """
        keys, reaches_s = self._keys, time.time()
        about = cast("bytes | None", self._client.get(keys.appeal_about))
        if about is None:
            return
        if about != self._about:  # counting began, or began anew
            self._begin(about)
        found = self._changed()
        if not self._last <= {field for field, _ in found}:  # Redis stands where it stood earlier, or did
            self._begin(about)
            found = self._changed()
        news: dict[bytes, bytes] = {}
        for start in range(0, len(found), AT_ONCE):
            fields = [field for field, _ in found[start : start + AT_ONCE]]
            packed: Any = self._client.hmget(keys.appeal, fields)
            told = zip(fields, packed, strict=True)
            news |= {field: raw for field, raw in told if raw is not None and raw != self._cells.get(field)}
        if self._client.get(keys.appeal_about) != about:
            self._begin(b"")
            return
        if news:  # known once they are in the file: after an error they are news again
            cells = {**self._cells, **news}
            self._write(cells, about, reaches_s)
            self._cells = cells
        if found:  # what changed in the same millisecond is read again
            self._after = found[-1][1]
            self._last = {field for field, at in found if at == self._after}

    def read(self) -> Beginning | None:
        """What the file says; None where there is none, or it cannot be read, which is told."""
        try:
            table = pq.read_table(self._path)
            said = table.schema.metadata
            counting, reaches_s = LiveCounting.read(said[_ABOUT]), float(said[_REACHES])
            columns = [table[name].to_pylist() for name in _COLUMNS]
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowException, InputError, KeyError, TypeError, ValueError) as error:
            log.error("live counts of items as they were kept cannot be read", path=str(self._path), error=str(error))
            return None
        return Beginning(counting, reaches_s, list(zip(*columns, strict=True)))

    def _changed(self) -> list[tuple[bytes, float]]:
        found: Any = self._client.zrangebyscore(self._keys.appeal_changed, self._after, "+inf", withscores=True)
        return cast("list[tuple[bytes, float]]", found)

    def _begin(self, about: bytes) -> None:
        self._about, self._after, self._last, self._cells = about, 0.0, set(), {}

    def _write(self, cells: dict[bytes, bytes], about: bytes, reaches_s: float) -> None:
        counts = np.frombuffer(b"".join(cells.values()), dtype=PACKED)
        columns: dict[str, Any] = {"field": [field.decode() for field in cells]}
        table = pa.table({**columns, **{name: counts[name] for name in _COLUMNS[1:]}})
        said = {_ABOUT: about, _REACHES: repr(reaches_s).encode()}
        with replacing(self._path) as unfinished:
            pq.write_table(table.replace_schema_metadata(said), unfinished, compression="zstd")
