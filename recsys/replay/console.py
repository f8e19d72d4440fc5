"""A replay in the terminal: one table a log, the verdicts in words."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from recsys.replay.power import Power
from recsys.replay.result import Judged, Replay

_STYLES = {"trustworthy": "green", "wide": "yellow"}
SHOWN, SHOWN_OF_LISTS = ("ips", "snips", "dr"), ("sn_independent", "cascade_dr", "sn_standard")


def tables(replay: Replay, *, every: bool = False) -> Iterator[RenderableType]:
    """What a person should see of a replay.

    Args:
        replay: one log.
        every: all estimators instead of the headline and the best known.
    """
    title = (
        f"{replay.log}: {replay.n_rows:,} slots in {replay.n_requests:,} requests, {replay.reward} "
        f"{replay.mean_reward:.5f} a slot as it was"
    )
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("policy", overflow="fold")  # where there is little room names give way, numbers never
    table.add_column("estimator", overflow="fold")
    for head in ("value", "95% interval", "matched", "worth", "better"):
        table.add_column(head, justify="right", no_wrap=True)
    for name, judged in replay.policies.items():
        best_known = SHOWN_OF_LISTS if "standard" in judged.estimators else SHOWN
        shown = list(judged.estimators) if every else [*(n for n in best_known if n in judged.estimators), "auto"]
        for place, estimator in enumerate(shown):
            estimate = judged.estimators[estimator]
            headline = estimator == "auto"
            label = f"auto ({judged.chosen.get('auto', '')})" if headline else estimator
            better = judged.against.probability_better if headline and judged.against else math.nan
            table.add_row(
                Text(name if place == 0 else "", style="bold"),
                Text(label, style="bold" if headline else ""),
                Text(_number(estimate.value), style="bold" if headline else ""),
                f"{_number(estimate.low)} – {_number(estimate.high)}",
                f"{estimate.n_matched:,}",
                "–" if math.isnan(estimate.effective_sample_size) else f"{estimate.effective_sample_size:,.0f}",
                "" if math.isnan(better) else f"{better:.1%}",
            )
    yield table
    for note in replay.notes:
        yield Text(f"  ! {note}", style="bold yellow")
    for name, judged in replay.policies.items():
        yield _verdict(name, judged)


def _verdict(name: str, judged: Judged) -> Text:
    verdict = judged.verdict
    text = Text(f"  {name}: ")
    text.append(verdict.label, style=_STYLES.get(verdict.label, "bold red"))
    for reason in verdict.reasons:
        text.append(f"\n      {reason}")
    if verdict.impressions is not None:
        how = f" with {verdict.exploration_rate:.0%} of the slots filled at random" if verdict.exploration_rate else ""
        text.append(f"\n      ±10% would take about {verdict.impressions:,} slots{how}.")
    if judged.power is not None:
        text.append(f"\n      {_power(judged.power)}")
    for note in judged.notes:
        text.append(f"\n      {note}")
    return text


def _power(power: Power) -> str:
    """What it takes to see a lift."""
    ways = [
        f"{rows:,} slots {how}"
        for rows, how in ((power.by_replay, "of such a log"), (power.by_ab_test, "of an A/B test"))
        if rows is not None
    ]
    told = ", or ".join(ways) if ways else "cannot be told from this log"
    return f"To see a difference of {power.lift:.1%} in {power.probability:.0%} of cases: {told}."


def _number(value: float) -> str:
    return f"{value:.5f}" if math.isfinite(value) else "undefined"
