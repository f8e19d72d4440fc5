from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from features.errors import InputError
from recsys.check_tables import match_table
from recsys.commands.check import check


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`recsys check` as a user starts it, in a folder of its own."""
    command = [sys.executable, "-m", "recsys", "check", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


def invoke(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(check)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shop with one bad row in each table; the working folder is beside it."""
    monkeypatch.setenv("COLUMNS", "160")
    folder = tmp_path / "My Shop"
    folder.mkdir()
    (folder / "items.csv").write_text("item_id,title,brand\na,Mug [red],Acme\nb,Shoe,Bolt\n,Nobody,Bolt\n")
    (folder / "interactions.csv").write_text("user_id,item_id,event_type\nu,a,view\nu,zzz,view\nv,b,purchase\n")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


def test_json_is_all_that_is_printed_and_what_was_refused_is_in_the_file(shop: Path) -> None:
    done = run(Path.cwd(), shop, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["items"], summary["users"], summary["events"]) == (2, 2, {"view": 1, "purchase": 1})
    assert summary["quarantine"]["total"] == 2
    file = Path(summary["quarantine"]["file"])
    assert file == Path(".recsys/My Shop/quarantine.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(line["file"], line["row"], line["rule"], line["value"]) for line in lines] == [
        ("items.csv", 2, "item_id is missing", "None"),
        ("interactions.csv", 1, "item_id is not in the item table", "'zzz'"),
    ]
    assert sorted(path.name for path in shop.iterdir()) == ["interactions.csv", "items.csv"]


def test_a_column_that_is_not_read_is_told_with_the_one_it_may_be_meant_to_be(shop: Path) -> None:
    (shop / "interactions.csv").write_text("user_id,item_id,event_tpe,shelf\nu,a,view,3\n")
    told = run(Path.cwd(), shop).stdout
    assert "interactions: event_tpe (meant event_type?), shelf" in told


def test_reviews_are_counted_and_their_bad_rows_refused(shop: Path) -> None:
    (shop / "reviews.csv").write_text("item_id,text,rating\na,warm and soft,5\na,,2\nb,broke,9\n")
    summary = json.loads(run(Path.cwd(), shop, "--json").stdout)
    assert summary["reviews"] == {"read": 2, "items": 1}
    assert summary["quarantine"]["rules"]["rating must be a number in [1, 5]"] == 1


def test_facts_are_counted_and_their_bad_rows_refused(shop: Path) -> None:
    (shop / "triples.csv").write_text("head,relation,tail,weight\na,made_in,Berlin,1\na,like,b,-1\n,like,b,1\n")
    summary = json.loads(run(Path.cwd(), shop, "--json").stdout)
    assert summary["facts"] == {"read": 1, "relations": 1}
    assert summary["quarantine"]["rules"]["weight must be a number > 0"] == 1
    assert re.search(r"facts\W+1\W+of 1 relations", run(Path.cwd(), shop).stdout)


def test_logged_impressions_are_counted_and_their_bad_rows_refused(shop: Path) -> None:
    assert json.loads(run(Path.cwd(), shop, "--json").stdout)["impressions"] is None
    (shop / "impressions.csv").write_text("item_id,position,propensity,clicked\na,0,0.5,1\nb,1,0.25,0\na,0,1.5,1\n")
    summary = json.loads(run(Path.cwd(), shop, "--json").stdout)
    assert summary["impressions"] == {"shown": 2, "clicked": 1}
    assert summary["quarantine"]["rules"]["propensity must be in (0, 1]"] == 1
    assert re.search(r"impressions\W+2\W+1 clicked", run(Path.cwd(), shop).stdout)


def test_a_shop_without_a_usable_item_ends_in_one_line_that_says_so(shop: Path) -> None:
    (shop / "items.csv").write_text("item_id,title\n,x\n")
    done = run(Path.cwd(), shop, "--out", "there")
    assert (done.returncode, done.stdout) == (2, "")
    message = " ".join(done.stderr.split())
    assert "no usable item: 1 rows read, every one refused; 1 x item_id is missing" in message
    assert "Traceback" not in done.stderr
    assert json.loads(Path("there/quarantine.jsonl").read_text())["rule"] == "item_id is missing"


def test_the_summary_is_a_table(shop: Path) -> None:
    output = invoke(shop, "--out", "there").output
    first_table = output[: output.index("Attributes")].splitlines()
    rows = {cells[1].strip(): cells[2].strip() for line in first_table if len(cells := line.split("│")) > 3}
    assert (rows["items"], rows["users"], rows["events"], rows["view"]) == ("2", "2", "2", "1")
    assert re.search(r"items\s*│ brand\s*│\s*2 │\s*100\.0%", output)
    assert re.search(r"item_id is missing\s*│\s*1", output)
    assert "2 refused, each one in there/quarantine.jsonl" in output
    assert f"recsys fit {shop}" in output


def test_what_is_no_shop_is_an_input_error_and_leaves_nothing(shop: Path) -> None:
    result = invoke(shop / "nowhere")
    assert isinstance(result.exception, InputError)
    assert not Path(".recsys").exists()


def test_a_folder_that_cannot_be_written_is_an_input_error(shop: Path) -> None:
    Path("taken").write_text("a file")
    result = invoke(shop, "--out", "taken")
    assert isinstance(result.exception, InputError)
    assert "--out" in str(result.exception)


def test_a_shop_without_pictures_has_no_listing_to_judge(shop: Path) -> None:
    result = invoke(shop, "--match", "--json")
    summary = json.loads(result.stdout[result.stdout.index("{") :])
    assert summary["match"] == {"judged": 0, "worst": []}
    assert "too few listings" in invoke(shop, "--match").output


def test_the_worst_listings_are_those_with_another_products_picture(synthetic_shop: Path, shop: Path) -> None:
    result = invoke(synthetic_shop, "--match", "--worst", 6, "--json")
    assert result.exit_code == 0, result.output
    match = json.loads(result.stdout[result.stdout.index("{\n") :])["match"]
    mismatched = set(json.loads((synthetic_shop / "truth" / "truth.json").read_text())["mismatched"])
    worst = match["worst"]
    assert match["judged"] == 240
    assert len(worst) == 6
    assert [listing["score"] for listing in worst] == sorted(listing["score"] for listing in worst)
    assert sum(listing["item_id"] in mismatched for listing in worst) >= 4
    assert all(listing["image"] == f"{listing['item_id']}.jpg" and listing["title"] for listing in worst)


def test_the_worst_listings_are_a_table() -> None:
    worst = [{"item_id": "sku-7", "score": 0.01234, "title": "Mug [red]", "image": "7.jpg"}]
    console = Console(width=100)
    with console.capture() as printed:
        console.print(match_table({"judged": 1234, "worst": worst}))
    assert "1,234 listings judged" in " ".join(printed.get().split())
    assert re.search(r"0\.012 │ sku-7\s+│ Mug \[red\]\s+│ 7\.jpg", printed.get())


def test_pictures_need_not_be_opened(shop: Path) -> None:
    assert "pictures were not opened" in invoke(shop, "--no-pictures").output


@pytest.mark.real_data
def test_a_real_read_only_shop_is_checked(real_data: Path, shop: Path) -> None:
    output = invoke(real_data / "ml100k-posters").output
    assert re.search(r"image\s*│\s*1,663 │ 98\.9%", output)
    assert "44,625 more left out by rule" in output
    assert Path(".recsys/ml100k-posters/quarantine.jsonl").read_text() == ""
