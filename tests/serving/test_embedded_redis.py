from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from features.errors import InputError
from serving.embedded_redis import EmbeddedRedis


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_data_outlives_the_server_and_the_server_ends_with_its_context(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server:
        url, pid = server.url, server.pid
        with redis.Redis.from_url(url) as client:
            client.set("kept", "yes")
    assert not alive(pid)
    with EmbeddedRedis(tmp_path / "redis") as server, redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"yes"
        assert server.url == url


def test_a_running_server_is_used_and_left_running(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as first:
        with EmbeddedRedis(tmp_path / "redis") as second:
            assert second.pid == first.pid
        assert alive(first.pid)
        with redis.Redis.from_url(first.url) as client:
            assert client.ping()


def test_nobody_gets_in_without_the_password_and_it_is_kept_private(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server:
        socket = str(tmp_path / "redis" / "redis.sock")
        stranger = redis.Redis(unix_socket_path=socket, retry=Retry(NoBackoff(), 0))
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        for name in ("password", "address.json"):
            assert stat.S_IMODE((tmp_path / "redis" / name).stat().st_mode) == 0o600
        with redis.Redis.from_url(server.url) as client:
            assert client.config_get("port")["port"] == "0"  # no network port at all
        shown = subprocess.run(["ps", "-o", "args=", "-p", str(server.pid)], capture_output=True, text=True, check=True)
        assert (tmp_path / "redis" / "password").read_text() not in shown.stdout


def test_a_server_whose_starter_was_killed_is_adopted_and_stopped(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from serving.embedded_redis import EmbeddedRedis\n"
        "EmbeddedRedis(Path(sys.argv[1])).__enter__()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "redis")], check=False, timeout=60)
    with EmbeddedRedis(tmp_path / "redis") as server:
        pid = server.pid
        assert alive(pid)
    assert not alive(pid)


def test_an_address_left_behind_by_a_killed_server_does_no_harm(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("kept", "yes")
        os.kill(server.pid, signal.SIGKILL)
    (tmp_path / "redis" / "address.json").write_text(
        '{"socket": "/nowhere", "password": "x", "pid": 1, "owner_pid": 1}'
    )
    with EmbeddedRedis(tmp_path / "redis") as server, redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"yes"


def test_a_supervised_server_is_started_again_at_the_same_address(tmp_path: Path, eventually: Any) -> None:
    with EmbeddedRedis(tmp_path / "redis", supervise=True) as server:
        url, pid = server.url, server.pid

        def answers() -> bool:
            try:
                with redis.Redis.from_url(url) as client:
                    return bool(client.ping())
            except redis.RedisError:
                return False

        os.kill(pid, signal.SIGKILL)
        eventually(lambda: answers() and (tmp_path / "redis" / "address.json").exists())
        assert server.url == url
        assert server.pid != pid
    assert not answers()


def test_a_folder_with_a_path_too_long_for_a_socket_works(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120) / "redis"
    with EmbeddedRedis(folder) as server, redis.Redis.from_url(server.url) as client:
        assert client.ping()
        assert server.url.startswith("unix://")
        assert tempfile.gettempdir() in server.url


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense")
    with pytest.raises(InputError, match=r"the embedded Redis did not start on .*: .*AOF|manifest"):
        EmbeddedRedis(tmp_path).__enter__()
