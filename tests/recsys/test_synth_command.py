from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from features.errors import InputError
from recsys.commands.synth import synth


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.setenv("COLUMNS", "120")
    app = typer.Typer()
    app.command()(synth)
    return app


def counts(output: str) -> dict[str, str]:
    rows = [line.split("│") for line in output.splitlines() if line.startswith("│")]
    return {cells[1].strip(): cells[2].strip() for cells in rows}


def test_it_makes_a_shop_and_counts_what_is_in_it(app: typer.Typer, tmp_path: Path) -> None:
    out = tmp_path / "shop"
    arguments = [str(out), "--items", "220", "--users", "30", "--seed", "4", "--no-pictures"]
    first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 0
    table = counts(first.output)
    assert table["items"] == "220"
    assert table["users"] == "30"
    assert table["pictures"] == "none"
    assert table["listings with another product's picture"] == "0"
    assert table["cold items, listed in the last days"] == "18"
    views, carts, purchases = (int(table[f"{kind} events"].replace(",", "")) for kind in ("view", "cart", "purchase"))
    assert views > carts > purchases > 0
    assert "recsys check" in first.output
    assert "nothing to do" not in first.output

    second = CliRunner().invoke(app, arguments)
    assert "nothing to do" in second.output
    assert counts(second.output) == table


def test_a_shop_of_other_arguments_needs_force(app: typer.Typer, tmp_path: Path) -> None:
    out = str(tmp_path / "shop")
    CliRunner().invoke(app, [out, "--items", "200", "--users", "5", "--no-pictures"])
    refused = CliRunner().invoke(app, [out, "--items", "210", "--users", "5", "--no-pictures"])
    assert isinstance(refused.exception, InputError)
    forced = CliRunner().invoke(app, [out, "--items", "210", "--users", "5", "--no-pictures", "--force"])
    assert counts(forced.output)["items"] == "210"


def test_a_shop_too_small_is_refused_in_words(app: typer.Typer, tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, [str(tmp_path / "shop"), "--items", "10"])
    assert isinstance(refused.exception, InputError)
    assert "at least 200 items, 10" in str(refused.exception)


def test_help_says_what_is_planted_and_what_comes_next(app: typer.Typer) -> None:
    shown = " ".join(CliRunner().invoke(app, ["--help"]).output.split())
    assert "planted truth" in shown
    assert "recsys check" in shown
    for option in ("--items", "--users", "--seed", "--no-pictures", "--force"):
        assert option in shown
