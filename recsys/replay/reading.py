"""Read a log of shown slots: Open Bandit's layout, our service's impressions, or any table by its column names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.errors import InputError
from features.quarantine import Quarantine
from features.shop import cells
from features.shop.cells import Sieve
from features.shop.tables import find_table, read_table
from features.shop.timestamps import utc_seconds
from features.vocabulary import Vocabulary
from recsys.replay.attribution import AttributionRules, attribute
from recsys.replay.columns import KNOWN, find_columns, optional
from recsys.replay.hygiene import HygieneConfig, refuse_bots, refuse_broken_lists, refuse_duplicates
from recsys.replay.log import Log
from recsys.replay.log_cells import positions_of, propensities_of, rewards_of
from recsys.replay.propensities import estimate_propensities
from recsys.replay.traffic_parts import Coded, groups_of, labels_of, pages_of, segments_of, visits_of

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


@dataclass(frozen=True, eq=False)
class _Table:
    """The table in our terms, all rows."""

    item: NDArray[np.int64]
    items: list[str]
    request: NDArray[np.int64]
    position: NDArray[np.int64]
    reward: NDArray[np.float64]
    others: dict[str, NDArray[np.float64]]
    propensity: NDArray[np.float64]
    marginal: NDArray[np.float64] | None
    user: NDArray[np.int64]
    timestamp: NDArray[np.float64]
    policy: Coded
    campaign: Coded
    group: NDArray[np.int64]
    groups: tuple[str, ...]
    users: list[str]
    page: NDArray[np.object_] | None
    segments: dict[str, Coded]


def read_logs(path: Path, form: LogFormat | None = None, *, quarantine: Quarantine) -> list[Log]:
    """Read a log, split by behavior policy and campaign where it has several.

    Rows of one campaign share a vocabulary: everything the campaign ever showed. Refused are rows without an item, with
    a position that is no whole number >= 0, an impossible propensity or reward, no time where others have one; slots
    that are there twice, users that behave like programs, and lists of which a slot was refused. Where no row has a
    propensity, they are estimated and the logs say so.

    Args:
        path: a .parquet, .csv or .jsonl file, or a folder that holds `impressions.*`.
        form: how to read it.
        quarantine: takes what is refused.

    Returns:
        one log for each policy and campaign, by name.

    Raises:
        InputError: the table cannot be read, lacks a column, or no row is left.
    """
    asked = form or LogFormat()
    file = find_table(path, "impressions") if path.is_dir() else path
    if file is None:
        raise InputError(f"{path} must hold impressions.parquet, .csv or .jsonl")
    if not file.is_file():
        raise InputError(f"{file} does not exist")
    name = file.name
    frame = read_table(file, quarantine=quarantine, wanted=lambda there: _wanted(there, name, asked))
    form = _as_laid_out(frame, path, asked)
    table, kept = _read(frame, file, form, quarantine)
    if not kept.any():
        raise InputError(f"{file.name} has no usable row: {quarantine.total} were refused, for {_first(quarantine)}")
    logs = []
    (policies, policy), (campaigns, campaign) = table.policy, table.campaign
    for one in np.unique(campaign[kept]).tolist():
        of_campaign = kept & (campaign == one)
        items = np.unique(table.item[of_campaign])
        vocabulary = Vocabulary(tuple(table.items[code] for code in items.tolist()))
        for who in np.unique(policy[of_campaign]).tolist():
            name = "/".join(label for label in (policies[who], campaigns[one]) if label) or file.stem
            mask = of_campaign & (policy == who)
            logs.append(_log(name, table, mask, items=items, vocabulary=vocabulary, form=form))
    return sorted(logs, key=lambda log: log.name)


def _read(frame: pd.DataFrame, file: Path, form: LogFormat, quarantine: Quarantine) -> tuple[_Table, NDArray[np.bool_]]:
    n = len(frame)
    needed = [*form.also, *form.group] + ([form.reward] if form.reward != "click" and form.events is None else [])
    found = find_columns(list(frame.columns), form.columns, file=file.name, also=needed)
    sieve = Sieve(file.name, frame, quarantine)
    item, items = cells.coded_ids(frame[found["item_id"]])
    sieve.refuse(item < 0, "item_id is missing", frame[found["item_id"]])
    position = positions_of(optional(frame, found, "position"), n, sieve)
    timestamp = np.full(n, np.nan)
    if (column := optional(frame, found, "timestamp")) is not None:
        timestamp = utc_seconds(column, timezone="UTC")
        sieve.refuse(
            np.isnan(timestamp), "timestamp must be a time from 1990 to 2099, in one unit for all rows", column
        )
    request, requests = np.arange(n, dtype=np.int64), None
    if (column := optional(frame, found, "request_id")) is not None:
        request, requests = cells.coded_ids(column)
        sieve.refuse(request < 0, "request_id is missing", column)
    user, users = np.full(n, -1, dtype=np.int64), [""]
    if (column := optional(frame, found, "user_id")) is not None:
        user, users = cells.coded_ids(column)
    propensity = propensities_of(optional(frame, found, "propensity"), n, sieve)
    marginal = None
    if (column := optional(frame, found, "marginal")) is not None:
        marginal, _ = cells.numbers(column)
        sieve.refuse((marginal <= 0) | (marginal > 1), "marginal must be in (0, 1]", column)
    reward, others = rewards_of(frame, found, sieve, reward=None if form.events else form.reward, also=form.also)
    if form.events is not None:
        if requests is None or "timestamp" not in found:
            raise InputError(f"{file.name} must have columns request_id and timestamp, so that events can be joined")
        slots = pd.DataFrame(
            {
                "request_id": np.array([*requests, ""], dtype=object)[request],
                "item_id": np.array([*items, ""], dtype=object)[item],
                "user_id": np.array([*users, ""], dtype=object)[user],
                "timestamp": timestamp,
            }
        )
        reward = attribute(slots, form.events, form.attribution, quarantine=quarantine).reward
    shown = frame[found["item_id"]]
    if requests is not None:
        refuse_duplicates(sieve, pd.DataFrame({"request": request, "position": position}), shown)
    elif "timestamp" in found and "user_id" in found:
        keys = {"user": user, "time": timestamp, "item": item, "position": position}
        refuse_duplicates(sieve, pd.DataFrame(keys), shown)
    refuse_bots(sieve, user, timestamp=timestamp, reward=reward, shown=shown, config=form.hygiene)
    if requests is not None:
        refuse_broken_lists(sieve, request, shown)
    policy, campaign = (labels_of(optional(frame, found, name), n) for name in ("policy", "campaign"))
    groups, group = groups_of(frame, form.group)
    about = None if form.items is None else read_table(form.items, quarantine=quarantine)
    table = _Table(
        item=item,
        items=items,
        request=request,
        position=position.astype(np.int64),
        reward=reward,
        others=others,
        propensity=propensity,
        marginal=marginal,
        user=user,
        timestamp=timestamp,
        policy=policy,
        campaign=campaign,
        group=group,
        groups=groups,
        users=users,
        page=pages_of(frame, found, *campaign),
        segments=segments_of(frame, item, items, form.segments, about),
    )
    return table, sieve.kept


def _wanted(there: list[str], file: str, form: LogFormat) -> list[str]:
    """Those of a file's columns that are read."""
    found = find_columns(there, form.columns, file=file, also=[*form.also, *form.group])
    names = {*found.values(), *form.also, *form.group, *form.segments, form.reward, "subject", *SERVICE_COLUMNS}
    return [name for name in there if name in names]


def _as_laid_out(frame: pd.DataFrame, path: Path, form: LogFormat) -> LogFormat:
    """What the layout tells: `recsys log merge` leaves slots whose propensities are given those above, and events."""
    if form.given_above is None:
        form = replace(form, given_above=set(frame.columns) >= SERVICE_COLUMNS)
    has_click = "click" in form.columns or any(name in frame.columns for name in KNOWN["click"])
    if form.events is None and form.reward == "click" and not has_click and path.is_dir():
        form = replace(form, events=find_table(path, "events"))
    return form


def _log(
    name: str,
    table: _Table,
    mask: NDArray[np.bool_],
    *,
    items: NDArray[np.int64],
    vocabulary: Vocabulary,
    form: LogFormat,
) -> Log:
    """One policy and campaign, its requests in order of time."""
    rows = np.flatnonzero(mask)
    _, request = np.unique(table.request[rows], return_inverse=True)
    begun = np.full(int(request.max()) + 1, np.inf)
    np.minimum.at(begun, request, np.nan_to_num(table.timestamp[rows], nan=0.0))
    rank = np.empty(len(begun), dtype=np.int64)
    rank[np.argsort(begun, kind="stable")] = np.arange(len(begun))
    order = np.lexsort((table.position[rows], rank[request]))
    rows, request = rows[order], rank[request][order]
    item_idx = np.searchsorted(items, table.item[rows])
    propensity, how = table.propensity[rows], ""
    notes: tuple[str, ...] = ()
    if np.isnan(propensity).any():
        propensity, how = estimate_propensities(item_idx, table.position[rows], table.group[rows], len(items))
        notes = (
            f"PROPENSITIES ARE ESTIMATED ({how}), the log has none: whatever else decided what was shown goes unseen",
        )
    return Log(
        name=name,
        items=vocabulary,
        item_idx=item_idx.astype(np.int32),
        position=table.position[rows].astype(np.int16),
        reward=table.reward[rows],
        propensity=propensity,
        request_idx=request,
        user_idx=table.user[rows],
        group=table.group[rows].astype(np.int16),
        timestamp=table.timestamp[rows],
        groups=table.groups,
        given_above=bool(form.given_above) and len(begun) < len(rows),
        estimated=how,
        others={other: column[rows] for other, column in table.others.items()},
        segments={name: (labels, code[rows]) for name, (labels, code) in table.segments.items()}
        | visits_of(table.user[rows], request),
        users=tuple(table.users),
        marginal=None if table.marginal is None else table.marginal[rows],
        page=None if table.page is None else table.page[rows],
        notes=notes,
    )


def _first(quarantine: Quarantine) -> str:
    return next(iter(quarantine.counts), "no reason: the table is empty")
