"""Which kind of folder a data set is, and how each becomes a task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from features.errors import InputError
from features.pictures.fetched import FetchedImages
from features.quarantine import Quarantine
from features.shop.shop import read_shop
from features.shop.tables import find_table, read_table
from recsys.bench.indexed import indexed_task, read_inter
from recsys.bench.task import BESIDE, Task, Valid, task_of
from recsys.config import FitConfig
from recsys.models.knowledge import Knowledge
from recsys.other_behavior import checked_kinds, other_behavior, without_kinds
from recsys.prepare import read_content, split_events
from recsys.split import file_split

KINDS = """\
a shop folder (items.*, interactions.*), a benchmark folder (interactions.* with user_idx, item_idx, split) or MMRec's \
(NAME.inter with userID, itemID, x_label)"""


def read_task(
    folder: Path,
    *,
    split_file: Path | None,
    refit: bool | None,
    cache_dir: Path,
    quarantine: Quarantine,
    config: FitConfig | None = None,
    valid: Valid = "own",
    beside: tuple[str, ...] = (),
) -> Task:
    """Read a data set of any kind.

    Args:
        folder: where it lies.
        split_file: of a shop: which pairs are on which side. Without one, the `split` column of its interactions, or
            else a split as `recsys fit` makes it.
        refit: whether the last fit is on training and validation pairs; None as is the data set's custom.
        cache_dir: encoded words and pictures of shops are kept here.
        quarantine: takes whatever is refused.
        config: how a shop's words and pictures are encoded and split.
        valid: which pairs models are chosen on; see `task_of`.
        beside: of a shop: types of events that models are told beside those that are to be predicted.

    Raises:
        InputError: it is no folder of a known kind, or something in it cannot be used.
    """
    if not folder.is_dir():
        raise InputError(f"a data set must be a folder: {KINDS}; {folder} is none")
    if find_table(folder, "items") is not None:
        return shop_task(
            folder,
            split_file=split_file,
            refit=refit,
            cache_dir=cache_dir,
            quarantine=quarantine,
            config=config or FitConfig(),
            valid=valid,
            beside=beside,
        )
    if split_file is not None:
        raise InputError(f"{folder} carries its own split; a split file is for shop folders")
    if beside:
        raise InputError(f"{folder} tells no types of events; --beside {', '.join(beside)} is for shop folders")
    events = find_table(folder, "interactions")
    if events is not None:
        table = read_table(events, quarantine=quarantine)
        return indexed_task(folder, table, events.name, refit=refit, quarantine=quarantine, valid=valid)
    inter = sorted(folder.glob("*.inter"))
    if len(inter) == 1:
        return indexed_task(
            folder, read_inter(inter[0]), inter[0].name, refit=refit, quarantine=quarantine, valid=valid
        )
    if inter:
        raise InputError(f"{folder} must hold one .inter file, it has {', '.join(path.name for path in inter)}")
    raise InputError(f"{folder} is no data set that can be read: it must be {KINDS}")


def shop_task(
    folder: Path,
    *,
    split_file: Path | None,
    refit: bool | None,
    cache_dir: Path,
    quarantine: Quarantine,
    config: FitConfig,
    valid: Valid = "own",
    beside: tuple[str, ...] = (),
) -> Task:
    """A shop with its words, pictures and attributes; see `read_task`."""
    shop = read_shop(folder, quarantine=quarantine, fetched=FetchedImages.of_cache(cache_dir))
    if split_file is None:
        split_file = _with_split_column(folder)
    beside = checked_kinds(shop.interactions, beside)
    if split_file is None:
        events = without_kinds(shop.interactions, beside) if beside else shop.interactions
        split = split_events(replace(shop, interactions=events), None, config)
    else:
        split = file_split(shop.interactions, split_file, quarantine=quarantine)
    content = read_content(shop, config, cache_dir=cache_dir, quarantine=quarantine)
    modalities = {"text": content.vectors.text, "image": content.vectors.image}
    known = Knowledge(
        shop.catalog,
        shop.users_attributes,
        {name: one for name, one in modalities.items() if one.mask.any()},
        content.scores,
    )
    name = shop.name if split_file is None or split_file.parent == folder else f"{shop.name} ({split_file.stem})"
    task = task_of(name, split, known, refit=refit, valid=valid)
    if not beside:
        return task
    other = other_behavior(shop.interactions, task.split, beside)
    known = replace(known, other_behavior=other.events)
    return replace(task, known=known, remarks=(*task.remarks, other.told(), BESIDE), told=other.events)


def _with_split_column(folder: Path) -> Path | None:
    """The table of interactions, where it says which pair is on which side."""
    path = find_table(folder, "interactions")
    if path is None or "split" not in read_table(path, quarantine=Quarantine()).columns:
        return None
    return path
