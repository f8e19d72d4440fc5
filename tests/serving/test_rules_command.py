from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner, Result

from recsys.bundle import Bundle
from serving.commands.rules import app

RULES = """
[[rules]]
name = "no i1"
hide = "item_id = i1"

[[rules]]
name = "blue first"
boost = "color = Blue"
factor = 50

[[rules]]
name = "at home"
hide = "brand = Acme"
when = { scenarios = ["home"] }
"""


@pytest.fixture(autouse=True)
def logs_aside() -> Iterator[None]:
    """What the service of a test logs must not stand among what the command prints."""
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    yield
    structlog.configure(**before)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return path


def run(*words: str | Path) -> Result:
    """In a thread of its own, as tests in a browser hold an event loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(CliRunner().invoke, app, [str(word) for word in words]).result()


def test_check_names_the_rule_and_the_place(file: Path, small_bundle: Path) -> None:
    done = run("check", file, "--bundle", small_bundle)
    assert done.exit_code == 0
    assert "3 rules read" in done.stdout
    file.write_text(RULES.replace("color = Blue", "colour = Blue"))
    assert run("check", file).exit_code == 0
    refused = run("check", file, "--bundle", small_bundle)
    assert refused.exit_code == 1
    assert "rule 'blue first', boost: character 1: a field must be one of this catalog" in str(refused.exception)
    file.write_text(RULES.replace("color = Blue", "color Blue"))
    assert "rules[2] (blue first): boost: character 7: expected a comparison" in str(run("check", file).exception)


def test_a_dry_run_shows_what_each_rule_moves(file: Path, small_bundle: Path) -> None:
    words = ("dry-run", file, "--bundle", small_bundle, "--item", "i3", "-k", "6")
    told = json.loads(run(*words, "--json").stdout)
    bundle = Bundle.open(small_bundle)
    colors = [bundle.display(bundle.items.idx(item_id))["attributes"]["color"] for item_id in told["after"]]
    assert colors == [["Blue"]] * 6
    assert [effect["applies"] for effect in told["effects"]] == [True, True, False]
    shown = run(*words).stdout
    assert "blue first (boost): about 20 items" in shown
    assert "at home (hide): does not apply, the scenario is none of home" in shown
    at_home = json.loads(run(*words, "--scenario", "home", "--json").stdout)
    assert [effect["applies"] for effect in at_home["effects"]] == [True, True, True]
    assert "must be in the catalog" in str(run(*words[:4], "--item", "nobody").exception)


def test_rules_are_put_shown_and_rolled_back_and_a_service_goes_by_them(
    file: Path, service: Any, redis_server: Any, eventually: Any
) -> None:
    at = ("--redis", redis_server.url)
    done = run("put", file, "--note", "first", *at)
    assert (done.exit_code, done.stdout) == (0, "version 1 of the rules holds\n")
    eventually(lambda: service.get("/v1/items/i3/similar").json()["rules_version"] == 1)
    assert json.loads(run("show", *at).stdout)["rules"][0] == {"name": "no i1", "hide": "item_id = i1"}
    file.write_text('[[rules]]\nname = "a"\nhide = "brand = Acne"\n')
    again = run("put", file, "--expect", "1", *at)
    assert "version 2" in again.stdout
    assert "no item has 'Acne' as brand" in again.stderr
    assert "the active version is 2, --expect says 1" in str(run("put", file, "--expect", "1", *at).exception)
    history = run("show", "--history", *at).stdout.splitlines()
    assert [line[:6].split() for line in history] == [["*", "2"], ["1"]]
    assert history[1].endswith("first")
    assert run("rollback", *at).stdout == "version 1 of the rules holds\n"
    assert "there is no version before 1" in str(run("rollback", *at).exception)
    file.write_text('[[rules]]\nname = "a"\nhide = "colour = red"\n')
    assert "a field must be one of this catalog" in str(run("put", file, *at).exception)


def test_put_needs_a_redis_that_answers(file: Path, tmp_path: Path) -> None:
    refused = run("put", file, "--redis", f"unix://{tmp_path}/nothing.sock")
    assert refused.exit_code == 1
    assert "does not answer" in str(refused.exception)
