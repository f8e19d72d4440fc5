"""Several shops in one service, kept apart.

Every tenant has an application of its own (`create_app`): bundle, version, rules, experiments, memory, limits, metrics,
streams, and keys in Redis under a prefix of its own. Nothing is shared but the process, so nothing of one tenant can be
reached from another's application; all that is decided here is whose application a request goes to:

- the tenant that the request's host belongs to, where one does; its gate then insists on one of its own keys;
- else the tenant that the request's API key belongs to.

Pages, pictures and the preflights of browsers carry no key, so they need a host.
"""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
import structlog
from fastapi import FastAPI
from pydantic import Field, PositiveInt, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from features.errors import InputError
from features.section import Section
from serving.access.gate import presented
from serving.access.keyring import KeyRing, read_keys
from serving.app import create_app
from serving.garbage import tidied
from serving.middleware import Shell
from serving.problems import ProblemError
from serving.settings import Settings
from serving.steady import be_steady
from serving.telemetry import Telemetry, configure_logging

log = structlog.get_logger()

OWN = ("bundle", "shop", "keys", "rules", "experiments", "archive")
"""Settings that are paths and a tenant's own: none may come from the environment, where all would share it."""
SHARED = frozenset({"tenant", "tenants", "state_dir"})
"""Settings that a tenant may not set."""
Host = Annotated[str, Field(pattern=r"^[a-z0-9.-]+$")]


class About(Section):
    """What the file says of a tenant beside its settings."""

    hosts: tuple[Host, ...] = ()
    """Host names whose requests are this tenant's, in lower case and without a port."""
    at_once: PositiveInt = 64
    """Requests under way that a worker takes of this tenant; one more is told to come back."""


@dataclass(frozen=True)
class Tenant:
    """One shop of several."""

    settings: Settings
    about: About


def read_tenants(path: Path, **given: Any) -> dict[str, Tenant]:
    """The tenants of a file: a TOML table a tenant, with its `hosts`, `at_once` and any setting of its own.

    Args:
        path: the file; paths in it start where it lies.
        given: settings of all tenants that stand in place of the environment's.

    Raises:
        InputError: the file cannot be used; the message names the tenant and the rule.
    """
    try:
        tables = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: the file of tenants cannot be read: {error}") from error
    common = Settings.load(**given)
    for name in OWN:
        if getattr(common, name) is not None:
            raise InputError(f"RECSYS_{name.upper()} must not be set for all tenants: each names its own in {path}")
    if not tables:
        raise InputError(f"{path}: there must be a table for each tenant, such as [acme], there is none")
    tenants = {name: _tenant(path, name, table, given) for name, table in tables.items()}
    hosts = Counter(host for tenant in tenants.values() for host in tenant.about.hosts)
    known = Counter(key.sha256 for tenant in tenants.values() for key in read_keys(tenant.settings.keys or path))
    if twice := [host for host, n in hosts.items() if n > 1]:
        raise InputError(f"{path}: a host must belong to one tenant, {twice[0]!r} belongs to several")
    if any(n > 1 for n in known.values()):
        raise InputError(f"{path}: an API key must belong to one tenant, one stands in the files of several")
    return tenants


def _tenant(path: Path, name: str, table: object, given: Mapping[str, Any]) -> Tenant:
    if not isinstance(table, dict):
        raise InputError(f"{path}: {name} must be a table of settings, it is {table!r}")
    own = {field: value for field, value in table.items() if field not in About.model_fields}
    for field in own:
        if field not in Settings.model_fields or field in SHARED:
            raise InputError(f"{path}: [{name}] {field}: no setting that a tenant may have")
    own |= {field: path.parent / str(own[field]) for field in OWN if field in own}
    if "keys" not in own:
        raise InputError(f"{path}: [{name}] keys: a tenant must name its file of API keys")
    try:
        about = TypeAdapter(About).validate_python(
            {field: value for field, value in table.items() if field in About.model_fields}
        )
        return Tenant(Settings.load(**{**given, **own, "tenant": name}), about)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path}: [{name}] {first['loc'][0]}: {first['msg']}, got {first['input']!r}") from None
    except InputError as error:
        raise InputError(f"{path}: [{name}] {error}") from None


class House:
    """The application of one worker that serves several tenants.

    Args:
        tenants: by name.

    Raises:
        InputError: a tenant's settings cannot be used.
    """

    def __init__(self, tenants: Mapping[str, Tenant]) -> None:
        self.apps: dict[str, FastAPI] = {name: create_app(tenant.settings) for name, tenant in tenants.items()}
        self._rings = {name: KeyRing(one.settings.keys) for name, one in tenants.items() if one.settings.keys}
        self._hosts = {host: name for name, tenant in tenants.items() for host in tenant.about.hosts}
        self._at_once = {name: tenant.about.at_once for name, tenant in tenants.items()}
        self._under_way: Counter[str] = Counter()
        self._outside = Starlette(lifespan=self._lifespan)
        self._porch: ASGIApp = Shell(
            _porch(self.apps), telemetry=Telemetry(), max_body_bytes=sys.maxsize, log_requests=True
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to its tenant."""
        if scope["type"] != "http":
            await self._outside(scope, receive, send)
            return
        name = self._tenant_of(Headers(scope=scope))
        if name is None:
            await self._porch(scope, receive, send)
            return
        if self._under_way[name] >= self._at_once[name]:
            busy = ProblemError(
                503, "busy", f"{self._at_once[name]} requests are under way", headers={"retry-after": "1"}
            )
            await busy.response()(scope, receive, send)
            return
        self._under_way[name] += 1
        try:
            with structlog.contextvars.bound_contextvars(tenant=name):
                await self.apps[name](scope, receive, send)
        finally:
            self._under_way[name] -= 1

    def _tenant_of(self, headers: Headers) -> str | None:
        named = self._hosts.get(headers.get("host", "").rpartition("@")[2].partition(":")[0].lower())
        if named is not None:
            return named
        key = presented(headers)
        owners = [name for name, ring in self._rings.items() if ring.find(key) is not None] if key else []
        return owners[0] if len(owners) == 1 else None  # a key put into two files later opens neither shop

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for name, app in self.apps.items():
                with structlog.contextvars.bound_contextvars(tenant=name):  # tasks that start here keep it
                    await stack.enter_async_context(app.router.lifespan_context(app))
            yield


def create_service_from_environment() -> ASGIApp:
    """What a server's worker process runs, once: settings from `RECSYS_*`, logs as JSON lines, one shop or several."""
    configure_logging()
    settings = Settings.load()
    service = create_app(settings) if settings.tenants is None else House(read_tenants(settings.tenants))
    be_steady()
    return tidied(service)


def _porch(apps: Mapping[str, FastAPI]) -> ASGIApp:
    """What is answered to requests of no tenant: whether the service lives and is ready; all else needs a key."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        response: Response
        if scope["path"] == "/health":
            response = Response(b'{"status":"alive"}', media_type="application/json")
        elif scope["path"] == "/ready":
            ready = [app.state.watcher.live is not None for app in apps.values()]
            body = {"ready": all(ready), "tenants": len(ready), "not_ready": ready.count(False)}
            response = Response(orjson.dumps(body), 200 if all(ready) else 503, media_type="application/json")
        else:
            detail = "an API key of a tenant is needed, or the address of one"
            response = ProblemError(401, "no-valid-key", detail, headers={"www-authenticate": "Bearer"}).response()
        await response(scope, receive, send)

    return answer
