"""A worker's part in noting deletions: on disk before one is carried out, so that nobody comes back from the archive.

Users come back from an archive in which deletions are noted (`serving/history/returner.py`), whoever notes them. Redis
says that they are, and a worker that was not told of the archive (`RECSYS_ARCHIVE` set for some only) refuses to delete
a user, who would come back. While a Redis that was emptied says nothing, it goes by what it knew.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from serving.history.forgotten import Forgotten
from serving.problems import ProblemError

log = structlog.get_logger()

NOTED = "noted"
"""Field of `Keys.history`: "1" where deletions are noted in the archive that users come back from, else "0"."""


class Deletions:
    """One worker's notes.

    Args:
        archive: the folder that `recsys log collect` fills; None: this worker was told of none.

    Attributes:
        noted: whether deletions are noted, by whomever, as far as this worker knows.

    Raises:
        InputError: the folder cannot be written to.
    """

    def __init__(self, archive: Path | None) -> None:
        self._notes = None if archive is None else Forgotten(archive)
        self.noted = self._notes is not None

    @property
    def here(self) -> bool:
        """Whether this worker notes them."""
        return self._notes is not None

    def hear(self, said: bytes | None) -> None:
        """Take in what Redis says of it, None where that is nothing."""
        noted = self.here or (self.noted if said is None else said == b"1")
        if noted and not self.noted:
            log.error(
                "deletions of users are refused", why="they are noted in an archive, and RECSYS_ARCHIVE is not set"
            )
        self.noted = noted

    async def note(self, user_id: str, until_ms: int) -> None:
        """Note a deletion, where deletions are noted.

        Args:
            user_id: who is to be forgotten.
            until_ms: with all that was heard of them up to here, by Redis' clock.

        Raises:
            ProblemError: 503, it cannot be noted.
        """
        if self._notes is None:
            if self.noted:
                raise _refused(
                    "a deletion must be noted in the archive, which this worker was not told of: set "
                    "RECSYS_ARCHIVE for all workers alike"
                )
            return
        try:
            await asyncio.to_thread(self._notes.note, user_id, until_ms)
        except OSError as error:
            raise _refused(
                f"a deletion must be noted on disk (RECSYS_ARCHIVE), which fails: {error.strerror}"
            ) from error


def _refused(rule: str) -> ProblemError:
    return ProblemError(503, "archive-down", rule, headers={"retry-after": "5"})
