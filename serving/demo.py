"""What `recsys demo` keeps between two starts, and how it waits for a service it has started.

A demo's folder holds the synthetic shop (if no other was named), everything `recsys fit` makes, and `demo.json`: what
the last complete run was made of. Starting the trainer only to learn that nothing changed costs seconds, so the demo
compares names, sizes and times of the shop's files itself.
"""

from __future__ import annotations

import errno
import hashlib
import json
import socket
import subprocess
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from importlib.metadata import version
from pathlib import Path
from typing import Any

from features.errors import InputError
from recsys.bundle import Bundle
from recsys.run_folder import RunFolder, write_atomically

MAX_PORT_STEPS = 50


@dataclass(frozen=True)
class DemoFolder:
    """One shop's folder below the demo's work folder.

    Args:
        path: the folder; created by `record`.
        shop: the shop it is made of; `path / "shop"` for the synthetic one.
    """

    path: Path
    shop: Path

    @classmethod
    def of_shop(cls, work: Path, shop: Path) -> DemoFolder:
        """The folder of a shop that the user named; two shops of the same name get two folders."""
        digest = hashlib.sha256(str(shop.resolve()).encode()).hexdigest()[:8]
        return cls(work / f"{shop.resolve().name}-{digest}", shop)

    @classmethod
    def synthetic(cls, work: Path, *, items: int, seed: int) -> DemoFolder:
        """The folder of the synthetic shop of one size and seed."""
        path = work / f"synthetic-{items}-seed{seed}"
        return cls(path, path / "shop")

    @property
    def run(self) -> RunFolder:
        """Where `recsys fit` leaves the bundle, the evaluation and the report."""
        return RunFolder(self.path)

    @property
    def service_log(self) -> Path:
        """What the service wrote while it ran."""
        return self.path / "serve.log"

    @property
    def _record(self) -> Path:
        return self.path / "demo.json"

    def is_made(self, step: str, arguments: dict[str, Any]) -> bool:
        """True where a step was completed with these arguments and the shop's files are as it left or read them."""
        return bool(self._steps().get(step) == self._state(arguments))

    def why_no_bundle(self) -> str | None:
        """Why the bundle made earlier cannot be served: absent, broken, or of another format; None where it can."""
        try:
            Bundle.open(self.run.bundle)
        except InputError as error:
            return str(error)
        return None

    def record(self, step: str, arguments: dict[str, Any]) -> None:
        """Note that a step was completed, for `is_made` at the next start."""
        self._write({**self._steps(), step: self._state(arguments)})

    def forget(self, step: str) -> None:
        """Note that a step is about to be done anew: interrupted, it counts as not made."""
        self._write({name: state for name, state in self._steps().items() if name != step})

    def _steps(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._record.read_bytes()))
        except (OSError, ValueError, TypeError):
            return {}

    def _write(self, steps: dict[str, Any]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(self._record, json.dumps(steps, indent=1).encode())

    def _state(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"arguments": arguments, "files": signature(self.shop), "version": version("recsys")}


def signature(shop: Path) -> str:
    """Digest of names, sizes and modification times of all files below a folder; the digest of nothing if absent."""
    digest = hashlib.sha256()
    for file in sorted(path for path in shop.rglob("*") if path.is_file()):
        status = file.stat()
        digest.update(f"{file.relative_to(shop)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def free_port(host: str, wanted: int) -> int:
    """The wanted port, or the next one above it that nobody listens on.

    Args:
        host: address to listen on.
        wanted: 1 to 65535, or 0 for any free one.

    Raises:
        InputError: the address is none of this machine's, or no port nearby is free.
    """
    last = wanted if wanted == 0 else min(wanted + MAX_PORT_STEPS, 65535)
    reason = ""
    for port in range(wanted, last + 1):
        try:
            return listenable(host, port)
        except OSError as error:
            reason = error.strerror or str(error)
    raise InputError(f"no port between {wanted} and {last} can be listened on at {host}: {reason}")


def listenable(host: str, port: int) -> int:
    """The port, if it can be listened on; a free one for 0.

    Raises:
        InputError: the address is none of this machine's.
        OSError: another process listens there, or this user may not.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                raise InputError(
                    f"--host must be an address of this machine, got {host!r}: {error.strerror}"
                ) from error
            raise
        return int(probe.getsockname()[1])


def reachable_host(host: str) -> str:
    """The name under which this machine reaches a service that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound


def base_url(host: str, port: int) -> str:
    """The address to open in a browser on this machine."""
    name = reachable_host(host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def get(host: str, port: int, path: str, *, timeout_s: float = 10.0) -> tuple[int, str, bytes]:
    """One GET; status, content type and body.

    Raises:
        OSError: nobody answers there.
    """
    connection = HTTPConnection(reachable_host(host), port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.getheader("content-type", ""), response.read()
    except HTTPException as error:
        raise ConnectionError(f"{path} was answered with something that is not HTTP: {error!r}") from error
    finally:
        connection.close()


def wait_until_ready(process: subprocess.Popen[bytes], host: str, port: int, *, log: Path, timeout_s: float) -> None:
    """Return once the service says it is ready.

    Raises:
        InputError: it ended or took longer than `timeout_s`; the message holds the end of its log.
    """
    deadline = time.monotonic() + timeout_s
    while process.poll() is None:
        try:
            if get(host, port, "/ready", timeout_s=2.0)[0] == 200:
                return
        except OSError:
            pass  # not listening yet
        if time.monotonic() > deadline:
            raise InputError(f"the service was not ready within {timeout_s:.0f} s; {_end_of(log)}")
        time.sleep(0.05)
    raise InputError(f"the service ended with exit code {process.returncode} before it was ready; {_end_of(log)}")


def verify(host: str, port: int) -> None:
    """Look at the storefront and a stranger's feed as a visitor would.

    Raises:
        InputError: one of them does not answer as it must.
    """
    for path, kind in (("/", "text/html"), ("/static/storefront.js", "javascript")):
        status, content_type, body = get(host, port, path)
        if status != 200 or kind not in content_type or not body:
            raise InputError(f"the storefront must answer {path} with {kind}, got {status} {content_type}")
    status, _, body = get(host, port, "/v1/users/demo-check/feed?k=4")
    if status != 200 or not json.loads(body)["recommendations"]:
        raise InputError(f"a stranger's feed must answer 200 and not be empty, got {status} {body[:200]!r}")


def _end_of(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()[-12:]
    except OSError:
        lines = []
    return f"the end of {log}:\n" + "\n".join(lines) if lines else f"it wrote nothing to {log}"
