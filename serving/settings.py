"""What the service is told by its environment, or by a file: every setting, its default and its meaning."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from features.errors import InputError
from serving.connection import check_url
from serving.events import type_rule
from serving.settings_file import FileSettings

UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


def parse_bytes(text: str) -> int:
    """A size in bytes from "1500000", "512MB", "2GiB".

    Raises:
        InputError: the text is no size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]i?)?b?\s*", text.lower())
    if found is None:
        raise InputError(f"a size must read like 512MB, 2GiB or 1500000, got {text!r}")
    return int(float(found[1]) * UNITS[found[2] or ""])


def masked(url: str) -> str:
    """A Redis URL for logs and messages: its password and every value of its query, where one may stand, are hidden."""
    scheme, _, rest = url.partition("://")
    address, mark, query = rest.partition("?")
    if "@" in query:  # a password with a question mark, or a query with an at sign: which of them, nobody can tell
        return f"{scheme}://***"
    address = re.sub(r"^([^:@]*):.*@", r"\1:***@", address)
    return f"{scheme}://{address}{mark}{'&'.join(_masked_pair(pair) for pair in query.split('&'))}"


def _masked_pair(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    if equals:
        return f"{name}=***"
    return "***" if pair else ""


def _bytes(value: object) -> object:
    return parse_bytes(value) if isinstance(value, str) else value


def _event_type(value: str) -> str:
    if (rule := type_rule(value)) is not None:
        raise ValueError(f"{rule}, or no event is of it; got {value!r}")
    return value


def _redis_url(value: SecretStr) -> SecretStr:
    check_url(value.get_secret_value())
    return value


class Settings(BaseSettings):
    """Configuration of one service: `RECSYS_NAME` in the environment, else `name` in the file of `RECSYS_CONFIG`.

    Unknown variables are ignored, unknown names in a file and wrong values are refused at start.
    """

    model_config = SettingsConfigDict(
        env_prefix="RECSYS_",
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    bundle: Path | None = None
    """Folder of the bundle to answer from until Redis names another version, and whenever Redis is gone."""
    shop: Path | None = None
    """Shop folder whose `images/` or `images.zip` the picture route serves; none: no pictures."""
    rules: Path | None = None
    """Rule set (TOML or JSON) to go by until one is put into Redis, or where there is no Redis."""
    experiments: Path | None = None
    """Experiments (TOML or JSON), likewise."""
    purchase_types: tuple[Annotated[str, AfterValidator(_event_type)], ...] = ("purchase", "buy", "order")
    """Types of events that mean buying; every other one is a look."""
    bought_ttl_s: PositiveInt = 730 * 86_400
    """What a user bought is remembered for so long after the last purchase."""
    guard_every_s: PositiveFloat = 10.0
    """Seconds between two looks at the guard-rails of experiments."""
    probe_every_s: PositiveFloat = 10.0
    """Seconds between two looks at the index's recall and at how far the streams are behind."""
    appeal_every_s: PositiveFloat = 5.0
    """Seconds between two looks at how items do where they are shown (`recsys log attribute --counters`)."""
    redis_url: Annotated[
        SecretStr | None,
        AfterValidator(lambda value: value if value is None else _redis_url(value)),
        Field(validation_alias=AliasChoices("RECSYS_REDIS_URL", "REDIS_URL")),
    ] = None
    """Redis or Valkey to use: one server (redis://, rediss://, unix://), Sentinels or a cluster, whose addresses
    `serving/connection.py` spells; none: the commands start the embedded server."""
    state_dir: Path = Path(".recsys")
    """Where the embedded Redis keeps its data, and a worker what it read last: rules, experiments, changed items."""
    tenants: Path | None = None
    """File of tenants (TOML): several shops in one service, each with settings of its own; see docs/operations.md."""
    tenant: Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9-]{0,31})?$")] = ""
    """Whose shop this is, where several share one Redis: all its keys lie under a prefix of its own."""
    redis_timeout_s: PositiveFloat = 0.1
    """Longest wait for Redis within a request; then the bundle answers."""
    redis_pool_size: PositiveInt = 64
    """Connections a worker holds at most, beside a few that only read."""
    breaker_failures: PositiveInt = 3
    """So many failed calls in a row stop the worker asking Redis until a probe succeeds."""
    poll_s: PositiveFloat = 1.0
    """Seconds between two looks at the current version; also the pause between two probes of a lost Redis."""
    recent_cap: PositiveInt = 200
    """Events kept per user."""
    seen_cap: PositiveInt = 1000
    """Items per user that are not shown again; the oldest are forgotten first."""
    user_ttl_s: PositiveInt = 30 * 86_400
    """A user's live state is forgotten after so long without an event."""
    event_id_ttl_s: PositiveInt = 86_400
    """An event sent twice within this time is applied once."""
    erase_every_s: PositiveFloat = 5.0
    """Seconds between two looks for users whose entries are to be deleted from the streams."""
    stream_cap: PositiveInt = 1_000_000
    """Entries kept, roughly, in each of the event and impression streams."""
    kept_items_bytes: Annotated[NonNegativeInt, BeforeValidator(_bytes)] = 64_000_000
    """Memory of a worker for items as they are shown, so that those asked for often are not fetched again."""
    kept_pictures_bytes: Annotated[NonNegativeInt, BeforeValidator(_bytes)] = 1_000_000_000
    """Disk for uploaded pictures in the state folder, from where they are sent, and put back should Redis lose them."""
    kept_answers_bytes: Annotated[NonNegativeInt, BeforeValidator(_bytes)] = 64_000_000
    """Memory of a worker for lists of similar items and feeds as they were sent; Redis is asked each time whether they
    still hold."""
    memory_users: PositiveInt = 10_000
    """Users whose latest state a worker remembers for the time Redis is away."""
    memory_users_bytes: Annotated[PositiveInt | None, BeforeValidator(_bytes)] = None
    """Memory that these may take of a worker, about; whoever was asked for longest ago goes first. None: 30 KB for each
    of `memory_users`, so that only users with a long history can pass it."""
    pending_cap: PositiveInt = 50_000
    """Events a worker holds while Redis is away, to be applied when it is back; then the oldest are dropped."""
    impressions_cap: PositiveInt = 10_000
    """Answers a worker holds before they are written to the impression stream."""
    max_body_bytes: Annotated[PositiveInt, BeforeValidator(_bytes)] = 1_000_000
    """Largest request body."""
    keys: Path | None = None
    """File of API keys (`recsys keys create`); none: whoever reaches the service may ask for everything."""
    cors_origins: tuple[str, ...] = ()
    """Origins of other sites whose pages may ask, such as ["https://shop.example"], or ["*"] for all."""
    memory_budget: Annotated[PositiveInt | None, BeforeValidator(_bytes)] = None
    """Largest Redis memory a publish may lead to ("2GB"); none: the server's own maxmemory, if it has one."""
    vectors: Literal["process", "redis"] = "process"
    """Where feeds look for the items nearest to a user: in the worker, or in Redis (8 or later) where the version was
    published with --vectors."""
    archive: Path | None = None
    """Folder that `recsys log collect` fills, to note deletions of users in: then `collect` gives a Redis that has lost
    them the others' recent events back."""
    restore: bool = True
    """What Redis has lost is put back by the workers that knew it: the version, rules, experiments, changed items; and
    by `recsys log collect`: users' recent events and counters."""
    thread_above_items: int = 200_000
    """Catalogs above this size are ranked in a thread, so that one feed does not hold up the others; below, handing it
    over would take a good part of the time that it saves."""
    search_max_body_bytes: Annotated[PositiveInt, BeforeValidator(_bytes)] = 12_000_000
    """Largest body of a search, which may hold pictures."""
    search_max_pixels: PositiveInt = 20_000_000
    """A query's picture with more pixels is refused before it is unpacked."""
    search_threads: PositiveInt = 1
    """Searches a worker computes at once, in threads of their own, so that other routes are not held up."""
    search_waiting: PositiveInt = 64
    """Searches that may wait for a thread; one more is told to come back."""
    search_warm: bool = True
    """Open the encoders right after the start, beside requests; otherwise the first query and the first new item wait
    for them, a second or so."""
    traces_to: Annotated[str | None, Field(pattern=r"^https?://")] = None
    """Address that takes traces by OTLP over HTTP, such as http://collector:4318/v1/traces; none: nothing is traced."""
    traces_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of requests that begin a trace; one that arrives with a `traceparent` goes by that."""
    log_requests: bool = True
    """One structured log line a request."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is said in the code goes before the environment, and that before the file."""
        return init_settings, env_settings, FileSettings(settings_cls)

    @property
    def home(self) -> Path:
        """Where this tenant's files lie: the state folder itself where there is one shop."""
        return self.state_dir / "tenants" / self.tenant if self.tenant else self.state_dir

    @classmethod
    def load(cls, **given: object) -> Settings:
        """The environment's settings, with those given in its place.

        Raises:
            InputError: a value cannot be used; the message names the variable and the rule, not the value.
        """
        try:
            return cls(**given)  # type: ignore[arg-type]
        except ValidationError as error:
            said = "; ".join(f"RECSYS_{str(one['loc'][0]).upper()}: {one['msg']}" for one in error.errors())
            raise InputError(said.replace("RECSYS_RECSYS_", "RECSYS_")) from None

    def shown(self) -> dict[str, Any]:
        """The settings for a log line at start, secrets masked."""
        shown: dict[str, Any] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, SecretStr):
                value = masked(value.get_secret_value())
            elif isinstance(value, str) and "://" in value:  # whose address may name a user, too
                value = masked(value)
            shown[name] = str(value) if isinstance(value, Path) else value
        return shown
