"""One self-contained page about a match model: how well it tells, how far to trust it, and what it complains of."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from features.match.fine.evaluation import Judged, precision_over_recall
from features.match.fine.model import FineModel
from features.match.fine.views import Listings
from features.pictures.sources import UnreadableImage, decode
from features.shop.shop import Shop
from recsys.match_map import neighborhood_map
from recsys.match_plots import point_map, unit_curve
from recsys.match_run import MatchRun
from recsys.report_tables import facts_html
from recsys.run_folder import write_atomically

THUMBNAIL = 112
"""Longest side of a picture in the report, in pixels."""
BETTER = 3
"""Candidates shown beside a listing."""
MOST_MAPPED = 1500

_DIRECTIONS = ("text_to_image", "image_to_text")
_SHOWN = ("recall@1", "recall@5", "recall@10", "mrr", "ndcg@10", "median_place")


def write_match_report(path: Path, run: MatchRun, scores: pd.DataFrame) -> None:
    """Write the page; it needs no other file and no network.

    Args:
        path: where to; an older page is replaced at once.
        run: the fitted model and its test.
        scores: as `score_table` gives.
    """
    shop, listings, model, judged, summary = run.shop, run.listings, run.model, run.judged, run.summary
    worst = int(summary["config"]["worst"])
    test = summary["test"]
    sections = [
        f"<h1>{escape(shop.name)}: do pictures and words agree?</h1>",
        _headline(test),
        "<h2>Finding the picture by the words, and the words by the picture</h2>",
        f"<p>{len(judged.rows):,} held-out listings, each among all of them. {escape(summary['parts']['rule'])}.</p>",
        _search_table(summary),
        fusion_verdict(summary),
        "<h2>Telling right from wrong pairs</h2>",
        f'<div class="plots">{_curves(judged, test)}</div>',
        facts_html("At even odds, held-out listings against foreign pictures", _flat_facts(test)),
        "<h2>Attributes told from the picture alone</h2>",
        facts_html("Share told right, the words hidden", _rounded(test["accuracy"])),
        "<h2>Listings that agree least</h2>",
        worst_html(shop, listings, model, scores, worst),
        "<h2>The shared space</h2>",
        "<p>The held-out listings' pictures, what is alike lying together (t-SNE from the principal components); rest "
        "on a point for its words.</p>",
        f"<figure>{_map(shop, listings, judged)}</figure>",
    ]
    template = Template(files("recsys").joinpath("templates/report.html").read_text(encoding="utf-8"))
    page = template.substitute(title=f"{escape(shop.name)}: pictures and words", body="\n".join(sections))
    write_atomically(path, page.encode())


def _headline(test: Mapping[str, Any]) -> str:
    return (
        f'<p class="lead">Words find their own picture at the first place in '
        f"{test['text_to_image']['recall@1']:.1%} of cases and among the first ten in "
        f"{test['text_to_image']['recall@10']:.1%}. A right picture scores above a wrong one in "
        f"{test['mismatch_auroc']:.2%} of pairs; what is promised and what happens differ by "
        f"{test['calibration_error']:.1%} on average.</p>"
    )


def _search_table(summary: Mapping[str, Any]) -> str:
    rows = [
        (label, summary["test"][key], summary["spread"][key])
        for key, label in (("text_to_image", "Words to picture"), ("image_to_text", "Picture to words"))
    ]
    alone = summary["test"].get("towers_alone")
    if alone:
        rows += [
            (f"{label}, towers alone", alone[key], summary["spread"]["towers_alone"][key])
            for label, key in (("Words to picture", "text_to_image"), ("Picture to words", "image_to_text"))
        ]
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in _SHOWN)
    body = "".join(
        f"<tr><th>{escape(label)}</th>"
        + "".join(f"<td>{metrics[name]:.3f}{_plus_minus(deviation.get(name))}</td>" for name in _SHOWN)
        + "</tr>"
        for label, metrics, deviation in rows
    )
    seeds = len(summary["seeds"])
    caption = f"Means over {seeds} seeds, ± one standard deviation" if seeds > 1 else "One seed"
    return (
        f'<div class="scroll" tabindex="0"><table><caption>{caption}</caption><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def fusion_verdict(summary: Mapping[str, Any]) -> str:
    """Whether ordering again by the fusion beats the towers alone, seed by seed; "" where nothing is ordered again.

    Args:
        summary: as `match.json` has it.
    """
    if not summary["test"].get("towers_alone"):
        return ""
    seeds = summary["seeds"].values()
    gains = [seed[key]["mrr"] - seed["towers_alone"][key]["mrr"] for seed in seeds for key in _DIRECTIONS]
    better = sum(gain > 0 for gain in gains)
    told = (
        f"The fusion orders the first {summary['config']['model']['rerank']} of each search again, at the weight "
        f"{summary['blend']:g} that is best on validation (of the first seed). On the test it adds "
        f"{np.mean(gains):+.4f} to MRR in the mean, better in {better} of {len(gains)} cases (two directions a seed)."
    )
    if summary["blend"] == 0:
        told += " It does not beat the towers alone: on validation it told nothing that they do not."
    elif better < len(gains):
        told += " That is no dependable gain over the towers alone: seeds differ by as much."
    return f"<p>{escape(told)}</p>"


def _plus_minus(deviation: Any) -> str:
    known = isinstance(deviation, float) and math.isfinite(deviation)
    return f'<span class="interval">± {deviation:.3f}</span>' if known else ""


def reliability(own: NDArray[np.float64], foreign: NDArray[np.float64], *, bins: int = 10) -> NDArray[np.float64]:
    """What is promised and what happens a bin, both kinds of pairs counting alike in total, float64 [bins used, 2]."""
    probability = np.concatenate([own, foreign])
    right = np.concatenate([np.ones(len(own)), np.zeros(len(foreign))])
    weight = np.where(right == 1, 0.5 / len(own), 0.5 / len(foreign))
    place = np.minimum((probability * bins).astype(int), bins - 1)
    total = np.bincount(place, weight, minlength=bins)
    used = total > 0
    promised = np.bincount(place, weight * probability, minlength=bins)[used] / total[used]
    happened = np.bincount(place, weight * right, minlength=bins)[used] / total[used]
    return np.stack([promised, happened], axis=1)


def _curves(judged: Judged, test: Mapping[str, Any]) -> str:
    own, foreign = judged.own, judged.foreign
    bins = reliability(own, foreign)
    cuts = np.unique(np.concatenate([own, foreign, [np.inf, -np.inf]]))[::-1]
    hit = 1 - np.searchsorted(np.sort(own), cuts) / len(own)
    false = 1 - np.searchsorted(np.sort(foreign), cuts) / len(foreign)
    precision, recall = precision_over_recall(own, foreign)
    plots = [
        unit_curve(
            "Reliability",
            bins[:, 0],
            bins[:, 1],
            x_label="promised probability",
            y_label="share that is right",
            told=f"expected calibration error {test['calibration_error']:.3f}",
            dots=True,
        ),
        unit_curve(
            "ROC",
            false,
            hit,
            x_label="wrong pairs taken for right",
            y_label="right pairs found",
            told=f"area {test['mismatch_auroc']:.4f}",
        ),
        unit_curve(
            "Precision and recall",
            recall,
            precision,
            x_label="recall",
            y_label="precision",
            told=f"area {test['average_precision']:.4f}",
            diagonal=False,
        ),
    ]
    return "".join(f"<figure>{plot}</figure>" for plot in plots)


def _flat_facts(test: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: test[name] for name in ("mismatch_auroc", "average_precision", "calibration_error", "brier")}
    return _rounded(shown | {f"{name} at {test['threshold']:g}": value for name, value in test["decision"].items()})


def _rounded(values: Mapping[str, float]) -> dict[str, Any]:
    return {name.replace("_", " "): f"{value:.4f}" if math.isfinite(value) else "n/a" for name, value in values.items()}


def worst_html(shop: Shop, listings: Listings, model: FineModel, scores: pd.DataFrame, n: int) -> str:
    """Cards of the n listings that agree least: picture, words, score, and which words or pictures would fit better."""
    shown = scores[scores["score"].notna() & ~scores["learned"] & listings.paired]
    order = shown.sort_values("score", kind="stable").index.to_numpy()[:n]
    if not len(order):
        return '<p class="soft">No listing was scored by a model that has not learned it.</p>'
    rows = np.flatnonzero(listings.paired)
    texts, images = model.embed(model.views(listings, rows))
    place = {int(row): i for i, row in enumerate(rows)}
    parts = []
    for row in order.tolist():
        i = place[row]
        by_words, by_picture = texts[i] @ images.T, images[i] @ texts.T
        by_words[i] = by_picture[i] = -np.inf
        pictures = [int(rows[j]) for j in np.argsort(-by_words, kind="stable")[:BETTER]]
        words = [int(rows[j]) for j in np.argsort(-by_picture, kind="stable")[:BETTER]]
        better_words = "".join(f"<li>{escape(_short(listings.texts[other]))}</li>" for other in words)
        better_pictures = "".join(thumbnail(shop, other) for other in pictures)
        parts.append(
            f"<figure>{thumbnail(shop, row)}<figcaption><b>{escape(_short(listings.texts[row]))}</b><br>"
            f"{escape(shop.catalog.items.ids[row])}: {scores['score'][row]:.3f}<br>{_lettering(shop, scores, row)}"
            "Words that fit the picture better:"
            f"<ul>{better_words}</ul>Pictures that fit the words better:<br>{better_pictures}</figcaption></figure>"
        )
    return f'<div class="plots">{"".join(parts)}</div>'


def _lettering(shop: Shop, scores: pd.DataFrame, row: int) -> str:
    """What is spelled in the picture, and whose name that is, where lettering was read."""
    if not scores.get("lettering", pd.Series([""] * len(scores)))[row]:
        return ""
    better = scores["fits_better"][row]
    whose = (
        f", which fits {escape(_short(shop.catalog.title[shop.catalog.items.idx(better)]))} better" if better else ""
    )
    return f"Spelled in it: {escape(_short(scores['lettering'][row]))}{whose}<br>"


def thumbnail(shop: Shop, row: int) -> str:
    """A small copy of an item's picture within the page; a note where it cannot be read."""
    try:
        if shop.images is None:
            raise UnreadableImage("there are no pictures")
        picture = decode(shop.images.read(str(shop.catalog.image[row])))
    except (KeyError, UnreadableImage) as error:
        return f'<span class="soft">picture cannot be read: {escape(str(error))}</span>'
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=80)
    name = escape(str(shop.catalog.title[row]), quote=True)
    encoded = base64.b64encode(data.getvalue()).decode()
    return f'<img alt="{name}" title="{name}" src="data:image/jpeg;base64,{encoded}">'


def _map(shop: Shop, listings: Listings, judged: Judged) -> str:
    images, rows = judged.images[:MOST_MAPPED], judged.rows[:MOST_MAPPED]
    attributes = shop.catalog.attributes
    kind_of: dict[int, str] = {}
    name = next(iter(attributes.names()), None)
    if name is not None:
        only = attributes.only(name)
        for row, value in zip(only.row_idx.tolist(), only.value.tolist(), strict=True):
            depth = value.count(" > ")
            if depth <= 1 and (depth == 1 or row not in kind_of):
                kind_of[row] = value.rpartition(" > ")[2]
    kinds = [kind_of.get(int(row), "") for row in rows]
    names = [_short(listings.texts[row]) for row in rows]
    return point_map(f"Held-out pictures by {name or 'place'}", neighborhood_map(images), kinds, names)


def _short(text: str) -> str:
    return text if len(text) <= 90 else f"{text[:89]}…"
