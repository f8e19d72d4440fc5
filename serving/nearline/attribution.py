"""Counts, for each arm of an experiment, what it showed and which clicks came of just that, each once; and, where it is
asked for, for each item, how it does where it is shown.

An answer is remembered for the attribution window; a click that names it, an item of it, and a moment within the window
counts for the arms that the answer was given by, once a slot. Everything an entry does is one atomic script together
with its acknowledgment (answers), or with a mark that it was done (clicks, whose stream may lie in another slot of a
cluster), so a worker that is killed at any moment counts nothing twice and nothing never.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import orjson
import structlog
from redis import Redis

from features.errors import InputError
from recsys.appeal.history import CounterHistory
from serving.events import CLICKS
from serving.keys import Keys
from serving.nearline.appeal import ADD, Beginning, LiveCounting, begin, going_on
from serving.nearline.appeal_kept import KeptAppeal
from serving.nearline.follow import follow
from serving.nearline.group import Batch, Entry, StreamGroup
from serving.nearline.rows import event_rows

log = structlog.get_logger()

GROUP = "attribution"
WINDOW_S = 1800.0
"""A click counts so long after its answer."""
SLACK_S = 86_400
"""An answer of an arm is remembered so much longer, for workers that are behind."""
SHORT_SLACK_S = 3600
"""An answer of no arm likewise, as there may be very many of them."""
SEARCH = "search"
"""The surface whose order words decide: what is clicked there says little of an item elsewhere."""
FIELDS = ("answers", "slots", "clicked_answers", "clicks", "late")
"""Answers given; items in them; answers of which something was clicked; slots clicked; clicks after the window."""
ANSWER = (
    ADD
    + """
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4])
for i = 5, #KEYS do
  redis.call('HINCRBY', KEYS[i], 'answers', 1)
  redis.call('HINCRBY', KEYS[i], 'slots', ARGV[5])
end
for i = 8, #ARGV, 2 do
  add(KEYS[3], KEYS[4], ARGV[i], 0, tonumber(ARGV[i + 1]), tonumber(ARGV[6]), tonumber(ARGV[7]))
end
return 1
"""
)
CLICK = (
    ADD
    + """
if not redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[1]) then return 0 end
if ARGV[2] == 'late' then
  for i = 5, #KEYS do redis.call('HINCRBY', KEYS[i], 'late', 1) end
  return 1
end
local first = redis.call('SET', KEYS[2], '1', 'NX', 'EX', ARGV[1])
for i = 5, #KEYS do
  redis.call('HINCRBY', KEYS[i], 'clicks', 1)
  if first then redis.call('HINCRBY', KEYS[i], 'clicked_answers', 1) end
end
if ARGV[3] then add(KEYS[3], KEYS[4], ARGV[3], 1, 0, tonumber(ARGV[4]), tonumber(ARGV[5])) end
return 1
"""
)


class Attribution:
    """One worker's counting.

    Args:
        client: of Redis, answers as bytes.
        keys: of the tenant.
        window_s: a click counts so long after its answer.
        counting: how items are counted; None counts for arms alone.
        kept: what was counted of items before Redis lost it.
    """

    def __init__(
        self,
        client: Redis,
        keys: Keys,
        *,
        window_s: float,
        counting: LiveCounting | None = None,
        kept: Callable[[], Beginning | None] = lambda: None,
    ) -> None:
        self._counting = counting
        self._kept = kept
        self._client = client
        self._keys = keys
        self._window_s = window_s
        self._kept_s = int(window_s) + SLACK_S
        self._answer, self._click = client.register_script(ANSWER), client.register_script(CLICK)
        self.counted: Counter[str] = Counter()

    def stay_in_step(self, counters: CounterHistory) -> None:
        """Count items as they are counted now: from what was kept or a log's counters on where Redis has lost how, or
        as another worker has begun anew meanwhile, whose counters may reach further than this one's.
        """
        counting = going_on(self._client, self._keys)
        if counting is None:
            counting = begin(self._client, self._keys, counters, self._kept)
            log.warning("redis had lost how items do, counting goes on from what was kept", until_s=counting.until_s)
        self._counting = counting

    def answers(self, group: StreamGroup, batch: Batch) -> None:
        """Count the answers of a batch and acknowledge them; those of no arm are only acknowledged."""
        rest = []
        for entry in batch.entries:
            try:
                arms = orjson.loads(entry[1].get("arms", b"{}"))
                if not arms and self._counting is None:
                    rest.append(entry)
                    continue
                self._count_answer(entry, arms)
            except (KeyError, TypeError, AttributeError, ValueError) as error:  # the archive keeps what it was
                log.warning("an answer cannot be read", entry_id=entry[0], error=str(error))
                self.counted["unreadable"] += 1
                rest.append(entry)
        if rest:
            group.done(rest)

    def clicks(self, group: StreamGroup, batch: Batch) -> None:
        """Count the clicks of a batch and acknowledge them.

        A click whose answer is not known is left for another look, as its answer may be on its way; a click that was
        left before is let go, as of an answer of no arm, or of one long past.
        """
        done = []
        for entry in batch.entries:
            try:
                (event,) = event_rows(*entry)
            except (InputError, UnicodeDecodeError) as error:
                log.warning("an event cannot be read", entry_id=entry[0], error=str(error))
                self.counted["unreadable"] += 1
                done.append(entry)
                continue
            clicks = event["event_type"] in CLICKS and event["recommendation_id"]
            if not clicks or self._count_click(event) or batch.again:
                done.append(entry)
        if done:
            group.done(done)

    def _count_answer(self, entry: Entry, arms: Mapping[str, str]) -> None:
        entry_id, fields = entry
        items = orjson.loads(fields["slots"])["items"]
        at = float(fields["timestamp"])
        surface, scenario = (fields.get(name, b"").decode() for name in ("surface", "scenario"))
        counting = self._counting
        counted = counting is not None and at > counting.until_s and surface != SEARCH
        answer = {"items": items, "timestamp": at, "arms": arms, "counted": counted, "scenario": scenario}
        shown = self._keys.shown(fields["recommendation_id"].decode())
        names = [self._keys.impressions, shown, self._keys.appeal, self._keys.appeal_changed, *self._of_arms(arms)]
        kept_s = self._kept_s if arms else int(self._window_s) + SHORT_SLACK_S
        looks: list[bytes | float] = []
        if counting is not None and counted:
            looks = [part for one in counting.looks(surface, scenario, items) for part in one]
        fading = (at, 1.0 if counting is None else counting.half_life_s)
        args = [GROUP, entry_id, orjson.dumps(answer), kept_s, len(items), *fading, *looks]
        new = self._answer(keys=names, args=args)
        self.counted["answers"] += int(cast("int", new))

    def _count_click(self, event: Mapping[str, Any]) -> bool:
        """Whether the click's answer is known."""
        answered, item_id = event["recommendation_id"], event["item_id"]
        raw = cast("bytes | None", self._client.get(self._keys.shown(answered)))
        if raw is None:
            return False
        answer = orjson.loads(raw)
        if item_id not in answer["items"]:
            return True
        within = -1 <= event["timestamp"] - answer["timestamp"] <= self._window_s  # clocks may differ by a second
        mark = self._keys.clicked(answered, item_id)
        keys, arms = self._keys, self._of_arms(answer["arms"])
        names = [mark, keys.clicked(answered, ""), keys.appeal, keys.appeal_changed, *arms]
        args: list[str | bytes | float] = [self._kept_s, "within" if within else "late"]
        counting = self._counting
        if counting is not None and answer.get("counted"):
            args += [counting.field(answer.get("scenario", ""), item_id), answer["timestamp"], counting.half_life_s]
        new = self._click(keys=names, args=args)
        self.counted["clicks" if within else "late"] += int(cast("int", new))
        return True

    def _of_arms(self, arms: Mapping[str, str]) -> list[str]:
        return [self._keys.attributed(experiment, arm) for experiment, arm in arms.items()]


def attribute(
    client: Redis,
    *,
    worker: str,
    stop: threading.Event,
    once: bool = False,
    window_s: float = WINDOW_S,
    size: int = 1000,
    wait_s: float = 1.0,
    abandoned_after_s: float = 60.0,
    tenant: str = "",
    counters: CounterHistory | None = None,
    keep: Path | None = None,
) -> Counter[str]:
    """Follow the streams of answers and events and count for arms; arguments as of `serving.nearline.collect.collect`.

    With `counters`, a log's counters to begin with, items are counted as well, whatever arm showed them; and kept in a
    file, `keep`, to go on from should Redis lose them.

    Returns:
        What this worker counted: "answers", "clicks", "late" and "unreadable".
    """
    keys = Keys(tenant)
    kept = None if counters is None or keep is None else KeptAppeal(client, keys, keep)
    known = (lambda: None) if kept is None else kept.read
    items = None if counters is None else begin(client, keys, counters, known)
    counting = Attribution(client, keys, window_s=window_s, counting=items, kept=known)
    streams = {"impressions": (keys.impressions, counting.answers), "events": (keys.events, counting.clicks)}
    groups = {
        name: StreamGroup(client, stream, group=GROUP, worker=worker, size=size, abandoned_after_s=abandoned_after_s)
        for name, (stream, _) in streams.items()
    }

    def handle(name: str, batch: Batch) -> None:
        if counters is not None:
            counting.stay_in_step(counters)
        streams[name][1](groups[name], batch)

    began = time.monotonic()
    beside = (lambda: False) if kept is None else kept.look
    follow(groups, handle, stop=stop, once=once, wait_s=wait_s, beside=beside)
    log.info("attribution ends", seconds=round(time.monotonic() - began, 1), **counting.counted)
    return counting.counted
