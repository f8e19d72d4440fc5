"""What it costs to read a day of an archive before and after its small parts were put together.

    python benchmarks/bench_archive.py [--parts 86400] [--events 2] [--json FILE]

A stream leaves a part a second. Both archives hold the same events; read are all of them (`recsys log merge`), all of
them backwards as for an emptied Redis, and the entries that a worker takes over are looked for.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import structlog
from figures import keep, takes_json

from serving.events import Event
from serving.history.archived import chunks
from serving.nearline import compaction
from serving.nearline.archive import Archive, merge
from serving.nearline.compaction import Compactor
from serving.nearline.group import Entry
from serving.nearline.parts import part_names
from serving.nearline.rows import event_rows

BEGIN_MS = 1_700_000_000_000


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, default=86_400, help="one a second: 86400 are a day")
    parser.add_argument("--events", type=int, default=2, help="a part")
    takes_json(parser)
    return parser.parse_args()


def batch(second: int, n: int) -> list[Entry]:
    """What came within a second."""
    rng = np.random.default_rng(second)
    events = [
        Event(
            f"{second}-{k}-{rng.integers(2**40):x}", f"u{rng.integers(20_000)}", f"i{item}", "view", second + 1.5, None
        )
        for k, item in enumerate(rng.integers(50_000, size=n).tolist())
    ]
    at_ms = BEGIN_MS + 1000 * second
    return [(f"{at_ms}-{k}", {a: b.encode() for a, b in one.fields().items()}) for k, one in enumerate(events)]


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of the CPU."""
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - cpu


def reads(folder: Path, n_parts: int, n_events: int) -> dict[str, tuple[float, float]]:
    """How long each reader takes."""
    since = {"recent_from_ms": 0, "bought_from_ms": 0, "purchases": ()}
    again = [one for second in range(n_parts // 2, n_parts // 2 + 60) for one in batch(second, n_events)]
    return {
        "merge": timed(lambda: merge(folder, folder.with_suffix(".parquet"), kind="events")),
        "give back": timed(lambda: [None for _ in chunks(folder, **since)]),
        "take over": timed(lambda: Archive(folder, event_rows).write(again, again=True)),
    }


def main() -> None:
    """Print how long reading takes before and after, and what it costs to get there."""
    given = arguments()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # a line a step
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "events"
        archive = Archive(folder, event_rows)
        with patch("os.fsync", lambda _: None):  # nothing is lost here
            for second in range(given.parts):
                archive.write(batch(second, given.events), again=False)
        before, n_before = reads(folder, given.parts, given.events), len(part_names(folder))
        turns: list[float] = []
        compactor = Compactor(folder, "events")
        with patch.object(compaction, "LOOK_S", 0.0):
            n = -1
            while n != (n := len(part_names(folder))) or n > n_before // 2:
                turns.append(timed(compactor.look)[0])
        after = reads(folder, given.parts, given.events)
    print(f"{given.parts:,} parts of {given.events} events; put together in {len(turns)} turns: {n:,} parts")
    print(f"{sum(turns):.0f} s, {1000 * sum(turns) / given.parts:.2f} ms a part; the longest turn {max(turns):.2f} s")
    for reader, (wall_s, cpu_s) in before.items():
        then_s, then_cpu_s = after[reader]
        print(f"{reader:<10} {wall_s:>8.2f} s → {then_s:>6.2f} s, {wall_s / then_s:>6.1f} times as fast", end="")
        print(f"; of the CPU {cpu_s:.2f} → {then_cpu_s:.2f}, {cpu_s / then_cpu_s:.1f} times")
    keep(given, {"parts": n, "turns": len(turns), "worst_turn_s": max(turns), "before": before, "after": after})


if __name__ == "__main__":
    main()
