"""Which parts are put together when, that their rows stay as they are, and what cannot be put together."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import structlog

from features.errors import InputError
from serving.history.archived import latest_ms
from serving.nearline import compaction, parts
from serving.nearline.archive import Archive, merge
from serving.nearline.compaction import Compactor, Small, due
from serving.nearline.parts import LOCK, REPLACED, part_names, span_of, write_part
from serving.nearline.rows import impression_rows
from tests.serving.compaction.archives import BEGIN_MS, entry, fill, ids, parts_padded, read, until_done


def small(*rounds: int, rows: int = 1) -> list[Small]:
    return [Small(f"{place}", rows, one) for place, one in enumerate(rounds)]


def test_parts_are_put_together_once_there_are_as_many_of_one_round_as_become_one() -> None:
    assert due(small(*[0] * 63)) == []
    assert due(small(*[0] * 64)) == small(*[0] * 64)
    assert due(small(1, *[0] * 63)) == []  # 64 parts, of which one has had its turn
    assert due(run := small(2, *[1] * 64)) == run[1:]
    assert due(run := small(2, 1, 0, *[1] * 63)) == run[1:]  # what came late lies among them
    assert due(run := small(2, 0, 0, 0, rows=30_000)) == run
    assert due(small(2, 0, 0, rows=30_000)) == []
    assert due(small(0, rows=99_999)) == []


def test_a_day_of_a_part_a_second_ends_in_few_parts_and_writes_no_row_more_than_three_times() -> None:
    for rows in (1, 50):
        run, full, written = [], 0, 0
        for _ in range(86_400):
            run.append(Small("", rows, 0))
            while group := due(run):
                together = Small("", sum(one.rows for one in group), max(one.rounds for one in group) + 1)
                written += together.rows
                del run[-len(group) :]
                if together.rows < compaction.FULL_ROWS:
                    run.append(together)
                else:
                    full, run = full + 1, []
        assert len(run) < 3 * 64
        assert full <= 86_400 * rows / compaction.FULL_ROWS
        assert written <= 3 * 86_400 * rows


@pytest.mark.usefixtures("by_four")
@pytest.mark.parametrize("seed", range(3))
def test_all_rows_stay_as_they_are_in_the_order_of_the_stream(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    parts = Archive(tmp_path / "impressions", impression_rows)
    for number in range(60):
        slots: dict[str, Any] = {"items": ["a", "b", "c"], "sources": ["x"] * 3, "propensities": [1.0, 0.5, 0.25]}
        slots |= {"marginals": [0.5, None, None]} if rng.random() < 0.3 else {}
        fields = {"recommendation_id": f"r{number}", "surface": "feed", "subject": "u", "model_version": "v"}
        fields |= {"arms": "{}"} if rng.random() < 0.3 else {}
        said = {name: text.encode() for name, text in fields.items()}
        said |= {"timestamp": b"1.5", "slots": orjson.dumps(slots)}
        late = rng.choice([0, 0, 0, 30_000])  # some were taken over from a worker that died
        parts.write([(f"{BEGIN_MS + 1000 * number - late}-{n}", said) for n in range(rng.randrange(1, 6))], again=False)
    expected = merge(tmp_path / "impressions", tmp_path / "before.parquet", kind="impressions")
    until_done(tmp_path / "impressions", "impressions")
    names = part_names(tmp_path / "impressions")
    assert len(names) < 20
    assert all(span_of(name).rows == pq.read_metadata(tmp_path / "impressions" / name).num_rows for name in names)
    assert merge(tmp_path / "impressions", tmp_path / "after.parquet", kind="impressions") == expected
    one, other = pq.read_table(tmp_path / "before.parquet"), pq.read_table(tmp_path / "after.parquet")
    assert one.equals(other)
    for name in names:
        entries = pq.read_table(tmp_path / "impressions" / name)["entry_id"].to_pylist()
        moments = [parts_padded(one) for one in entries]
        assert moments == sorted(moments)
        assert (moments[0], moments[-1]) == span_of(name)[:2]


@pytest.mark.usefixtures("by_four")
def test_what_lies_between_full_parts_is_put_together(tmp_path: Path) -> None:
    fill(tmp_path, 40, a_part=40)
    fill(tmp_path, 3, first=40)
    fill(tmp_path, 40, a_part=40, first=43)
    fill(tmp_path, 3, first=83)
    until_done(tmp_path)
    assert [span_of(name).rows for name in part_names(tmp_path)] == [40, 3, 40, 1, 1, 1]
    assert read(tmp_path) == ids(86)


@pytest.mark.usefixtures("by_four")
def test_a_turn_puts_together_one_group_where_time_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, 40)
    monkeypatch.setattr(compaction, "TURN_S", 0.0)
    compactor, n = Compactor(tmp_path, "events"), [40]
    for _ in range(60):
        compactor.look()
        n.append(len(part_names(tmp_path)))
    assert {one - other for one, other in pairwise(n)} == {0, 3}
    assert n[-1] == 1


@pytest.mark.usefixtures("by_four")
def test_who_has_found_nothing_more_to_do_looks_again_a_while_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "LOOK_S", 30.0)
    now = [100.0]
    monkeypatch.setattr(compaction.time, "monotonic", lambda: now[0])
    compactor, n = Compactor(tmp_path, "events"), []
    compactor.look()
    fill(tmp_path, 4)
    for now[0] in (129.0, 130.0):
        compactor.look()
        n.append(len(part_names(tmp_path)))
    assert n == [4, 1]


@pytest.mark.usefixtures("by_four")
def test_a_full_part_whose_older_name_does_not_say_so_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 40, a_part=40)
    (name,) = part_names(tmp_path)
    (tmp_path / name).rename(tmp_path / f"part-{span_of(name).first}_{span_of(name).last}.parquet")
    read_metadata, asked = pq.read_metadata, list[Path]()

    def watched(path: Path) -> pq.FileMetaData:
        asked.append(path)
        return read_metadata(path)

    monkeypatch.setattr(compaction.pq, "read_metadata", watched)
    compactor = Compactor(tmp_path, "events")
    for _ in range(3):
        compactor.look()
    assert len(asked) == 1


@pytest.mark.usefixtures("by_four")
def test_a_part_that_cannot_be_read_stays_is_told_once_and_holds_nothing_up(tmp_path: Path) -> None:
    fill(tmp_path, 12)
    damaged = part_names(tmp_path)[4]
    (tmp_path / damaged).write_bytes(b"PAR1 and no more")
    compactor = Compactor(tmp_path, "events")
    with structlog.testing.capture_logs() as told:
        for _ in range(20):
            compactor.look()
    assert [one["parts"] for one in told if one["log_level"] == "error"] == [[damaged]]
    assert [span_of(name).rows for name in part_names(tmp_path)] == [4, 1, 1, 1, 1, 4]
    (tmp_path / damaged).unlink()
    assert read(tmp_path) == [one for one in ids(12) if one != "e4"]


@pytest.mark.usefixtures("by_four")
@pytest.mark.parametrize(
    "odd", [{"user_id": [7]}, {"entry_id": ["1700000\ufffd"]}, {"entry_id": None}], ids=["type", "id", "no id"]
)
def test_rows_that_do_not_go_together_keep_their_parts_as_they_are(tmp_path: Path, odd: dict[str, Any]) -> None:
    fill(tmp_path, 3)
    moment = parts_padded(entry(3)[0])
    columns: dict[str, Any] = {"entry_id": [entry(3)[0]], "event_id": ["e3"], "user_id": ["u3"], **odd}
    whole = {name: values for name, values in columns.items() if values is not None}
    write_part(tmp_path, pa.table(whole), moment, moment)
    before = part_names(tmp_path)
    with structlog.testing.capture_logs() as told:
        until_done(tmp_path)
    assert [one["parts"] for one in told if one["log_level"] == "error"] == [before]
    assert part_names(tmp_path) == before


@pytest.mark.usefixtures("by_four")
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), pa.ArrowMemoryError("malloc failed")])
def test_a_full_disk_or_memory_changes_nothing_and_is_tried_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fill(tmp_path, 4)
    before = sorted(path.name for path in tmp_path.iterdir())
    compactor = Compactor(tmp_path, "events")

    def full(*_: Any, **__: Any) -> None:
        raise error

    with structlog.testing.capture_logs() as told, monkeypatch.context() as patch:
        patch.setattr(parts.pq, "write_table", full)
        compactor.look()
        compactor.look()
    assert [one["event"] for one in told] == ["parts of the archive are not put together"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, LOCK])
    assert read(tmp_path) == ids(4)


def test_a_name_that_no_part_has_and_a_damaged_note_are_told(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    (tmp_path / "part-of-mine.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"'part-of-mine\.parquet' is not: move it away"):
        latest_ms(tmp_path)
    with structlog.testing.capture_logs() as told:
        Compactor(tmp_path, "events").look()  # a collector goes on
    assert [one["event"] for one in told] == ["parts of the archive are not put together"]
    (tmp_path / REPLACED).write_bytes(b"{")
    with pytest.raises(InputError, match=r"replaced\.json must say which parts are replaced, it is damaged"):
        part_names(tmp_path)
