"""No entry is lost or kept twice, whoever is killed when, and whoever else is at it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from features.locks import held
from serving.keys import Keys
from serving.nearline import compaction
from serving.nearline.archive import REFUSED, Archive, merge
from serving.nearline.collect import GROUP, collect
from serving.nearline.compaction import Compactor
from serving.nearline.parts import LOCK, REPLACED, part_names, span_of
from serving.nearline.rows import event_rows
from tests.serving.compaction.archives import entry, fill, ids, read, until_done


def test_two_workers_that_write_from_the_same_entry_to_the_same_entry_overwrite_nothing(tmp_path: Path) -> None:
    parts = Archive(tmp_path, event_rows)
    parts.write([entry(number) for number in range(5)], again=False)  # who took over what two others had
    parts.write([entry(number) for number in (0, 2, 4)], again=False)  # of whom one was not dead
    assert merge(tmp_path, tmp_path / "all.parquet", kind="events") == (5, 3)


AT_EVERY_STEP = """
import os, shutil, signal, sys
from pathlib import Path
import pyarrow.parquet as pq
from serving.nearline import compaction
from serving.nearline.compaction import Compactor

compaction.FAN_IN, compaction.LOOK_S, compaction.TURN_S = 2, 0.0, 60.0
folder, left = Path(sys.argv[1]), 0

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def watched(does):
    def instead(*given, **named):
        global left
        left -= 1
        if left < 0:
            die()
        return does(*given, **named)
    return instead

def half_written(table, path, **named):
    global left
    left -= 1
    write(table, path, **named)
    if left < 0:
        os.truncate(path, path.stat().st_size // 2)
        die()

write, pq.write_table = pq.write_table, half_written
os.fsync, Path.replace, Path.unlink = watched(os.fsync), watched(Path.replace), watched(Path.unlink)
for step in range(1000):
    copy = folder.with_name(f"killed-{step}")
    shutil.copytree(folder, copy)
    child = os.fork()
    if not child:
        left = step
        Compactor(copy, "events").look()
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


@pytest.mark.usefixtures("by_four")
def test_whoever_is_killed_at_whatever_step_leaves_each_entry_once_and_the_next_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "events"
    fill(folder, 15, a_part=3)
    (folder / REFUSED).write_bytes(b"why\n")
    subprocess.run([sys.executable, "-c", AT_EVERY_STEP, folder], check=True, timeout=300)
    killed = sorted(tmp_path.glob("killed-*"))
    assert len(killed) > 35  # two pairs of five parts, and these
    seen = set()
    for copy in killed:
        names = part_names(copy)
        seen.add(len(names))
        assert read(copy) == ids(15)
        assert merge(copy, tmp_path / "all.parquet", kind="events") == (15, 0)
        until_done(copy)
        fill(copy, 5, first=15)
        until_done(copy)
        assert read(copy) == ids(20)
        shown = {path.name for path in copy.iterdir() if not path.name.startswith(".")}
        assert shown == {*part_names(copy), LOCK, REFUSED, REPLACED}  # what was replaced is gone
        assert (copy / REFUSED).read_bytes() == b"why\n"
    assert seen == {5, 4, 3, 2}


@pytest.mark.usefixtures("by_four")
def test_where_another_worker_is_at_it_or_has_been_nothing_is_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 16)
    monkeypatch.setattr(compaction, "TURN_S", 0.0)
    slow = Compactor(tmp_path, "events")
    for _ in range(6):  # it has listed the parts, and put together four
        slow.look()
    with held(tmp_path / LOCK):
        names = part_names(tmp_path)
        Compactor(tmp_path, "events").look()
        assert part_names(tmp_path) == names
    monkeypatch.setattr(compaction, "TURN_S", 60.0)
    until_done(tmp_path)
    fill(tmp_path, 4, first=16)
    for _ in range(40):  # its list is an old one
        slow.look()
    assert read(tmp_path) == ids(20)
    assert len(part_names(tmp_path)) == 2


def test_what_a_killed_worker_left_unfinished_is_removed_a_day_later(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    for name in (".part-1-1_2-2-2-0-ab.parquet.cd", f".{REPLACED}.ef", ".kept"):
        for age, path in ((90_000, tmp_path / name), (80_000, tmp_path / f"{name}0")):
            path.write_bytes(b"half")
            os.utime(path, (time.time() - age,) * 2)
    Compactor(tmp_path, "events").look()
    hidden = {path.name for path in tmp_path.glob(".*")}
    assert hidden == {".part-1-1_2-2-2-0-ab.parquet.cd0", f".{REPLACED}.ef0", ".kept", ".kept0"}
    assert read(tmp_path) == ids(2)


def test_collectors_that_are_killed_again_and_again_put_parts_together_under_a_reader_s_eyes(
    redis_server: Any, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    program = """
import sys, threading
from pathlib import Path
from redis import Redis
from serving.nearline import compaction
from serving.nearline.collect import collect
compaction.FAN_IN, compaction.FULL_ROWS, compaction.LOOK_S = 3, 300, 0.0
collect(Redis.from_url(sys.argv[1]), Path(sys.argv[2]), worker=sys.argv[3], stop=threading.Event(), size=7, wait_s=0.01)
"""
    rng, events = random.Random(7), tmp_path / "events"
    stop, seen, wrong = threading.Event(), set[str](), list[str]()

    def start(name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", program, redis_server.url, str(tmp_path), name]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def look() -> None:
        nonlocal seen
        while not stop.is_set():
            try:
                found = read(events)
            except FileNotFoundError:
                continue
            wrong.extend(one for one in {*found} if found.count(one) > 1)
            wrong.extend(seen - {*found})
            seen = {*found}

    (tmp_path / "forgotten").mkdir()
    (tmp_path / "forgotten" / "a.jsonl").write_bytes(b'["u1",5]\n')
    (tmp_path / "counters.json").write_bytes(b"{}")
    reader = threading.Thread(target=look)
    reader.start()
    workers, n = {name: start(name) for name in ("a", "b")}, 0
    with redis_server.client() as client:
        try:
            for _ in range(6):
                for _ in range(150):
                    client.xadd(Keys().events, entry(n)[1])
                    n += 1
                eventually(lambda at=n: len(seen) > at - 100, within_s=60)
                time.sleep(rng.uniform(0, 0.2))
                name = rng.choice(["a", "b"])
                os.kill(workers[name].pid, signal.SIGKILL)
                workers[name].wait()
                workers[name] = start(name)
        finally:
            for worker in workers.values():
                worker.kill()
                worker.wait()
            stop.set()
            reader.join(20)
        for name in workers:
            collect(client, tmp_path, worker=name, stop=threading.Event(), once=True)
        pending: Any = client.xpending(Keys().events, GROUP)
        assert pending["pending"] == 0
    assert wrong == []
    assert seen
    assert max(span_of(name).rounds for name in part_names(events)) > 1
    assert sorted(read(events)) == sorted(ids(n))
    assert merge(events, tmp_path / "all.parquet", kind="events") == (n, 0)
    assert (tmp_path / "forgotten" / "a.jsonl").read_bytes() == b'["u1",5]\n'
    assert (tmp_path / "counters.json").read_bytes() == b"{}"
