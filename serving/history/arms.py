"""What was counted for the arms of experiments: kept in a file of the archive, and added again where Redis has lost it.

What is counted meanwhile stands, so a count is put back by adding to it: once, as the counts themselves are marked in
the same step. Those that carry a mark were not lost.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, cast

import orjson
import structlog
from redis import Redis

from features.errors import InputError
from recsys.experiments import HOLDOUT, Experiments
from recsys.run_folder import write_atomically
from serving.history.mark import Mark
from serving.keys import Keys

log = structlog.get_logger()

FILE = "counters.json"
_KEEP = """
local every = redis.call('HGETALL', KEYS[1])
if #every > 0 then redis.call('HSET', KEYS[1], 'kept', ARGV[1]) end
return every
"""
_LET_GO = "if redis.call('HGET', KEYS[1], 'kept') == ARGV[1] then redis.call('HDEL', KEYS[1], 'kept') end"
_PUT_BACK = """
if redis.call('HSETNX', KEYS[1], 'kept', ARGV[1]) == 0 then return 0 end
for i = 2, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
"""
Counted = dict[str, dict[str, dict[str, dict[str, int]]]]
"""Experiment → arm → "counters" (as the service counts) and "attributed" (click by click) → name → number."""


class ArmCounts:
    """The file.

    Args:
        client: of Redis, answers as bytes.
        keys: of the tenant.
        archive: the folder that it lies in.
    """

    def __init__(self, client: Redis, keys: Keys, archive: Path) -> None:
        self._client = client
        self._keys = keys
        self.path = archive / FILE
        self._keep, self._put_back = client.register_script(_KEEP), client.register_script(_PUT_BACK)
        self._let_go = client.register_script(_LET_GO)

    def keep(self, mark: Mark) -> None:
        """Write what Redis has counted for the arms of now, with what the file says of earlier ones.

        Should Redis have lost it in this very moment, the file stays as it is.

        Args:
            mark: tells so.
        """
        token, found = secrets.token_hex(8), dict[str, Any]()
        arms = self._arms()
        if not arms or not mark.hold():
            return
        for experiment, arm in arms:
            of = {
                what: _numbers(self._keep(keys=[key], args=[token])) for what, key in self._of(experiment, arm).items()
            }
            found.setdefault(experiment, {})[arm] = of
        if not mark.hold():
            for experiment, arm in arms:
                for key in self._of(experiment, arm).values():
                    self._let_go(keys=[key], args=[token])
            return
        before = self.read()
        told = {experiment: {**before.get(experiment, {}), **by_arm} for experiment, by_arm in found.items()}
        write_atomically(self.path, orjson.dumps({**before, **told}, option=orjson.OPT_INDENT_2))

    def put_back(self) -> int:
        """Add what was kept to what Redis has counted since it has lost it; for how many arms."""
        back = set()
        for experiment, by_arm in self.read().items():
            for arm, of in by_arm.items():
                for what, key in self._of(experiment, arm).items():
                    pairs = [part for pair in of.get(what, {}).items() for part in pair]
                    if pairs and self._put_back(keys=[key], args=["back", *pairs]):
                        back.add((experiment, arm))
        return len(back)

    def read(self) -> Counted:
        """What the file says; nothing where there is none.

        Raises:
            InputError: it cannot be read.
        """
        try:
            said = orjson.loads(self.path.read_bytes())
            return {
                str(experiment): {
                    str(arm): {str(what): {str(k): int(n) for k, n in counts.items()} for what, counts in of.items()}
                    for arm, of in by_arm.items()
                }
                for experiment, by_arm in said.items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{self.path} must hold counts of arms as they were written: {error}") from error

    def _of(self, experiment: str, arm: str) -> dict[str, str]:
        """Where the counts of an arm lie."""
        keys = self._keys
        return {"counters": keys.counters(experiment, arm), "attributed": keys.attributed(experiment, arm)}

    def _arms(self) -> list[tuple[str, str]]:
        """The arms of the experiments that hold."""
        key = self._keys.experiments
        active = cast("bytes | None", self._client.hget(key, "active")) or b"0"
        text = cast("bytes | None", self._client.hget(key, f"document:{active.decode()}"))
        if text is None:
            return []
        try:
            experiments = Experiments.read(text, f"experiments {active.decode()}")
        except InputError as error:
            log.error("counts of arms are not kept", error=str(error))
            return []
        held_out = [(HOLDOUT, HOLDOUT)] if experiments.holdout else []
        return held_out + [(one.name, arm.name) for one in experiments.experiments for arm in one.arms]


def _numbers(every: Any) -> dict[str, int]:
    pairs = zip(every[::2], every[1::2], strict=True)
    return {name.decode(): int(n) for name, n in pairs if name != b"kept"}
