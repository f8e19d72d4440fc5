"""A Redis that comes back with nothing in it gets its version back.

Every worker notes which version Redis names, and where the bundle of it lies, also in its state folder. Where Redis
answers but has named none for a few seconds, and nobody publishes, one worker of all has that version published again:
by `recsys publish --if-none`, in a process of its own that gives way to answers. A worker that never saw this Redis
name a version does nothing, as a service may answer from its bundle alone.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import orjson
import structlog

from features.errors import InputError
from recsys.bundle_format import read_manifest
from recsys.run_folder import write_atomically
from serving.connection import many_async
from serving.live import passed
from serving.publish_lock import HOLD, holder
from serving.settings import Settings, masked
from serving.store import Store, StoreDownError, StoreRefusedError
from serving.telemetry import Telemetry
from serving.watcher import Watcher

log = structlog.get_logger()

ABSENT_S = 3.0
"""Redis has lost its version when it answered for so long without naming one."""
LEASE_S = 15.0
"""A worker that has started a publish and shows no life for so long has died, and another may begin."""
WATCH_S = 0.5
"""Seconds between two looks at the publish that was started."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0
"""Before a publish that failed is tried again; twice as long each time."""
PATIENCE_S = 5.0
"""A publish that is asked to stop may take so long to."""
NICENESS = 10
"""Of a publish: it gives way to answers, and still gets on where these keep all cores busy."""


@dataclass(frozen=True)
class Noted:
    """The version that Redis named last.

    Args:
        redis: which Redis, without its password: another one may never have had a version.
        version: its name.
        bundle: folder of its bundle; None where this worker does not have it open.
    """

    redis: str
    version: str
    bundle: Path | None


class Restorer:
    """One worker's part in it.

    Args:
        store: Redis.
        watcher: knows the open bundle.
        settings: of the worker; `restore` turns it off.
        telemetry: counts publishes started, done and failed.
    """

    def __init__(self, store: Store, watcher: Watcher, settings: Settings, telemetry: Telemetry) -> None:
        self._store = store
        self._watcher = watcher
        self._settings = settings
        self._telemetry = telemetry
        self._url = "" if settings.redis_url is None else settings.redis_url.get_secret_value()
        self._file = settings.home / "published.json"
        self._token = secrets.token_hex(8)
        self._noted: Noted | None = None
        self._absent_since: float | None = None
        self._pause_s, self._again_at = FIRST_PAUSE_S, 0.0

    async def run(self, closing: asyncio.Event) -> None:
        """Look again and again until `closing` is set."""
        if not (self._settings.restore and self._store.configured):
            return
        self._noted = await asyncio.to_thread(self._read)
        while not await passed(closing, self._settings.poll_s):
            try:
                if not self._store.up:
                    raise StoreDownError("redis is not to be asked now")
                await self._look(closing)
            except StoreDownError:
                self._absent_since = None
            except Exception:  # a worker that no longer looks would leave it at that for ever
                self._telemetry.background_failures.inc()
                log.exception("looking for a lost version failed")

    async def _look(self, closing: asyncio.Event) -> None:
        current, publishing = await self._named()
        if current is not None:
            self._absent_since, self._pause_s, self._again_at = None, FIRST_PAUSE_S, 0.0
            await self._note(current.decode())
            return
        if publishing is not None or self._noted is None:
            self._absent_since = None
            return
        now = time.monotonic()
        self._absent_since = now if self._absent_since is None else self._absent_since
        if now >= max(self._absent_since + ABSENT_S, self._again_at):
            await self._restore(self._noted, closing)

    async def _named(self) -> list[bytes | None]:
        """The current version, and who is publishing."""
        names = [self._store.keys.current, self._store.keys.publishing]
        return await self._store.asked(lambda client: many_async(client, names))

    async def _note(self, version: str) -> None:
        live = self._watcher.live
        path = live.bundle.path.absolute() if live is not None and live.version == version else None
        noted = Noted(masked(self._url), version, path)
        if noted != self._noted:
            self._noted = noted
            with suppress(OSError):  # a state folder that takes no files: then it is known until the worker ends
                await asyncio.to_thread(self._write, noted)

    async def _restore(self, noted: Noted, closing: asyncio.Event) -> None:
        """Publish a version, unless another worker does."""
        path = await asyncio.to_thread(self._bundle_of, noted)
        if path is None:
            self._failed(noted.version, "no bundle of this version is here")
            return
        try:
            if not await self._take():
                return
        except StoreRefusedError as error:
            self._failed(noted.version, str(error))
            return
        if await self._named() != [None, None]:  # whoever had the lease before is done, or somebody publishes
            await self._hold(0)
            return
        self._telemetry.restores.labels("started").inc()
        log.warning("redis has lost its version, publishing it again", version=noted.version, bundle=str(path))
        began = time.monotonic()
        why = await self._publish(path, closing)
        if closing.is_set():
            log.info("publishing a lost version again goes on after this worker", version=noted.version)
        elif why is None:
            self._telemetry.restores.labels("done").inc()
            log.info("redis has a version again", version=noted.version, seconds=round(time.monotonic() - began, 1))
        else:
            self._failed(noted.version, why)
        await self._hold(0 if why is None or closing.is_set() else self._again_at - time.monotonic())

    def _failed(self, version: str, why: str) -> None:
        self._telemetry.restores.labels("failed").inc()
        log.error("a lost version is not published again", version=version, error=why, again_in_s=self._pause_s)
        self._again_at = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    async def _take(self) -> bool:
        """Take the lease; whether it was free."""
        key, ms = self._store.keys.restoring, int(LEASE_S * 1000)
        return bool(await self._store.asked(lambda client: client.set(key, self._token, nx=True, px=ms)))

    async def _hold(self, seconds: float) -> bool:
        """Keep the lease for so long more; whether it still was this worker's."""
        key, ms = self._store.keys.restoring, str(max(0, int(seconds * 1000)))
        return bool(await self._store.asked(lambda client: cast("Any", client.eval(HOLD, 1, key, self._token, ms))))

    async def _publish(self, path: Path, closing: asyncio.Event) -> str | None:
        """Run the publish to its end; None, or why it failed."""
        with tempfile.TemporaryFile() as said:
            process = await asyncio.to_thread(self._start, path, said)
            try:
                while process.poll() is None:
                    if await passed(closing, WATCH_S):
                        break
                    with suppress(StoreDownError):
                        if not await self._hold(LEASE_S):  # lost with all else once more
                            await self._take()
            finally:
                await asyncio.to_thread(_end, process)
            if process.returncode == 0:
                return None
            await self._let_go(process.pid)
            said.seek(0)
            told = " ".join(said.read().decode(errors="replace").split())
            return f"exit code {process.returncode}: {told.rpartition('error: ')[2][-500:]}"

    async def _let_go(self, pid: int) -> None:
        """Take from a process that has ended the lock of a publish, which it holds yet where it was killed."""
        key = self._store.keys.publishing
        with suppress(StoreDownError):
            whose = await self._store.asked(lambda client: cast("Any", client.get(key)))
            if whose is not None and whose.startswith(holder(pid).encode()):
                await self._store.asked(lambda client: cast("Any", client.eval(HOLD, 1, key, whose, "0")))

    def _start(self, path: Path, said: IO[bytes]) -> subprocess.Popen[bytes]:
        settings = self._settings
        command = [sys.executable, "-m", "recsys", "publish", str(path), "--if-none", "--processes", "1"]
        if settings.vectors == "redis":
            command.append("--vectors")
        own = {"REDIS_URL": self._url, "STATE_DIR": str(settings.state_dir), "TENANT": settings.tenant}
        if settings.memory_budget is not None:
            own["MEMORY_BUDGET"] = str(settings.memory_budget)
        environment = os.environ | {f"RECSYS_{name}": value for name, value in own.items()}
        process = subprocess.Popen(  # noqa: S603 - this program; the address, which may hold a password, is no argument
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said
        )
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
        return process

    def _bundle_of(self, noted: Noted) -> Path | None:
        """Where a bundle of the version lies: where it was, where the open one is, or where the settings say."""
        live = self._watcher.live
        for path in (noted.bundle, None if live is None else live.bundle.path, self._settings.bundle):
            with suppress(InputError, OSError):
                if path is not None and read_manifest(path).version == noted.version:
                    return path
        return None

    def _read(self) -> Noted | None:
        """What this worker, or the one before it, noted of this Redis."""
        try:
            known = orjson.loads(self._file.read_bytes())
            noted = Noted(known["redis"], known["version"], known["bundle"] and Path(known["bundle"]))
        except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
            return None
        return noted if noted.redis == masked(self._url) else None

    def _write(self, noted: Noted) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        told = {"redis": noted.redis, "version": noted.version, "bundle": noted.bundle and str(noted.bundle)}
        write_atomically(self._file, orjson.dumps(told))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a publish as Ctrl-C does, so that it lets go of its lock; at once if it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
