"""What `deploy/` names of the program is there: commands, options, settings, folders, ports, routes, times."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from recsys.cli import build_app
from serving.access.gate import need
from serving.commands.serve import GRACE_S
from serving.settings import Settings
from serving.settings_file import VARIABLE

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())


def seconds(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(s|m|h)?", text).groups()  # type: ignore[union-attr]
    return int(number) * {"s": 1, "m": 60, "h": 3600, None: 1}[unit]


@pytest.mark.parametrize(
    "path", [one for one in FILES if one.suffix in {".yaml", ".json", ".toml"}], ids=lambda one: one.name
)
def test_every_file_can_be_read_as_what_its_name_says(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".yaml":
        assert all(yaml.safe_load_all(text))
    elif path.suffix == ".json":
        assert json.loads(text)


def test_every_command_takes_the_words_it_is_given(deployed: Any) -> None:
    program: Any = typer.main.get_command(build_app())
    started = deployed.started()
    assert {one.words[0] for one in started} == {"serve", "log", "fit", "publish", "keys"}
    for one in started:
        command, words, context = program, list(one.words), None
        while hasattr(command, "commands"):
            assert words[0] in command.commands, f"{one.place}: no command {words[0]}"
            command = command.commands[words.pop(0)]
        given = {} if command.name != "list" else {"file": "keys.json"}  # by RECSYS_KEYS
        words += [part for name, value in given.items() for part in (f"--{name}", value)]
        context = command.make_context(command.name, words)  # parses all, and checks values
        assert context is not None


def test_every_setting_is_one(deployed: Any) -> None:
    known = {f"RECSYS_{name.upper()}" for name in Settings.model_fields} | {VARIABLE}
    named = {path.name: set(re.findall(r"\bRECSYS_\w+", path.read_text(encoding="utf-8"))) for path in FILES}
    assert {name: found - known for name, found in named.items() if found - known} == {}
    assert set().union(*named.values()) >= {
        "RECSYS_REDIS_URL",
        "RECSYS_KEYS",
        "RECSYS_BUNDLE",
        "RECSYS_STATE_DIR",
        VARIABLE,
    }
    for one in deployed.started():
        given = {
            name.removeprefix("RECSYS_").lower(): text
            for name, text in one.environment.items()
            if name.startswith("RECSYS_") and name != VARIABLE
        }
        given.pop("redis_url", None)  # its password is the operator's
        assert Settings.load(**given)


def test_the_file_of_settings_beside_the_units_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(DEPLOY / "systemd" / "service.toml"))
    for name in ("REDIS_URL", "RECSYS_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    settings = Settings.load()
    assert settings.memory_budget == 2_000_000_000
    assert settings.keys == Path("/var/lib/recsys/keys.json")
    assert settings.redis_url is not None


def test_every_folder_that_a_container_is_told_of_is_mounted_and_can_be_written_to_where_it_must(deployed: Any) -> None:
    looked_at = 0
    for one in deployed.started():
        if one.mounts is None:
            continue
        paths = [word for word in [*one.words, *one.environment.values()] if word.startswith("/")]
        for path in paths:
            assert any(path == mount or path.startswith(f"{mount}/") for mount in one.mounts), f"{one.place}: {path}"
        written = {"fit": "/runs", "publish": "/state", "serve": "/state", "keys": "/keys"}.get(one.words[0])
        written = "/log" if one.words[:2] == ["log", "collect"] else written
        if written is not None:
            assert one.mounts[written], f"{one.place}: {written} cannot be written to"
            looked_at += 1
        if one.place.startswith("kubernetes"):
            assert one.mounts["/tmp"], one.place  # the root is read-only  # noqa: S108
    assert looked_at == 9


def test_who_publishes_and_who_serves_see_one_state_folder_at_one_path(deployed: Any) -> None:
    for kind in ("compose", "kubernetes"):
        who = [one for one in deployed.started() if one.place.startswith(kind) and one.words[0] in {"serve", "publish"}]
        assert len(who) == 2
        assert {one.environment.get("RECSYS_STATE_DIR", "/state") for one in who} == {"/state"}  # the image's default
    homes = re.findall(r"RECSYS_STATE_DIR=(\S+)", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"))
    assert homes == ["/state"]


def test_a_service_that_is_told_to_stop_has_longer_than_its_requests_are_given(deployed: Any) -> None:
    pod = deployed.pods()["recsys"]
    wait = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert wait == ["sleep", "5"]
    assert pod["terminationGracePeriodSeconds"] >= 5 + GRACE_S + 10
    assert seconds(deployed.compose["services"]["service"]["stop_grace_period"]) >= GRACE_S + 10
    unit = deployed.units["recsys-serve.service"]
    assert seconds(re.search(r"^TimeoutStopSec=(.+)$", unit, re.MULTILINE)[1]) >= GRACE_S + 10  # type: ignore[index]
    assert f"for {GRACE_S} s at most" in unit


def test_probes_ask_routes_that_need_no_key_on_the_port_that_is_listened_on(deployed: Any) -> None:
    container = deployed.pods()["recsys"]["containers"][0]
    words = container["args"]
    assert [one["containerPort"] for one in container["ports"]] == [int(words[words.index("--port") + 1])] == [8000]
    probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")}
    assert {kind: probe["path"] for kind, probe in probes.items()} == {
        "startup": "/ready",
        "readiness": "/ready",
        "liveness": "/health",
    }
    assert {probe["port"] for probe in probes.values()} == {container["ports"][0]["name"]}
    image = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"http://127\.0\.0\.1:(\d+)(/\w+)", image) == [("8000", "/ready")]
    assert re.findall(r"^EXPOSE (\d+)", image, re.MULTILINE) == ["8000"]
    assert need("GET", "/ready") == need("GET", "/health") == need("GET", "/widget.js") == "public"
    scrape = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text(encoding="utf-8"))["scrape_configs"][
        0
    ]
    assert scrape["static_configs"] == [{"targets": ["service:8000"]}]
    assert need("GET", scrape.get("metrics_path", "/metrics")) == "metrics"


def test_the_proxy_keeps_to_the_limits_of_bodies_and_to_the_routes_of_the_service() -> None:
    text = (DEPLOY / "proxy" / "nginx.conf").read_text(encoding="utf-8")
    defaults = Settings.model_fields
    limits = re.findall(r"client_max_body_size (\d+);\s*# RECSYS_(\w+)", text)
    assert [(int(limit), name) for limit, name in limits] == [
        (defaults["max_body_bytes"].default, "MAX_BODY_BYTES"),
        (defaults["search_max_body_bytes"].default, "SEARCH_MAX_BODY_BYTES"),
    ]
    larger = re.search(r"location ~ (\S+) \{ +# bodies", text)
    assert larger is not None
    taken = [
        path
        for path in ("/v1/search", "/v1/items", "/v1/items/x", "/v1/batch", "/v1/itemsx", "/v1/searches")
        if re.search(larger[1], path)
    ]
    assert taken == ["/v1/search", "/v1/items", "/v1/items/x"]


def test_everything_a_manifest_refers_to_is_in_another(deployed: Any) -> None:
    kustomization = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text(encoding="utf-8"))
    of_kind: dict[str, dict[str, Any]] = {}
    for one in deployed.manifests:
        of_kind.setdefault(one["kind"], {})[one["metadata"]["name"]] = one
    claims, secrets, images = set(), set(), set()
    for pod in deployed.pods().values():
        volumes = {one["name"]: one for one in pod["volumes"]}
        claims |= {
            one["persistentVolumeClaim"]["claimName"] for one in volumes.values() if "persistentVolumeClaim" in one
        }
        secrets |= {one["secret"]["secretName"] for one in volumes.values() if "secret" in one}
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert {one["name"] for one in container["volumeMounts"]} <= volumes.keys()
            secrets |= {one["secretRef"]["name"] for one in container.get("envFrom", [])}
            images.add(container["image"])
            assert container["securityContext"]["readOnlyRootFilesystem"]
        assert pod["securityContext"]["runAsNonRoot"]
    assert claims == of_kind["PersistentVolumeClaim"].keys()
    assert secrets == {one["name"] for one in kustomization["secretGenerator"]}
    assert images == {one["name"] for one in kustomization["images"]} == {"recsys-service", "recsys-fit"}
    labels = of_kind["Deployment"]["recsys"]["spec"]["template"]["metadata"]["labels"]
    assert of_kind["Service"]["recsys"]["spec"]["selector"] == labels
    assert of_kind["PodDisruptionBudget"]["recsys"]["spec"]["selector"]["matchLabels"] == labels
    target = of_kind["HorizontalPodAutoscaler"]["recsys"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", "recsys")
    smallest = of_kind["HorizontalPodAutoscaler"]["recsys"]["spec"]["minReplicas"]
    assert of_kind["PodDisruptionBudget"]["recsys"]["spec"]["minAvailable"] < smallest  # else a node is never drained


def test_every_variable_of_compose_has_a_default_or_a_line_in_the_example() -> None:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    example = set(re.findall(r"^(\w+)=", (DEPLOY / "example.env").read_text(encoding="utf-8"), re.MULTILINE))
    asked = dict(re.findall(r"\$\{(\w+):([?-])", text))
    assert {name for name, mark in asked.items() if mark == "?"} <= example
    assert example <= asked.keys()
    assert len(re.findall(r"\$\{", text)) == len(re.findall(r"\$\{\w+:[?-]", text))  # none is empty unnoticed
