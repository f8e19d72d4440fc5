"""`recsys attributes`: fill missing attribute values from pictures and words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from recsys.commands.options import Cache

if TYPE_CHECKING:
    from features.attribute_prediction import AttributePrediction
    from features.shop.shop import Shop


def attributes(
    shop: Annotated[Path, typer.Argument(help="Shop folder; see `recsys check`.", show_default=False)],
    *,
    fill: Annotated[
        str,
        typer.Option(
            help="Attributes to fill, such as color,category. For a path, category:2 fills its first two steps.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Parquet file for item_id, attribute, value, confidence, source. Default: .recsys/<shop>/attributes."
            "parquet.",
            show_default=False,
        ),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            help="Values to choose from, such as color=red,navy blue,white; may be repeated. Default: those that items "
            "have. With values, no item needs to have one.",
            show_default=False,
        ),
    ] = None,
    use: Annotated[Literal["image", "text", "both"], typer.Option(help="What of an item may be looked at.")] = "both",
    threshold: Annotated[float, typer.Option(min=0.01, max=1, help="Nothing is filled below this confidence.")] = 0.8,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, and nothing else.")] = False,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with settings of encoders and match, as for `recsys fit`.")
    ] = None,
    cache: Cache = None,
) -> None:
    """Fill attribute values that items lack, each with a confidence; the shop folder itself is not touched.

    Items that have the attribute teach it to the others. Where too few have it, the values' own texts, given by
    --values, are looked for in the words and compared with the pictures. The report says, by cross-validation on
    items whose value is known, how often the prediction is right (accuracy), for how many items it is sure enough
    (coverage), how often it is right among those, and how far confidence and truth lie apart (calibration error).
    """
    import json
    import sys

    from features.attribute_prediction import AttributeConfig
    from features.pictures.fetched import FetchedImages
    from features.quarantine import Quarantine
    from features.shop.shop import read_shop
    from recsys.attributes import fill_attributes
    from recsys.config import load_config
    from recsys.run_folder import CACHE

    specs = [name.strip() for name in fill.split(",") if name.strip()]
    settings = AttributeConfig(threshold=threshold)
    given = _given(values or [])
    quarantine = Quarantine()
    found = read_shop(shop, quarantine=quarantine, fetched=FetchedImages.of_cache(cache or CACHE))
    predicted = fill_attributes(
        found,
        specs,
        values=given,
        use=use,
        settings=settings,
        config=load_config(config),
        cache_dir=cache or CACHE,
        quarantine=quarantine,
    )
    file = out or Path(".recsys") / (shop.resolve().name or "shop") / "attributes.parquet"
    filled = _write(found, predicted, threshold, file)
    report = {
        spec: _plain(one.report) | {"missing": int((~one.labels.known).sum()), "filled": filled[spec]}
        for spec, one in predicted.items()
    }
    if as_json:
        sys.stdout.write(json.dumps({"file": str(file), "attributes": report}, ensure_ascii=False, indent=2) + "\n")
        return
    _show(report, file, threshold)


def _given(values: list[str]) -> dict[str, tuple[str, ...]]:
    from features.errors import InputError

    given = {}
    for one in values:
        name, equals, listed = one.partition("=")
        kept = tuple(dict.fromkeys(value.strip() for value in listed.split(",") if value.strip()))
        if not equals or not name.strip() or len(kept) < 2:
            raise InputError(f"--values must look like color=red,blue,green, with two values or more, got {one!r}")
        given[name.strip()] = kept
    return given


def _write(shop: Shop, predicted: dict[str, AttributePrediction], threshold: float, file: Path) -> dict[str, int]:
    """Write what is filled; returns the number of rows by attribute."""
    import pandas as pd

    from features.errors import InputError

    parts = []
    for spec, one in predicted.items():
        rows, of_labels = one.missing(threshold), one.labels.values  # noqa: PD011 - no data frame
        parts.append(
            pd.DataFrame(
                {
                    "item_id": pd.Series([shop.catalog.items[row] for row in rows.tolist()], dtype="str"),
                    "attribute": pd.Series([spec.partition(":")[0]] * len(rows), dtype="str"),
                    "value": pd.Series([of_labels[at] for at in one.value[rows].tolist()], dtype="str"),
                    "confidence": one.confidence[rows],
                    "source": pd.Series(one.source[rows], dtype="str"),
                }
            )
        )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}")
        pd.concat(parts, ignore_index=True).to_parquet(draft, index=False)
        draft.replace(file)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}; give a file with --out") from error
    return {spec: len(part) for spec, part in zip(predicted, parts, strict=True)}


def _plain(report: dict[str, Any]) -> dict[str, Any]:
    """NaN, which JSON has not, as None."""
    import math

    return {
        name: (None if math.isnan(value) else round(value, 4)) if isinstance(value, float) else value
        for name, value in report.items()
    }


def _show(report: dict[str, dict[str, Any]], file: Path, threshold: float) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = {
        "labeled": "labeled",
        "values": "values",
        "majority": "commonest",
        "accuracy": "accuracy",
        "coverage": f"sure ({threshold:g})",
        "filled_accuracy": "right of these",
        "calibration_error": "calibration error",
        "missing": "missing",
        "filled": "filled",
    }
    table = Table(title="Attributes", title_justify="left", title_style="bold", header_style="dim")
    table.add_column("attribute", overflow="fold")
    for heading in shown.values():
        table.add_column(heading, justify="right")
    for spec, found in report.items():
        cells = [found[name] for name in shown]
        table.add_row(
            Text(spec), *("-" if c is None else f"{c:,}" if isinstance(c, int) else f"{c:.3f}" for c in cells)
        )
    console = Console(highlight=False)
    console.print(table)
    console.print(f"filled values are in {file}", soft_wrap=True, markup=False)
