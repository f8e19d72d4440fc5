"""How the table of a log is laid out: what its columns mean, and what earns the reward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from features.shop.batches import TableFile
from features.shop.tables import find_table
from recsys.replay.attribution import AttributionRules
from recsys.replay.columns import KNOWN
from recsys.replay.hygiene import HygieneConfig

SERVICE_COLUMNS = {"entry_id", "request_id", "source", "propensity"}


@dataclass(frozen=True)
class LogFormat:
    """How a table is to be read.

    Args:
        columns: our name → the table's, where that is not found by itself.
        reward: "click", or a column that holds the reward.
        also: further reward columns for the guard-rails, such as revenue.
        group: columns that tell kinds of visitors or pages apart; their combinations are the log's groups.
        segments: columns of the log, or of `items`, by whose values to split the results.
        items: table of items for such segments, joined by item_id.
        given_above: see `Log`; None for what the layout says: the service's own logs are, others are not.
        events: table of events that earn the reward, where the slots do not hold it; a folder's own `events.*` where
            its impressions have no clicks.
        attribution: which event counts for which slot.
        hygiene: who counts as a bot.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    reward: str = "click"
    also: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    items: Path | None = None
    given_above: bool | None = None
    events: Path | None = None
    attribution: AttributionRules = field(default_factory=AttributionRules)
    hygiene: HygieneConfig = field(default_factory=HygieneConfig)

    def joins_events(self, path: Path) -> bool:
        """Whether clicks of this log come from a table of events beside it."""
        file = find_table(path, "impressions") if path.is_dir() else path
        return file is not None and self.laid_out(TableFile(file).columns, path).events is not None

    def laid_out(self, there: list[str], path: Path) -> LogFormat:
        """With what the layout tells: `recsys log merge` leaves slots whose propensities are given those above, and
        events.

        Args:
            there: columns of the log.
            path: of the log, a file or a folder.
        """
        form = self
        if form.given_above is None:
            form = replace(form, given_above=set(there) >= SERVICE_COLUMNS)
        has_click = "click" in form.columns or any(name in there for name in KNOWN["click"])
        if form.events is None and form.reward == "click" and not has_click and path.is_dir():
            form = replace(form, events=find_table(path, "events"))
        return form
