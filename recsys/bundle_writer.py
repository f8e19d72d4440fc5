"""Writing a bundle: into a temporary sibling, the manifest last, then one rename.

A reader therefore meets either the old bundle, or the new one, or none; never half of one.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import structlog
from numpy.typing import NDArray

from features.errors import InputError
from features.stored_vocabulary import Places
from features.vocabulary import Vocabulary
from graph.cold_tower import ColdTower
from recsys.bundle_checks import check_arrays
from recsys.bundle_format import (
    ARRAYS,
    ATTRIBUTE_COUNTS,
    CATEGORIES,
    COLD,
    DISPLAY,
    FORMAT_VERSION,
    INDEX,
    ITEMS,
    MANIFEST,
    MATCH,
    RANKER,
    SCENARIOS,
    SEARCH,
    STANDING,
    USERS,
    FileEntry,
    Manifest,
    content_version,
    neighbor_files,
    places_file,
)
from recsys.display_table import category_attribute as choose_category
from recsys.display_table import category_members, write_display
from recsys.index import EXACT_LIMIT, save_index
from recsys.index_choice import Storage, choose_index
from recsys.ranking.linear import LinearRanker
from recsys.ranking.standing import Standing
from recsys.rules.facts import Facts
from recsys.rules.stored import write_columns
from recsys.search.build import build_search, with_fusion
from recsys.search.config import SearchConfig

log = structlog.get_logger()


def write_bundle(
    directory: Path,
    *,
    items: Vocabulary,
    users: Vocabulary,
    item_embeddings: NDArray[np.float32],
    user_embeddings: NDArray[np.float32],
    text_vectors: NDArray[np.float32],
    image_vectors: NDArray[np.float32],
    popularity: NDArray[np.float32],
    match_scores: NDArray[np.float32],
    display: Iterable[Mapping[str, Any]],
    seen: tuple[NDArray[Any], NDArray[Any]],
    similar_idx: NDArray[Any],
    similar_score: NDArray[np.float32],
    neighbors: Mapping[str, tuple[NDArray[Any], NDArray[np.float32]]],
    co_idx: NDArray[Any],
    co_count: NDArray[Any],
    config: Mapping[str, Any],
    metrics: Mapping[str, Any],
    fingerprints: Mapping[str, Any],
    onnx: Mapping[str, bytes | Path] | None = None,
    category_attribute: str | None = None,
    item_prior: NDArray[np.float32] | None = None,
    cold: tuple[ColdTower, list[tuple[str, str]]] | None = None,
    search: SearchConfig | None = None,
    index_storage: Storage = "float32",
    ranker: LinearRanker | None = None,
    standing: Standing | None = None,
    match: Path | None = None,
) -> Path:
    """Write everything serving needs.

    Args:
        directory: where; an older bundle there is replaced.
        items: outside ids; row i of the item arrays is id i.
        users: outside ids of the users, likewise.
        item_embeddings: float32 [n_items, dim]; finite.
        user_embeddings: float32 [n_users, dim]; finite; item x user score = dot product.
        text_vectors: float32 [n_items, d_text]; a zero row = missing; d_text may be 0.
        image_vectors: float32 [n_items, d_image]; likewise.
        popularity: float32 [n_items]; users who met each item, 0 = nobody.
        match_scores: float32 [n_items] in [0, 1], NaN where unknown.
        display: one mapping an item, in row order, with the keys of `display_table.DISPLAY_FIELDS`.
        seen: CSR (indptr int [n_users + 1], indices int) of the items each user has met, oldest first.
        similar_idx: int [n_items, k], -1 pads; see `recsys.similar.similar_lists`.
        similar_score: float32 [n_items, k].
        neighbors: content neighbors by modality, such as {"text": (idx, score), "image": (idx, score)}.
        co_idx: int [n_items, k_co]; the items most often met by the same users as each, -1 pads.
        co_count: int [n_items, k_co]; by how many users.
        config: how it was trained, kept in the manifest; NaN becomes null.
        metrics: how good it is, kept in the manifest; NaN becomes null.
        fingerprints: of the data it was made from, kept in the manifest.
        onnx: exported networks by file name, as bytes or as a file to copy.
        category_attribute: which attribute is an item's category; None looks for one of
            `display_table.CATEGORY_ATTRIBUTES`.
        item_prior: float32 [n_items]; what is added to an item's score for every user, None for nothing.
        cold: what the GNN says of items that join later, and attribute and value of each row of its value messages;
            None leaves the bundle without.
        search: how it is searched; None for the defaults.
        index_storage: how the approximate index of a large catalog keeps the vectors it looks through.
        ranker: orders the candidates of a feed; None leaves them by taste and prior.
        standing: what is known of each item that moves with time; None for nothing.
        match: folder of a saved match model that is fitted; None leaves listings that change without a score.

    Returns:
        `directory`.

    Raises:
        InputError: `directory` exists and is no bundle, or there is no item.
        ValueError: an array has another shape, or a vector is not finite; the message names the file and the row.
    """
    directory = Path(directory)
    if not len(items):
        raise InputError(f"{directory}: a bundle must hold at least one item, there is none")
    if directory.exists() and not (directory / MANIFEST).is_file() and any(directory.iterdir()):
        raise InputError(f"{directory}: exists and is no bundle; name another place, or remove it")
    prior = np.zeros(len(items), dtype=np.float32) if item_prior is None else item_prior
    item_vectors = np.concatenate([item_embeddings, np.reshape(prior, (-1, 1))], axis=1, dtype=np.float32)
    arrays: dict[str, NDArray[Any]] = {
        "item_vectors.npy": item_vectors,
        "user_embeddings.npy": user_embeddings,
        "text_vectors.npy": text_vectors,
        "image_vectors.npy": image_vectors,
        "similar_idx.npy": similar_idx,
        "similar_score.npy": similar_score,
        "popularity.npy": popularity,
        "match_scores.npy": match_scores,
        "seen_indptr.npy": seen[0],
        "seen_indices.npy": seen[1],
        "graph/co_idx.npy": co_idx,
        "graph/co_count.npy": co_count,
    }
    with _built_aside(directory) as aside:
        table = write_display(aside / DISPLAY, items, display)
        attribute = choose_category(table, category_attribute)
        names, indptr, members = category_members(table.members.get(attribute, {}), np.asarray(popularity))
        arrays |= {
            "available.npy": table.available,
            "display_offsets.npy": table.offsets,
            "category_indptr.npy": indptr,
            "category_items.npy": members,
        }
        check_arrays(arrays, neighbors, n_items=len(items), n_users=len(users))
        for name, (dtype, _) in ARRAYS.items():
            _save(aside / name, arrays[name], dtype)
        for name, pair in neighbors.items():
            for file, values, dtype in zip(neighbor_files(name), pair, ("<i4", "<f4"), strict=True):
                _save(aside / file, values, dtype)
        for file, content in (
            (ITEMS, list(items.ids)),
            (USERS, list(users.ids)),
            (ATTRIBUTE_COUNTS, table.counts()),
            (CATEGORIES, {"attribute": attribute, "names": names}),
        ):
            (aside / file).write_bytes(orjson.dumps(content))
        for file, ids in ((ITEMS, items), (USERS, users)):
            Places.of(ids).save(aside / places_file(file))
        if cold is not None:
            tower, cold_values = cold
            about, from_values, from_items = COLD
            (aside / about).write_bytes(orjson.dumps({"values": cold_values, "prior": tower.prior}))
            _save(aside / from_values, tower.value_messages, "<f4")
            _save(aside / from_items, tower.item_messages, "<f4")
        if ranker is not None:
            (aside / RANKER).parent.mkdir()
            (aside / RANKER).write_bytes(orjson.dumps(ranker.as_dict()))
        if standing is not None:
            (aside / STANDING).parent.mkdir(exist_ok=True)
            _save(aside / STANDING, np.concatenate([standing.columns, *standing.scenarios.values()], axis=1), "<f4")
            if standing.scenarios:
                (aside / SCENARIOS).write_bytes(orjson.dumps(list(standing.scenarios)))
        index = _write_index(aside / INDEX, item_vectors, user_embeddings, index_storage)
        models = {f"onnx/{file}": network for file, network in (onnx or {}).items()}
        models |= {} if match is None else {file: match / Path(file).name for file in MATCH}
        for file, model in models.items():
            (aside / file).parent.mkdir(exist_ok=True)
            (aside / file).write_bytes(model if isinstance(model, bytes) else model.read_bytes())
        vectors = {"text": text_vectors, "image": image_vectors}
        with (aside / DISPLAY).open("rb") as lines:
            write_columns(aside, Facts(items, map(orjson.loads, lines), texts=False))
        build_search(aside, table.members, vectors, search or SearchConfig())
        files = {
            path.relative_to(aside).as_posix(): _entry(path) for path in sorted(aside.rglob("*")) if path.is_file()
        }
        manifest = Manifest(
            format_version=FORMAT_VERSION,
            version=content_version(files),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            config=dict(config),
            fingerprints=dict(fingerprints),
            git_commit=_git_commit(),
            metrics=dict(metrics),
            index=index,
            files=files,
        )
        (aside / MANIFEST).write_bytes(manifest.dumps())
        with_fusion(aside)  # it searches the bundle as it is, and then changes one file
        files[SEARCH] = _entry(aside / SEARCH)
        manifest = manifest.model_copy(update={"files": files, "version": content_version(files)})
        (aside / MANIFEST).write_bytes(manifest.dumps())
    log.info("bundle written", bundle=manifest.version, path=str(directory), items=len(items), users=len(users))
    return directory


@contextmanager
def _built_aside(directory: Path) -> Iterator[Path]:
    """A new sibling folder that takes the directory's place when the block ends well, and vanishes when it does not."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", suffix=".new", dir=directory.parent))
    old = aside.with_suffix(".old")
    try:
        aside.chmod(0o755)
        (aside / "graph").mkdir()
        yield aside
        if directory.exists():
            directory.rename(old)
        try:
            aside.rename(directory)
        except OSError:
            if old.exists():
                old.rename(directory)
            raise
    finally:
        for left_over in (aside, old):
            shutil.rmtree(left_over, ignore_errors=True)


def _save(path: Path, values: NDArray[Any], dtype: str) -> None:
    np.save(path, np.ascontiguousarray(values, dtype=dtype), allow_pickle=False)


def _entry(path: Path) -> FileEntry:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if path.suffix != ".npy":
        return FileEntry(sha256=sha256, bytes=path.stat().st_size)
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return FileEntry(sha256=sha256, bytes=path.stat().st_size, dtype=array.dtype.str, shape=array.shape)


def _write_index(
    path: Path, item_vectors: NDArray[np.float32], user_embeddings: NDArray[np.float32], storage: Storage
) -> dict[str, Any] | None:
    """Large catalogs get a measured approximate index; the report goes to the manifest."""
    if len(item_vectors) <= EXACT_LIMIT:
        return None
    like_users = user_embeddings if len(user_embeddings) else item_vectors[:, :-1]
    ones = np.ones((len(like_users), 1), dtype=np.float32)
    chosen = choose_index(item_vectors, np.concatenate([like_users, ones], axis=1), storage=storage)
    if chosen is None:
        return None
    save_index(chosen[0], path)
    return chosen[1].as_dict()


def _git_commit() -> str | None:
    """The commit of this code, None where it is not run from a repository."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return asked.stdout.strip() if asked.returncode == 0 else None
