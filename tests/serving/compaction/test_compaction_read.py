"""Readers meet each entry once, whenever parts are replaced under them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import structlog

from features.errors import InputError
from features.locks import held
from serving.history import archived
from serving.history.archived import chunks, latest_ms
from serving.nearline import archive as archive_module
from serving.nearline import parts
from serving.nearline.archive import Archive, merge
from serving.nearline.compaction import Compactor
from serving.nearline.parts import LOCK, REPLACED, part_names, read_part, span_of
from serving.nearline.rows import event_rows
from tests.serving.compaction.archives import BEGIN_MS, entry, fill, given, ids, read, until_done


@pytest.mark.usefixtures("by_four")
def test_an_archive_of_an_older_version_is_read_and_put_together(tmp_path: Path) -> None:
    folder = tmp_path / "events"
    fill(folder, 60, a_part=3)
    fill(folder, 50, a_part=50, first=60)
    for name in part_names(folder):
        span = span_of(name)
        (folder / name).rename(folder / f"part-{span.first}_{span.last}.parquet")
    assert read(folder) == ids(110)
    assert latest_ms(folder) == BEGIN_MS + 109_000
    until_done(folder)
    rows = [span_of(name).rows for name in part_names(folder)]
    assert rows[-1] is None  # which is full, and stays as it is
    assert len(rows) < 6
    assert read(folder) == ids(110)


@pytest.mark.usefixtures("by_four")
def test_a_reader_meets_each_entry_once_whenever_it_begins_to_list_and_whenever_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 40, a_part=2)
    states: list[tuple[bytes, set[str]]] = []
    holds: dict[str, list[str]] = {}

    def watched(does: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*given: Any, **named: Any) -> Any:
            with monkeypatch.context() as patch:
                for of, name, as_it_was in steps:
                    patch.setattr(of, name, as_it_was)
                there = {path.name for path in tmp_path.glob("part-*.parquet")}
                holds.update(
                    {name: pq.read_table(tmp_path / name)["event_id"].to_pylist() for name in there - {*holds}}
                )
                note = tmp_path / REPLACED
                states.append((note.read_bytes() if note.exists() else b"", there))
            return does(*given, **named)

        return instead

    steps = [(os, "fsync", os.fsync), (Path, "replace", Path.replace), (Path, "unlink", Path.unlink)]
    with monkeypatch.context() as patch:
        for of, name, as_it_was in steps:
            patch.setattr(of, name, watched(as_it_was))
        until_done(tmp_path)
    assert read(tmp_path) == ids(40)
    assert len(states) > 50
    together = 0
    for begin, end in combinations_with_replacement(range(len(states)), 2):
        note = states[begin][0]
        if note != states[end][0]:  # a reader lists again
            continue
        meanwhile = [there for _, there in states[begin : end + 1]]
        for listed in (set.intersection(*meanwhile), set.union(*meanwhile)):
            monkeypatch.setattr(parts, "_note_of", lambda _, note=note: note)
            monkeypatch.setattr(parts, "_listed", lambda _, listed=listed: {*listed})
            assert sorted(one for name in part_names(tmp_path) for one in holds[name]) == sorted(ids(40))
            together += 1
    assert together > 300


@pytest.mark.usefixtures("by_four")
@pytest.mark.parametrize("mix", [set.intersection, set.union])
def test_a_listing_that_parts_are_replaced_under_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mix: Callable[..., set[str]]
) -> None:
    fill(tmp_path, 16)
    listdir, turned = os.listdir, False

    def while_replaced(folder: Path) -> list[str]:
        """A disk lists name by name: it may lack what came and what went meanwhile, or have both."""
        nonlocal turned
        if turned:
            return listdir(folder)
        turned = True
        before = set(listdir(folder))
        until_done(tmp_path)
        return list(mix(before, set(listdir(folder))))

    monkeypatch.setattr(parts.os, "listdir", while_replaced)
    assert read(tmp_path) == ids(16)
    assert len(part_names(tmp_path)) == 1


@pytest.mark.usefixtures("by_four")
def test_entries_that_are_looked_for_while_parts_are_replaced_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 16)
    turned = False

    def late(path: Path, columns: list[str]) -> pa.Table:
        nonlocal turned
        if not turned:
            turned = True
            until_done(tmp_path)
        return read_part(path, columns)

    with monkeypatch.context() as patch:
        patch.setattr(archive_module, "read_part", late)
        assert Archive(tmp_path, event_rows).write([entry(number) for number in range(14, 18)], again=True) == 2
    assert read(tmp_path) == ids(18)


@pytest.mark.usefixtures("by_four")
def test_nothing_is_replaced_while_a_merge_reads_and_a_merge_waits_for_whoever_replaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "events"
    fill(folder, 16)
    before, read_schema = part_names(folder), pq.read_schema

    def late(path: Path) -> pa.Schema:
        Compactor(folder, "events").look()
        return read_schema(path)

    with monkeypatch.context() as patch:
        patch.setattr(archive_module.pq, "read_schema", late)
        assert merge(folder, tmp_path / "all.parquet", kind="events") == (16, 0)
    assert part_names(folder) == before
    monkeypatch.setattr(parts, "WAIT_S", 0.1)
    with held(folder / LOCK), pytest.raises(InputError, match=r"compaction\.lock was held for 0\.1 s"):
        merge(folder, tmp_path / "all.parquet", kind="events")
    monkeypatch.setattr(parts, "WAIT_S", 20.0)
    with ThreadPoolExecutor(1) as beside:
        with held(folder / LOCK):
            waits = beside.submit(merge, folder, tmp_path / "all.parquet", kind="events")
            assert not wait([waits], timeout=0.3).done
        assert waits.result(20) == (16, 0)
    Compactor(folder, "events").look()
    assert len(part_names(folder)) < 16


@pytest.mark.usefixtures("by_four")
def test_where_the_disk_knows_no_locks_parts_stay_as_they_are_and_a_merge_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "events"
    fill(folder, 8)

    def unknown(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("features.locks.fcntl.flock", unknown)
    with structlog.testing.capture_logs() as told:
        Compactor(folder, "events").look()
    assert [one["event"] for one in told] == ["parts of the archive are not put together"]
    assert merge(folder, tmp_path / "all.parquet", kind="events") == (8, 0)
    assert len(part_names(folder)) == 8


@pytest.mark.usefixtures("by_four")
@pytest.mark.parametrize("after", range(0, 12, 2))
def test_events_that_are_given_back_while_parts_are_replaced_are_all_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(archived, "CHUNK_PARTS", 2)
    fill(tmp_path, 24)
    since: dict[str, Any] = {"recent_from_ms": 0, "bought_from_ms": 0, "purchases": ()}
    reading = chunks(tmp_path, **since)
    got = [next(reading) for _ in range(after)]
    until_done(tmp_path)
    fill(tmp_path, 2, first=24)
    gone_on = [*got, *chunks(tmp_path, before=got[-1].reached if got else "", **since)]  # by another worker
    here = [*got, *reading]
    for found in (gone_on, here):
        events = given(found)
        assert set(ids(24)) <= set(events)
        assert len(events) <= 24 + 16 + 2  # a large part's twice, at most


def test_a_large_part_is_given_back_a_bounded_number_of_events_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "GROUP_ROWS", 5)
    monkeypatch.setattr(archived, "CHUNK_EVENTS", 10)
    fill(tmp_path, 3, a_part=3)
    fill(tmp_path, 32, a_part=32, first=3)
    found = list(chunks(tmp_path, recent_from_ms=0, bought_from_ms=0, purchases=()))
    latest_first = [sorted(int(event[1:]) for event in given([chunk])) for chunk in found]
    assert latest_first == [[*range(23, 35)], [*range(13, 23)], [*range(3, 13)], [*range(3)]]
    assert [chunk.reached for chunk in found] == ["", "", *part_names(tmp_path)[::-1]]


def test_rows_of_which_none_is_given_back_are_read_a_bounded_number_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "GROUP_ROWS", 5)
    monkeypatch.setattr(archived, "CHUNK_ROWS", 10)
    fill(tmp_path, 25, a_part=25)
    fill(tmp_path, 10, a_part=10, first=25)
    found = list(chunks(tmp_path, recent_from_ms=2 * BEGIN_MS, bought_from_ms=0, purchases=("buy",)))
    last, first = part_names(tmp_path)[::-1]
    assert found == [([], last), ([], last), ([], last), ([], first)]


@pytest.mark.usefixtures("by_four")
def test_a_part_that_a_disk_of_a_network_loses_while_it_is_read_is_read_where_its_rows_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "GROUP_ROWS", 2)
    monkeypatch.setattr(archived, "CHUNK_EVENTS", 2)
    fill(tmp_path, 12, a_part=3)
    read_row_group = pq.ParquetFile.read_row_group

    def stale(self: pq.ParquetFile, group: int, columns: list[str]) -> pa.Table:
        if group == 0 and len(part_names(tmp_path)) > 1:
            until_done(tmp_path)
            raise OSError(errno.ESTALE, "Stale file handle")
        return read_row_group(self, group, columns=columns)

    with monkeypatch.context() as patch, structlog.testing.capture_logs() as told:
        patch.setattr(pq.ParquetFile, "read_row_group", stale)
        found = list(chunks(tmp_path, recent_from_ms=0, bought_from_ms=0, purchases=()))
    assert {*given(found)} == {*ids(12)}
    assert [one for one in told if one["log_level"] == "error"] == []
