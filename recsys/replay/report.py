"""One self-contained page about a replay, for readers without training in statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from recsys.replay.estimators import ABOUT
from recsys.replay.plots import Whisker, band_plot, overlap_plot, weight_plot, whisker_plot
from recsys.replay.verdict import CANNOT
from recsys.report_tables import facts_html, number, table_html
from recsys.run_folder import write_atomically

_MEANING = {
    "value": "What a shown slot would have earned under the policy, on average: for clicks, the rate of clicks.",
    "interval": "Where the true value lies in 95 of 100 such logs. A wide one means: not enough to tell.",
    "worth": "The log's rows count differently for each policy. So many rows of equal worth would tell as much.",
    "weight": "How many visits under the policy one logged visit stands for: the policy's probability of what was "
    "shown, over the probability with which it was shown. Few heavy rows make an estimate shaky.",
    "better": "Of 100 logs drawn again from this one, in how many the policy would come out ahead.",
    "overlap": "How much of what the policy would show is seldom or never in the log: of this the log can tell little.",
    "over time": "The shaded bounds hold at every moment at once: one may look every day and stop early.",
    "false alarms": "Among many parts some differ by luck. If all parts up to this one are believed, this share of "
    "them is expected to be luck.",
    "auto": "The estimator chosen by the data: the quietest that no less biased one contradicts.",
}
_MOST_PARTS = 12
_ASKED = {
    "n_rows": "Slots in the log",
    "n_matched": "Slots that the policy could have filled the same way",
    "effective_sample_size": "Worth, in rows of equal weight",
    "mean_weight": "Mean weight: 1 where the propensities are right",
    "mean_weight_error": "Standard error of the mean weight",
    "largest_weight": "Largest weight of a slot",
    "heaviest_share": "Share of all weight on the heaviest slot",
    "unsupported_share": "Share of the policy's showings that the log never held",
    "sure_share": "Share of slots filled without exploration",
    "imbalance": "Largest change that weights make to the mix of slots, in standard deviations",
    "coverage": "Share of items that the policy would show",
    "evenness": "How evenly it shows them: 0 one item alone, 1 all alike",
}
"""What diagnostics mean."""


def write_replay_report(path: Path, found: Mapping[str, Any]) -> None:
    """Write the page; it needs no other file and no network.

    Args:
        path: where to; an older page is replaced at once.
        found: what `replay_json` returns.
    """
    logs = found["logs"]
    body = ["<h1>What would these policies have earned?</h1>"]
    body += [_log(name, log, found["asked"]) for name, log in logs.items()]
    if found["quarantined"]:
        body += ["<h2>Rows that were refused</h2>", facts_html("By the rule they break", found["quarantined"])]
    body.append("<h2>How to read this</h2><dl>")
    body += [f"<dt>{escape(name)}</dt><dd>{escape(meaning)}</dd>" for name, meaning in _MEANING.items()]
    body.append("</dl>")
    template = Template(files("recsys").joinpath("templates/report.html").read_text(encoding="utf-8"))
    page = template.substitute(title="Replay of " + escape(", ".join(logs)), body="\n".join(body))
    write_atomically(path, page.encode())


def _log(name: str, log: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    policies = log["policies"]
    mean = number(log["mean_reward"])
    rows = [
        Whisker(policy, *_three(judged["estimators"]["auto"]), own=policy == asked.get("against"))
        for policy, judged in policies.items()
    ]
    plot = whisker_plot(f"{name}: each policy", rows, reference=mean, reference_label="as it was")
    parts = [
        f"<h2>{escape(name)}</h2>",
        f'<p class="lead">{log["impressions"]:,} shown slots in {log["requests"]:,} requests earned '
        f"{mean:.5f} {escape(str(log['reward']))} a slot as they were.</p>",
        *(f'<p class="notes"><strong>{escape(note)}.</strong></p>' for note in log["notes"]),
        '<ul class="notes">',
        *(f"<li>{_sentence(policy, judged)}</li>" for policy, judged in policies.items()),
        "</ul>",
        f'<div class="plots"><figure>{plot}</figure></div>',
        _results(name, policies),
    ]
    parts += [_policy(name, policy, judged, mean) for policy, judged in policies.items()]
    return "\n".join(parts)


def _sentence(policy: str, judged: Mapping[str, Any]) -> str:
    """The verdict in words."""
    value, low, high = _three(judged["estimators"]["auto"])
    told = [f"<strong>{escape(policy)}</strong>: {escape(judged['verdict'])}."]
    believable = judged["verdict"] != CANNOT
    if believable and math.isfinite(value):
        told.append(f"{value:.5f}, between {low:.5f} and {high:.5f}.")
    against = judged["against"]
    if believable and against is not None and against["probability_better"] is not None:
        told.append(
            f"Better than {escape(against['policy'])} with a probability of {against['probability_better']:.0%}."
        )
    told += [escape(reason) for reason in judged["reasons"]]
    needed = judged["to_estimate"]
    if needed["impressions"] is not None:
        explored = needed["exploration_rate"]
        how = f" with {explored:.0%} of the slots filled at random" if explored else ""
        told.append(f"About {needed['impressions']:,} slots{how} would give ±10%.")
    told += [escape(note) + "." for note in judged["notes"]]
    return " ".join(told)


def _results(name: str, policies: Mapping[str, Any]) -> str:
    body = []
    for policy, judged in policies.items():
        estimate, against = judged["estimators"]["auto"], judged["against"]
        better = None if against is None else against["probability_better"]
        body.append(
            f'<tr><th scope="row">{escape(policy)}</th>{_estimate_cells(estimate)}'
            f"<td>{'' if better is None else f'{better:.1%}'}</td>"
            f'<td class="words">{escape(judged["chosen"].get("auto", ""))}</td>'
            f'<td class="words">{escape(judged["verdict"])}</td></tr>'
        )
    heads = ["Policy", "Value", "95% interval", "Matched", "Worth", "Better", "Estimator", "Verdict"]
    return table_html(f"{name}: the headline of each policy", heads, body)


def _policy(log: str, policy: str, judged: Mapping[str, Any], mean: float) -> str:
    title = f"{log}: {policy}"
    estimators = judged["estimators"]
    rows = [Whisker(name, *_three(estimate), own=name == "auto") for name, estimate in estimators.items()]
    plots = [whisker_plot(f"{policy}: every estimator", rows, reference=mean, reference_label="as it was")]
    diagnostics = judged["diagnostics"]
    if diagnostics is not None:
        bins = [(number(end), int(count)) for end, count in diagnostics["weight_histogram"]]
        plots.append(weight_plot(f"{policy}: share of rows by weight", bins))
        overlap = [(str(label), number(own), number(logged)) for label, own, logged in diagnostics["overlap"]]
        plots.append(overlap_plot(f"{policy}: overlap", overlap))
    moments = judged["over_time"]
    if moments:
        columns = ([number(moment[key]) for moment in moments] for key in ("value", "low", "high"))
        plots.append(band_plot(f"{policy}: the estimate as the log grew", *columns, reference=mean))
    segments = {name: _largest(parts) for name, parts in judged["segments"].items() if name != "time" and parts}
    for name, parts in segments.items():
        plots.append(
            whisker_plot(f"{policy}: by {name}", _whiskers(parts), reference=mean, reference_label="as it was")
        )
    body = [
        f'<tr><th scope="row">{escape(name)}</th>{_estimate_cells(estimate)}'
        f'<td class="words">{escape("; ".join(filter(None, (ABOUT.get(name), estimate["note"]))))}</td></tr>'
        for name, estimate in estimators.items()
    ]
    heads = ["Estimator", "Value", "95% interval", "Matched", "Worth", "Remark"]
    figures = "".join(f"<figure>{plot}</figure>" for plot in plots)
    tables = [table_html(f"{title}: every estimator", heads, body)]
    if diagnostics is not None:
        plain = {asked: _short(diagnostics[key]) for key, asked in _ASKED.items()}
        plain |= {
            f"Weight that {key.removeprefix('p')}% of the slots stay below": _short(value)
            for key, value in diagnostics["weight_quantiles"].items()
        }
        tables.append(facts_html(f"{title}: may it be believed?", plain))
    if judged["guard_rails"]:
        tables.append(facts_html(f"{title}: guard-rails", _flat(judged["guard_rails"])))
    tables += [_segments(title, name, parts, len(judged["segments"][name])) for name, parts in segments.items()]
    return (
        f"<details><summary>{escape(title)}: estimators, weights, course over time, parts</summary>"
        f'<div class="plots">{figures}</div>{"".join(tables)}</details>'
    )


def _largest(parts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The parts with most rows, in the order in which they came."""
    large = sorted(parts, key=lambda part: -part["n"])[:_MOST_PARTS]
    return [part for part in parts if any(part is one for one in large)]


def _whiskers(parts: Sequence[Mapping[str, Any]]) -> list[Whisker]:
    """Each part with twice its standard error around it."""
    found = []
    for part in parts:
        value, half = number(part["value"]), 1.96 * number(part["standard_error"])
        found.append(Whisker(part["label"], value, value - half, value + half))
    return found


def _segments(title: str, name: str, parts: Sequence[Mapping[str, Any]], total: int) -> str:
    body = []
    for part in parts:
        cells = [f"{part['n']:,}"]
        cells += [_number(part[key]) for key in ("value", "logged", "difference")]
        cells.append("n/a" if part["q_value"] is None else f"{part['q_value']:.1%}")
        body.append(
            f'<tr><th scope="row">{escape(part["label"])}</th>'
            + "".join(f"<td>{cell}</td>" for cell in cells)
            + "</tr>"
        )
    more = f", the largest {len(parts)} of {total}" if total > len(parts) else ""
    return table_html(
        f"{title}: by {name}{more}", ["Part", "Rows", "Policy", "As it was", "Difference", "False alarms"], body
    )


def _estimate_cells(estimate: Mapping[str, Any]) -> str:
    value, low, high = _three(estimate)
    interval = f"{low:.5f} to {high:.5f}" if math.isfinite(low) else "n/a"
    worth = estimate["effective_sample_size"]
    cells = [_number(value), interval, f"{estimate['n_matched']:,}", "n/a" if worth is None else f"{worth:,.0f}"]
    return "".join(f"<td>{cell}</td>" for cell in cells)


def _three(estimate: Mapping[str, Any]) -> tuple[float, float, float]:
    return number(estimate["value"]), number(estimate["low"]), number(estimate["high"])


def _number(value: Any) -> str:
    return f"{number(value):.5f}" if math.isfinite(number(value)) else "n/a"


def _short(value: Any) -> Any:
    return f"{value:,.4g}" if isinstance(value, float) and value < 1e4 else value


def _flat(rails: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in rails.items():
        flat |= {f"{name} {key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
    return flat
