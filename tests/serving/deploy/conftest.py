"""The files of `deploy/`, read once."""

from __future__ import annotations

import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"


@dataclass(frozen=True)
class Started:
    """A `recsys` command that a file of `deploy/` starts.

    Args:
        place: the file, and the name there.
        words: what stands after `recsys`.
        environment: what the file itself sets.
        mounts: folders that are mounted, and whether they can be written to; None where there is no container.
    """

    place: str
    words: list[str]
    environment: dict[str, str]
    mounts: dict[str, bool] | None


def load_all(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def filled(text: str) -> str:
    """Compose's variables replaced: by their default, or by a word."""
    return re.sub(r"\$\{\w+(?::([-?])([^}]*))?\}", lambda found: found[2] if found[1] == "-" else "word", text)


@dataclass(frozen=True)
class Deployed:
    """All of `deploy/`, parsed."""

    compose: dict[str, Any]
    manifests: list[dict[str, Any]]
    units: dict[str, str]

    def pods(self) -> dict[str, dict[str, Any]]:
        """The pod's description of each manifest that has one."""
        found = {}
        for one in self.manifests:
            spec = one.get("spec", {})
            spec = spec.get("jobTemplate", {}).get("spec", spec)
            if "template" in spec:
                found[one["metadata"]["name"]] = spec["template"]["spec"]
        return found

    def started(self) -> list[Started]:
        """Every `recsys` command."""
        found = []
        for name, one in self.compose["services"].items():
            if str(one.get("image", "")).startswith("recsys-"):
                entry = one.get("entrypoint", ["recsys"])
                words = [filled(word) for word in [*entry[1:], *one["command"]]]
                mounts = {}
                for volume in one.get("volumes", []):
                    _, target, *mode = re.sub(r"\$\{[^}]*\}", "shop", volume).split(":")
                    mounts[target] = mode != ["ro"]
                found.append(Started(f"compose.yaml {name}", words, one.get("environment", {}), mounts))
        for name, pod in self.pods().items():
            for one in [*pod.get("initContainers", []), *pod["containers"]]:
                environment = {var["name"]: var.get("value", "name-0") for var in one.get("env", [])}
                words = [re.sub(r"\$\((\w+)\)", lambda var: environment[var[1]], word) for word in one["args"]]  # noqa: B023
                mounts = {mount["mountPath"]: not mount.get("readOnly", False) for mount in one["volumeMounts"]}
                found.append(Started(f"kubernetes {name} {one['name']}", words, environment, mounts))
        for name, text in self.units.items():
            for line in re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE):
                program, *words = shlex.split(line.replace("%i", "1"))
                assert program == "/opt/recsys/bin/recsys", line
                environment = dict(re.findall(r"^Environment=(\w+)=(.+)$", text, re.MULTILINE))
                found.append(Started(f"systemd {name}", words, environment, None))
        return found


@pytest.fixture(scope="session")
def deployed() -> Deployed:
    kustomization = load_all(DEPLOY / "kubernetes" / "kustomization.yaml")[0]
    return Deployed(
        compose=load_all(DEPLOY / "compose.yaml")[0],
        manifests=[one for name in kustomization["resources"] for one in load_all(DEPLOY / "kubernetes" / name)],
        units={path.name: path.read_text(encoding="utf-8") for path in (DEPLOY / "systemd").glob("*.service")},
    )


@pytest.fixture(scope="session")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
