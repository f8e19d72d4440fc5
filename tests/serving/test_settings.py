from __future__ import annotations

import re
from pathlib import Path

import pytest

from features.errors import InputError
from serving.settings import Settings, masked, parse_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [("1500000", 1_500_000), ("512MB", 512_000_000), ("2GiB", 2 << 30), ("1.5k", 1500), (" 3 mb ", 3_000_000)],
)
def test_a_size_is_read_with_its_unit(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1", "5 TB", "1e9"])
def test_a_text_that_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="a size must read like"):
        parse_bytes(text)


def test_the_password_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_REDIS_URL", "rediss://app:s3cret-word@db.example:6380/0")
    settings = Settings()
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "rediss://app:s3cret-word@db.example:6380/0"
    assert settings.shown()["redis_url"] == "rediss://app:***@db.example:6380/0"
    assert "s3cret-word" not in repr(settings) + str(settings.shown())


def test_a_password_with_an_at_sign_is_masked_to_its_end() -> None:
    assert masked("redis://:pa@ss@host:1") == "redis://:***@host:1"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://host?password=pw&username=me", "redis://host?password=***&username=***"),
        ("rediss://me:pw@host:6380/0?password=pw=pw&db=1", "rediss://me:***@host:6380/0?password=***&db=***"),
        ("unix:///run/redis.sock?password=p%40w", "unix:///run/redis.sock?password=***"),
        ("redis://host?pw", "redis://host?***"),
        ("redis://host?password=p@w", "redis://***"),
        ("redis://:p?w=w@host", "redis://***"),
        ("redis://[::1]:6379?password=pw", "redis://[::1]:6379?password=***"),
    ],
)
def test_no_secret_of_a_redis_url_is_shown_wherever_it_stands(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_a_password_in_the_query_does_not_reach_the_log() -> None:
    assert "hidden" not in str(Settings(redis_url="redis://host?password=hidden").shown())  # type: ignore[arg-type]


def test_a_password_of_the_collector_of_traces_does_not_reach_the_log() -> None:
    shown = Settings(traces_to="https://me:hidden@collector:4318/v1/traces?token=hidden").shown()
    assert shown["traces_to"] == "https://me:***@collector:4318/v1/traces?token=***"


def test_the_plain_redis_url_variable_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECSYS_REDIS_URL", raising=False)
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    redis_url = Settings().redis_url
    assert redis_url is not None
    assert redis_url.get_secret_value() == "redis://elsewhere"


def test_a_wrong_value_is_refused_at_start_by_the_name_of_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_POLL_S", "-1")
    with pytest.raises(InputError, match="RECSYS_POLL_S: Input should be greater than 0"):
        Settings.load()


def test_a_type_of_purchases_that_no_event_can_be_of_is_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_PURCHASE_TYPES", '["buy", "Purchase"]')
    with pytest.raises(InputError, match=r"RECSYS_PURCHASE_TYPES: .*must be in lower case.*'Purchase'"):
        Settings.load()


def test_a_url_of_another_kind_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_REDIS_URL", "http://user:hidden@host")
    with pytest.raises(InputError, match=r"RECSYS_REDIS_URL: .*must start with one of redis://") as refused:
        Settings.load()
    assert "hidden" not in str(refused.value)


def test_a_file_says_what_the_environment_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RECSYS_REDIS_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "service.toml"
    file.write_text(
        'bundle = "run/bundle"\nstate_dir = "state"\nredis_url = "redis://:s3cret@db"\n'
        'memory_budget = "2GB"\npoll_s = 3\nrecent_cap = 7\ncors_origins = ["https://shop.example"]\n'
    )
    monkeypatch.setenv("RECSYS_CONFIG", str(file))
    monkeypatch.setenv("RECSYS_POLL_S", "4")
    settings = Settings.load(recent_cap=9)
    assert (settings.recent_cap, settings.poll_s, settings.memory_budget) == (9, 4.0, 2_000_000_000)
    assert settings.cors_origins == ("https://shop.example",)
    assert settings.bundle == tmp_path / "run/bundle"  # from where the file lies
    assert settings.state_dir == tmp_path / "state"
    assert settings.shown()["redis_url"] == "redis://:***@db"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pol_s = 3", "service.toml: pol_s: there is no such setting"),
        ("bundle = 5", "RECSYS_BUNDLE: Input is not a valid path"),
        ("poll_s = -3", "RECSYS_POLL_S: Input should be greater than 0"),
        ("poll_s =", "service.toml: the file of settings .* cannot be read"),
    ],
)
def test_a_file_s_mistakes_are_refused_by_name(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "service.toml"
    file.write_text(text)
    monkeypatch.setenv("RECSYS_CONFIG", str(file))
    with pytest.raises(InputError, match=message):
        Settings.load()


def test_the_operations_page_names_every_setting_with_its_default() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", page, flags=re.MULTILINE))
    for name, field in Settings.model_fields.items():
        default = field.default
        told = "" if default in (None, "", ()) else ", ".join(default) if isinstance(default, tuple) else str(default)
        said = rows[name].strip().replace(",", "") if isinstance(default, int | float) else rows[name].strip()
        assert said.casefold() == told.removesuffix(".0").casefold(), name
