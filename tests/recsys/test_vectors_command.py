"""`recsys vectors`: the items' vectors as a table, reduced, and who is near whom by three metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from features.errors import InputError
from recsys.cli import build_app


def run(*arguments: object) -> Any:
    done = CliRunner().invoke(build_app(), ["vectors", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def report(*arguments: object) -> Any:
    said = run(*arguments, "--json")
    return json.loads(said[said.index('{\n  "of"') :])


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "manhattan"])
def test_the_written_vectors_are_those_that_near_goes_by(
    synthetic_shop: Path, cache: Path, tmp_path: Path, metric: str
) -> None:
    file = tmp_path / "vectors.parquet"
    asked = str(pd.read_parquet(synthetic_shop / "items.parquet")["item_id"][3])
    told = report(
        *(synthetic_shop, "--cache", cache, "--of", "text", "--reduce", "pca", "--dim", 24),
        *("--near", asked, "--metric", metric, "-k", 7, "--out", file),
    )
    table = pd.read_parquet(file)
    assert len(table) == told["with_vector"]
    vectors = np.stack(table["vector"]).astype(np.float64)
    own = vectors[table["item_id"] == asked][0]
    if metric == "cosine":
        far = -(vectors @ own) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(own)
    else:
        far = np.linalg.norm(vectors - own, axis=1, ord=1 if metric == "manhattan" else 2)
    nearest = np.sort(far[(table["item_id"] != asked).to_numpy()])[:7]
    distance = dict(zip(table["item_id"], far, strict=True))
    assert asked not in {row["item_id"] for row in told["near"]}
    assert [distance[row["item_id"]] for row in told["near"]] == pytest.approx(nearest.tolist(), abs=1e-5)
    measured = [-row["cosine"] if metric == "cosine" else row["distance"] for row in told["near"]]
    assert measured == pytest.approx(nearest.tolist(), abs=1e-4)


def test_a_share_of_the_variance_takes_as_many_components_as_hold_it(synthetic_shop: Path, cache: Path) -> None:
    told = report(synthetic_shop, "--cache", cache, "--reduce", "pca", "--share", 0.8)["reduction"]
    assert told["dim"] == told["components"]["80%"]
    fewer = report(synthetic_shop, "--cache", cache, "--reduce", "pca", "--dim", told["dim"] - 1)["reduction"]
    assert fewer["explained_variance"] < 0.8 <= told["explained_variance"]


def test_a_learned_reduction_keeps_neighbors_at_least_as_well_as_its_dimensions_by_pca(
    synthetic_shop: Path, cache: Path
) -> None:
    asked = (synthetic_shop, "--cache", cache, "--of", "image", "--dim", 8)
    learned, pca = (report(*asked, "--reduce", kind)["reduction"] for kind in ("learned", "pca"))
    assert learned["dim"] == pca["dim"] == 8
    assert learned["kind"] == "learned"
    assert learned["neighbors_kept"] > pca["neighbors_kept"]


def test_the_table_says_what_was_kept_and_who_is_near(
    synthetic_shop: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    asked = str(pd.read_parquet(synthetic_shop / "items.parquet")["item_id"][0])
    shown = run(synthetic_shop, "--cache", cache, "--reduce", "zca-whitening", "--of", "text", "--near", asked)
    assert "zca-whitening to 384 dimensions: as many principal components hold 100.0% of the variance" in shown
    assert f"nearest to {asked}:" in shown


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--near", "nobody"], "--near must name an item of the shop, such as .*, got 'nobody'"),
        (["--dim", 8], "give --reduce"),
        (["--reduce", "pca", "--dim", 8, "--share", 0.5], "--dim or --share, not both, got 8 and 0.5"),
        (["--of", "text", "--reduce", "pca", "--dim", 385], r"--dim must be in \[1, 384\], .*, got 385"),
        (["--reduce", "learned"], "--reduce learned needs --dim or --share"),
        (["--reduce", "zca-whitening", "--dim", 8], "zca-whitening keeps all dimensions"),
    ],
)
def test_what_cannot_be_done_is_refused(synthetic_shop: Path, cache: Path, options: list[object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        run(synthetic_shop, "--cache", cache, *options)
