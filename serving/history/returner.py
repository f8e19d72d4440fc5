"""The near-line worker's part in it: it notices that Redis has forgotten, and gives back what the archive remembers.

That may take minutes and is done in steps, between which entries are archived as ever. One worker of all does it, while
it shows life; where it dies, another goes on from where it was. What it does may be done again.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import structlog
from redis import Redis
from redis.exceptions import RedisError

from features.errors import InputError
from serving.history.archived import chunks, latest_ms
from serving.history.arms import ArmCounts
from serving.history.deletions import NOTED
from serving.history.forgotten import are_noted, forgotten
from serving.history.mark import Mark
from serving.history.users import Archived, UserStates
from serving.keys import Keys
from serving.publish_lock import HOLD
from serving.settings import Settings

log = structlog.get_logger()

LOOK_S = 1.0
"""Between two looks at whether Redis remembers."""
KEEP_S = 10.0
"""Between two times that what was counted for arms is kept: so much of it a loss may cost."""
RETRY_S = 5.0
"""Before another try, where Redis took nothing back."""
LEASE_S = 30.0
"""A worker that shows no life for so long has died, and another may go on."""
PROGRESS_S = 600
"""How far it has come is known for so long."""
STEP_USERS = 500
"""Users whose events go back in one step."""


class Returner:
    """One near-line worker's part.

    Args:
        client: of Redis, answers as bytes.
        archive: the folder of the parts of events and impressions.
        settings: of the service; `restore` says whether anything is put back.
    """

    def __init__(self, client: Redis, archive: Path, settings: Settings) -> None:
        self._client = client
        self._archive = archive
        self._settings = settings
        self._keys = Keys(settings.tenant)
        self._mark = Mark(client, self._keys, max(latest_ms(archive / name) for name in ("events", "impressions")))
        self._arms = ArmCounts(client, self._keys, archive)
        self._users = UserStates(client, self._keys, settings)
        self._token = secrets.token_hex(8)
        self._steps: Iterator[None] | None = None
        self._look_at = self._keep_at = 0.0

    def vouch(self, upto_ms: int) -> None:
        """Entries up to here are about to be archived: Redis, if it has lost nothing, is marked as knowing them."""
        self._mark.hold(upto_ms)

    def look(self) -> bool:
        """Give back some of what Redis has lost; whether there is more.

        Where Redis takes nothing now, as it is away or full, that is later.
        """
        if self._steps is None and not self._due():
            return False
        if self._steps is None:
            self._steps = self._returning()
        try:
            next(self._steps)
        except StopIteration:
            self._steps = None
            return False
        except (RedisError, OSError) as error:  # archiving goes on where it can
            self._steps, self._look_at = None, time.monotonic() + RETRY_S
            log.warning("what redis has lost is not given back yet", error=str(error))
            return False
        return True

    def close(self) -> None:
        """Let another worker go on at once."""
        with suppress(RedisError):
            self._hold(0)

    def _due(self) -> bool:
        """Whether something was lost, and it is this worker that puts it back."""
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_S
        self._client.hset(self._keys.history, NOTED, int(are_noted(self._archive)))
        if not self._mark.hold():
            lease_ms = int(LEASE_S * 1000)
            return self._hold() or bool(self._client.set(self._keys.returning, self._token, nx=True, px=lease_ms))
        if now >= self._keep_at:
            self._keep_at = now + KEEP_S
            try:
                self._arms.keep(self._mark)
            except (InputError, OSError) as error:
                log.error("counts of arms are not kept", error=str(error))
        return False

    def _returning(self) -> Iterator[None]:
        """Put everything back, a step at a time."""
        began, told = time.monotonic(), {"events": 0, "arms": 0}
        without = "" if self._settings.restore else "RECSYS_RESTORE is off"
        if self._nothing():
            if self._hold():
                self._mark.set()
                self._hold(0)
            return
        if not without:
            log.warning("redis has lost what it knew of users and counted, it is given back")
            told["arms"] = self._put_arms_back()
            before, told["events"], told["arms"] = self._reached(told["arms"])
            try:
                if forgotten(self._archive) is None:
                    without = "the service notes no deletions here: RECSYS_ARCHIVE must name this folder"
                else:
                    yield from self._put_users_back(before, told)
            except InputError as error:  # who was deleted must not come back
                without = str(error)
        if not self._hold():
            return
        self._mark.set(**told, without=without)
        self._client.delete(self._keys.returned, self._keys.returning)
        if without:
            log.error("redis has lost users' recent events, which are not put back", why=without, **told)
        else:
            seconds = round(time.monotonic() - began, 1)
            log.warning("redis has users' events and counters again", seconds=seconds, **told)

    def _nothing(self) -> bool:
        """Whether there is nothing that could be put back, as at the first start."""
        return not latest_ms(self._archive / "events") and not self._arms.path.exists()

    def _put_arms_back(self) -> int:
        try:
            return self._arms.put_back()
        except InputError as error:
            log.error("redis has lost what was counted for arms, which is not put back", error=str(error))
            return 0

    def _put_users_back(self, before: str, told: dict[str, int]) -> Iterator[None]:
        settings, now_ms = self._settings, int(time.time() * 1000)
        parts = chunks(
            self._archive / "events",
            before=before,
            recent_from_ms=now_ms - 1000 * settings.user_ttl_s,
            bought_from_ms=now_ms - 1000 * settings.bought_ttl_s,
            purchases=settings.purchase_types,
        )
        for chunk in parts:
            for start in range(0, len(chunk.users), STEP_USERS):
                told["events"] += self._put_some_back(chunk.users[start : start + STEP_USERS])
                if not self._hold():
                    return
                yield
            reached: dict[Any, Any] = {"before": chunk.reached, **told}
            self._client.hset(self._keys.returned, mapping=reached)
            self._client.expire(self._keys.returned, PROGRESS_S)
            if not self._hold():
                return
            yield

    def _put_some_back(self, users: Sequence[Sequence[Archived]]) -> int:
        """Put the events of some users back, but for what they asked to be forgotten; how many."""
        gone = forgotten(self._archive) or {}
        back = 0
        for events in users:
            theirs = [one for one in events if one.arrived_ms > gone.get(one.event.user_id, -1)]
            back += self._users.put_back(theirs)
        if not self._hold():  # emptied once more, of what was said of deletions meanwhile, too: then the disk knows
            late = forgotten(self._archive) or {}
            for user_id in {one.event.user_id for events in users for one in events[:1]}:
                if late.get(user_id, -1) > gone.get(user_id, -1):
                    self._users.forget(user_id)
        return back

    def _reached(self, arms: int) -> tuple[str, int, int]:
        """How far whoever began this has come: the part, events, arms."""
        found = cast("dict[bytes, bytes]", self._client.hgetall(self._keys.returned))
        before, events, known = (found.get(name, b"") for name in (b"before", b"events", b"arms"))
        return before.decode(), int(events or 0), arms + int(known or 0)

    def _hold(self, seconds: float | None = None) -> bool:
        """Show life; whether it still is this worker's to do."""
        ms = int((LEASE_S if seconds is None else seconds) * 1000)
        return bool(self._client.eval(HOLD, 1, self._keys.returning, self._token, str(ms)))
