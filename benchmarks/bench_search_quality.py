"""How well each way of searching finds a known item of a fitted shop.

    python benchmarks/bench_search_quality.py OUT/bundle --shop SHOP [--queries 600] [--json FILE]

Words: titles that the bundle's fusion was not learned from, whole and with one, two and three words dropped; right
is every item with exactly that title. Pictures: the item's own picture cropped, turned, mirrored, in other light and
compressed anew; right is every item with the same file. Then the same words by the encoder with 8-bit weights.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from figures import keep, takes_json
from PIL import Image, ImageEnhance

from features.onnx.encoders import TEXT, EncodersSpec, QueryEncoders, TextQueries
from features.onnx.quantize import quantize
from features.pictures.decoding import decode
from features.pictures.sources import FolderImages, ZipImages
from recsys.bundle import Bundle
from recsys.search.channels import SIDES
from recsys.search.fusion import Fusion, Listed
from recsys.search.known_items import known_items, reciprocal_rank, without_words
from recsys.search.query import SearchQuery
from recsys.search.searcher import Searcher
from recsys.search.terms import normalized

Pool = tuple[Listed, np.ndarray]
"""What the channels say of a query, and the right rows."""


def scores(pools: Sequence[Pool], fusion: Fusion) -> dict[str, float]:
    """recall@1, recall@10 (is a right item there?) and MRR."""
    ranks = []
    for listed, right in pools:
        score = fusion.parts(listed).sum(axis=0)
        order = listed.rows[np.lexsort((listed.rows, -score))]
        ranks.append(reciprocal_rank(order, right))
    rr = np.array(ranks)
    return {"recall@1": float((rr >= 1).mean()), "recall@10": float((rr >= 0.1).mean()), "mrr": float(rr.mean())}


def table(title: str, pools: Sequence[Pool], side: str, chosen: Fusion) -> dict[str, dict[str, float]]:
    """One line a channel, for ranks fused, and for what the bundle does."""
    names = [name for name in SIDES[side] if name in pools[0][0].names]
    pools = [(listed.of(names), right) for listed, right in pools]
    alone = {name: Fusion(60, {one: float(one == name) for one in names}) for name in names}
    lines: Mapping[str, Fusion] = {**alone, "reciprocal ranks": Fusion(chosen.constant), "weighted": chosen}
    found = {name: scores(pools, fusion) for name, fusion in lines.items()}
    print(f"\n{title}: {len(pools)} queries")
    print(f"{'':22} {'recall@1':>9} {'recall@10':>9} {'mrr':>7}")
    for name, line in found.items():
        print(f"{name:22} {line['recall@1']:9.3f} {line['recall@10']:9.3f} {line['mrr']:7.3f}")
    return found


def augmented(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Another photograph of the same thing, as far as that can be done to a picture."""
    share = rng.uniform(0.7, 0.95)
    width, height = (max(1, int(side * share)) for side in image.size)
    left = int(rng.integers(0, image.width - width + 1))
    top = int(rng.integers(0, image.height - height + 1))
    image = image.crop((left, top, left + width, top + height))
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image = image.rotate(rng.uniform(-10, 10), Image.Resampling.BILINEAR, fillcolor=(255, 255, 255))
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.7, 1.3))
    image = ImageEnhance.Color(image).enhance(rng.uniform(0.7, 1.3))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=int(rng.integers(40, 80)))
    return decode(out.getvalue())


def eight_bits(bundle: Bundle, folder: Path) -> tuple[TextQueries, TextQueries, dict[str, float]]:
    """The text encoder as it is and with 8-bit weights, and how they differ on titles."""
    source = bundle.path / "onnx"
    for name in ("encoders.json", "tokenizer.json"):
        shutil.copy(source / name, folder / name)
    quantize(source / TEXT, folder / TEXT)
    spec = EncodersSpec.model_validate_json((source / "encoders.json").read_bytes()).model_copy(update={"image": None})
    whole, small = (QueryEncoders.of(where, spec).text for where in (source, folder))
    assert whole is not None
    assert small is not None
    titles = [str(shown["title"]) for shown in bundle.displays() if shown["title"]][:300]
    cosine = np.einsum("nd,nd->n", whole.encode(titles), small.encode(titles))
    cpu_ms = {}
    for name, encoder in (("whole", whole), ("int8", small)):
        began = time.process_time()
        for title in titles:
            encoder.encode([title])
        cpu_ms[f"{name}_cpu_ms"] = 1000 * (time.process_time() - began) / len(titles)
    sizes = {"whole_mb": (source / TEXT).stat().st_size / 1e6, "int8_mb": (folder / TEXT).stat().st_size / 1e6}
    return whole, small, {"cosine_mean": float(cosine.mean()), "cosine_min": float(cosine.min()), **cpu_ms, **sizes}


def main() -> None:
    """Print one table a kind of query."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--shop", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=600)
    takes_json(parser)
    given = parser.parse_args()
    bundle = Bundle.open(given.bundle, verify=False)
    searcher = Searcher(bundle)
    shown = list(bundle.displays())
    titles = [str(one["title"] or "") for one in shown]
    print(f"{len(bundle):,} items; fusion learned on {searcher.stored.report['fusion']['words']['queries']} queries")

    learned_on = searcher.stored.config.fusion_queries
    fresh = known_items(titles, len(titles))[learned_on:][: given.queries]
    if not fresh:
        parser.error(f"the shop must have more titles than the {learned_on} that the fusion may have been learned on")
    results: dict[str, object] = {}
    pools: dict[int, list[Pool]] = {}

    def asked(dropped: int) -> list[Pool]:
        rng = np.random.default_rng(dropped)
        queries = [(without_words(normalized(titles[one.rows[0]]), dropped, rng), one.rows) for one in fresh]
        return [(searcher.listed(SearchQuery(words=text, available_only=False)), right) for text, right in queries]

    for dropped in range(4):
        pools[dropped] = asked(dropped)
        results[f"words, {dropped} dropped"] = table(
            f"title without {dropped} words", pools[dropped], "words", searcher.stored.fusion["words"]
        )

    images = given.shop / "images"
    source = FolderImages(images) if images.is_dir() else ZipImages(given.shop / "images.zip")
    rng = np.random.default_rng(1)
    by_picture: list[Pool] = []
    files = np.array([str(one["image"] or "") for one in shown])
    for row in rng.permutation(np.flatnonzero(files != ""))[: given.queries // 2]:
        picture = augmented(decode(source.read(files[row])), rng)
        listed = searcher.listed(SearchQuery(picture=picture, available_only=False))
        by_picture.append((listed, np.flatnonzero(files == files[row])))
    results["picture"] = table("another take of the picture", by_picture, "picture", searcher.stored.fusion["picture"])

    with tempfile.TemporaryDirectory() as folder:
        _, small, differences = eight_bits(bundle, Path(folder))
        print("\n8-bit text encoder: " + ", ".join(f"{name} {value:.4g}" for name, value in differences.items()))
        searcher.encoding._opened["text"] = small
        results["int8"] = differences
        for dropped in (0, 2):
            results[f"words, {dropped} dropped, int8"] = table(
                f"title without {dropped} words, 8 bits", asked(dropped), "words", searcher.stored.fusion["words"]
            )
    keep(given, results)


if __name__ == "__main__":
    main()
