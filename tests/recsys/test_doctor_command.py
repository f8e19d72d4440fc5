from __future__ import annotations

import json
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from recsys.commands import doctor as module
from recsys.commands.doctor import PACKAGES, doctor

LAST = ["cpu", "gpu", "torchvision operators", "bundled text weights", "bundled image weights", "redis server"]


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(doctor)
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout


@pytest.fixture
def _no_redis_url(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RECSYS_REDIS_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("_no_redis_url")
def test_a_working_machine_is_told_what_it_has_as_json() -> None:
    code, shown = run("--json")
    findings: dict[str, Any] = {finding["what"]: finding for finding in json.loads(shown)}
    assert list(findings) == ["python", *PACKAGES, *LAST]
    assert {finding["state"] for finding in findings.values()} <= {"ok", "note"}, shown
    assert code == 0
    assert findings["bundled text weights"]["detail"].startswith("384-d")
    assert findings["bundled image weights"]["detail"].startswith("1280-d")
    assert "Valkey server v=9" in findings["redis server"]["detail"]


def test_what_is_broken_is_named_and_the_exit_code_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(module, "PACKAGES", ("numpy", "no-such-package"))
    for check in ("_text_weights", "_image_weights"):
        monkeypatch.setattr(module, check, lambda: ("ok", "not looked at here"))
    code, shown = run()
    assert code == 1
    assert "Broken: no-such-package, redis server." in shown
    assert "make install" in shown


@pytest.mark.usefixtures("_no_redis_url")
def test_weights_that_do_not_load_are_a_finding_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("the file is cut short")

    monkeypatch.setattr(module, "_text_weights", fail)
    findings = {finding.what: finding for finding in module.examine()}
    assert findings["bundled text weights"].state == "broken"
    assert findings["bundled text weights"].detail == "RuntimeError: the file is cut short"
    assert findings["bundled image weights"].state == "ok"
