"""One self-contained page about a fit: who ranks best, by how much, for whom, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from recsys.report_models import of_test, results_section, segments_section
from recsys.report_plots import histogram, line_plot
from recsys.report_tables import best_of, chosen_html, facts_html, label, number
from recsys.run_folder import write_atomically

_MEANING = {
    "recall@k": "Of the things a person really chose (and the model never saw), the share that is among its first k "
    "suggestions.",
    "ndcg@k": "As recall, but a hit near the top counts more than one further down; 1 is the best possible order.",
    "map@k": "How clean the list is above each hit: precision at every hit, averaged.",
    "mrr@k": "One over the place of the first hit: 1 if the first suggestion is right, 0.5 if the second is.",
    "hit@k": "The share of people with at least one hit among k suggestions.",
    "coverage@k": "The share of the catalog that is suggested to anybody at all. Popularity alone covers almost "
    "nothing.",
    "novelty@k": "How surprising the suggestions are, in bits: what half of all people have counts 1, what one in a "
    "thousand has counts 10. Higher is not better by itself: random lists are the most novel.",
}

_SPLITS = {
    "random": "some pairs of each user are held out, drawn at random",
    "per_user_time": "the last pairs of each user are held out",
    "global_time": "everything after a moment is held out, the same moment for all users",
}
"""In plain words, how a split without a file was made."""


def write_report(
    path: Path,
    evaluation: Mapping[str, Any],
    *,
    training_history: Sequence[Mapping[str, Any]] | None = None,
    match_report: Mapping[str, Any] | None = None,
    shop_summary: Mapping[str, Any] | None = None,
) -> None:
    """Write the page; it needs no other file and no network.

    Args:
        path: where to; an older page is replaced at once.
        evaluation: what `evaluation_json` returns. Its first model is the one the others are compared with.
        training_history: one entry a look at validation, with "epoch", "recall@20" and "loss" as far as known.
        match_report: facts about image-text agreement, and under "scores" one agreement an item (null or NaN where
            unknown) for a histogram.
        shop_summary: facts about the shop; "name" is its title; the rest is listed, but for where it lies.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    page = page_html(
        evaluation, training_history=training_history, match_report=match_report, shop_summary=shop_summary
    )
    write_atomically(path, page.encode())


def page_html(
    evaluation: Mapping[str, Any],
    *,
    training_history: Sequence[Mapping[str, Any]] | None,
    match_report: Mapping[str, Any] | None,
    shop_summary: Mapping[str, Any] | None,
) -> str:
    """The page as text; arguments as in `write_report`."""
    summary = shop_summary or {}
    title = f"{summary.get('name') or 'Shop'}: how good are the recommendations?"
    k = _middle_k(evaluation)
    sections = [
        f"<h1>{escape(title)}</h1>",
        _headline(evaluation, k),
        _numbers(evaluation),
        results_section(evaluation, k),
        segments_section(evaluation, k),
        _learning(training_history or ()),
        _match(match_report),
        _explanation(evaluation),
        _details(evaluation, summary),
    ]
    template = Template(files("recsys").joinpath("templates/report.html").read_text(encoding="utf-8"))
    return template.substitute(title=escape(title), body="\n".join(part for part in sections if part))


def _middle_k(evaluation: Mapping[str, Any]) -> int:
    ks = list((evaluation.get("config") or {}).get("ks") or (20,))
    return 20 if 20 in ks else int(ks[len(ks) // 2])


def _headline(evaluation: Mapping[str, Any], k: int) -> str:
    models = evaluation["models"]
    own = next(iter(models), None)
    metric = f"recall@{k}"
    value = number(of_test(models[own]).get(metric)) if own else math.nan
    if own is None or not math.isfinite(value):
        return (
            '<p class="lead">There are no held-out choices to judge by, so nothing can be said about accuracy. '
            "Similar items and content-based lists still work.</p>"
        )
    said = f"{escape(label(own))} puts {value:.1%} of what people really chose among its first {k} suggestions."
    rival = best_of({name: number(of_test(result).get(metric)) for name, result in models.items() if name != own})
    lead = (((evaluation.get("lead") or {}).get("over") or {}).get(rival) or {}).get(metric) if rival else None
    if rival is not None and lead:
        gap, low, high = (number(end) for end in lead)
        name = escape(label(rival))
        if not math.isfinite(low):
            said += f" The best of the others, {name}, is {abs(gap):.4f} {'behind' if gap > 0 else 'ahead'}."
        elif low > 0:
            said += (
                f" It is ahead of the best of the others, {name}, by {gap:.4f} (95% interval {low:.4f} to {high:.4f})."
            )
        elif high < 0:
            said += f" {name} does better, by {-gap:.4f} (95% interval {-high:.4f} to {-low:.4f})."
        else:
            said += (
                f" It cannot be told apart from {name}: the gap is {gap:.4f} (95% interval {low:.4f} to {high:.4f})."
            )
    return f'<p class="lead">{said}</p>'


def _numbers(evaluation: Mapping[str, Any]) -> str:
    counts = evaluation.get("split_summary") or {}
    shown = [
        (f"{int(counts[key]):,}", text)
        for key, text in (
            ("n_items", "items"),
            ("n_users", "users"),
            ("train_pairs", "pairs to learn from"),
            ("test_pairs", "pairs to be found"),
            ("test_users", "users judged"),
            ("items_unseen_in_train", "items never seen in training"),
        )
        if key in counts
    ]
    tiles = "".join(f"<li><b>{value}</b><span>{escape(text)}</span></li>" for value, text in shown)
    name = str(evaluation.get("split"))
    told = f"{name}: {_SPLITS[name]}" if name in _SPLITS else name
    return f'<ul class="numbers">{tiles}</ul><p class="soft">Split: {escape(told)}</p>'


def _learning(history: Sequence[Mapping[str, Any]]) -> str:
    if not history:
        return ""
    epochs = [number(entry.get("epoch", place + 1)) for place, entry in enumerate(history)]
    figures = []
    for key, title, best in (("recall@20", "recall@20 on validation", max), ("loss", "Training loss", None)):
        values = [number(entry.get(key)) for entry in history]
        finite = [value for value in values if math.isfinite(value)]
        if finite:
            mark = values.index(best(finite)) if best is not None else None
            figures.append(f"<figure>{line_plot(title, epochs, values, x_label='epoch', mark=mark)}</figure>")
    if not figures:
        return ""
    return f'<h2>How the GNN learned</h2><div class="plots">{"".join(figures)}</div>'


def _match(report: Mapping[str, Any] | None) -> str:
    if not report:
        return ""
    scores = report.get("scores")
    figure = ""
    if scores is not None and len(scores):
        values = [number(score) for score in (scores.tolist() if hasattr(scores, "tolist") else scores)]
        figure = (
            f'<div class="plots"><figure>{histogram("Agreement of picture and words, items", values)}</figure></div>'
        )
    facts = {name: value for name, value in report.items() if isinstance(value, int | float | str)}
    return (
        "<h2>Do pictures and words agree?</h2><p>Each listing with both gets the probability that they belong "
        "together; those near 0 deserve a look.</p>" + figure + (facts_html("The match model", facts) if facts else "")
    )


def _explanation(evaluation: Mapping[str, Any]) -> str:
    terms = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in _MEANING.items())
    notes = dict.fromkeys(
        str(note)
        for result in evaluation["models"].values()
        for side_notes in (result.get("notes") or {}).values()
        for note in side_notes
    )
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        f"<h2>What the numbers mean</h2><dl>{terms}</dl><h2>How they were made</h2>"
        f"<p>{escape(str(evaluation.get('protocol', '')))}</p>" + (f'<ul class="notes">{listed}</ul>' if listed else "")
    )


def _details(evaluation: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    facts = dict(_flat({name: value for name, value in summary.items() if name not in ("path", "fingerprint")}))
    return (
        "<h2>Details</h2>"
        + chosen_html("Chosen on validation", evaluation["models"])
        + facts_html("The split", evaluation.get("split_summary") or {})
        + (facts_html("The shop", facts) if facts else "")
    )


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Nested facts as lines: "events: view" and its value; lists in one line, and nothing where there is nothing."""
    for name, value in values.items():
        path = f"{above}: {name}" if above else str(name)
        if isinstance(value, Mapping):
            yield from _flat(value, path)
        elif isinstance(value, list | tuple):
            if value:
                yield path, ", ".join(map(str, value))
        elif value is not None:
            yield path, value
