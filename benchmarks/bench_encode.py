"""How fast a catalog is encoded: ours against a plain batch-32 loop over the same networks, end to end.

    .venv/bin/python benchmarks/bench_encode.py                          # a synthetic shop
    .venv/bin/python benchmarks/bench_encode.py --shop DIR --json encode.json

The plain loop opens each picture with Pillow, applies timm's own transform (or the model's processor) and runs batches
of 32; texts go in the order of the catalog, 32 at once, padded to the longest. Ours is `encode_texts` and
`encode_images` as `recsys fit` calls them, cache and decoding included. The two take turns within each round, first
one and then the other in front; told are medians over the rounds, the median of the rounds' ratios (on a machine that
does other work too, the only figures to trust), and the ratio of processor time. What is done once an encoder, loading
and exporting it, is timed apart. Contents are distinct: the cache saves nobody anything.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import torch
from figures import keep, takes_json
from numpy.typing import NDArray
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from features.encoders import engine, models
from features.encoders.catalog import SAMPLE, encode_images, encode_texts
from features.encoders.config import EncoderConfig
from features.encoders.embeddings import Embeddings
from features.encoders.image import ImageEncoder, TimmEncoder, image_encoder
from features.encoders.protocol import Arrays, Encoder
from features.encoders.text import TextEncoder
from features.quarantine import Quarantine
from features.shop.shop import Shop, read_shop
from features.synthetic.write import write_shop

PLAIN_BATCH = 32


def plain_texts(encoder: TextEncoder, texts: list[str]) -> NDArray[np.float32]:
    """Batches of 32 in the order given, padded to the longest."""
    found = []
    for first in range(0, len(texts), PLAIN_BATCH):
        rows = encoder.tokens(texts[first : first + PLAIN_BATCH])
        found.append(models.run(encoder.network, encoder.inputs(rows), encoder.device))
    return np.concatenate(found)


def plain_pictures(
    shop: Shop, names: list[str], encoder: ImageEncoder, device: torch.device
) -> Callable[[], NDArray[np.float32]]:
    """Open, transform, stack 32, run: one after the other."""
    if isinstance(encoder, TimmEncoder):
        transform = models.timm().data.create_transform(**encoder.data_config, is_training=False)
        network = encoder.network.network.to(memory_format=torch.contiguous_format)
    else:
        network = encoder.network

    def tensors(image: Image.Image) -> tuple[torch.Tensor, ...]:
        if isinstance(encoder, TimmEncoder):
            return (transform(image),)
        return tuple(torch.from_numpy(array[0]) for array in encoder.inputs([encoder.prepare(image)]).values())

    @torch.inference_mode()
    def run() -> NDArray[np.float32]:
        found = []
        for first in range(0, len(names), PLAIN_BATCH):
            rows = []
            for name in names[first : first + PLAIN_BATCH]:
                rows.append(tensors(Image.open(io.BytesIO(shop.images.read(name))).convert("RGB")))
            batch = [torch.stack(column).to(device) for column in zip(*rows, strict=True)]
            found.append(network(*batch).float().cpu().numpy())
        return np.concatenate(found)

    return run


def compare(
    plain: Callable[[], NDArray[np.float32]], ours: Callable[[], Embeddings], n: int, rounds: int
) -> dict[str, Any]:
    """Items a second of both, taking turns, and how far their vectors are apart."""
    plain(), ours()  # threads, caches of the file system, memory
    rates: dict[str, list[float]] = {"plain": [], "ours": []}
    worked: dict[str, list[float]] = {"plain": [], "ours": []}
    for number in range(rounds):
        for name in ("plain", "ours") if number % 2 == 0 else ("ours", "plain"):
            start, used = time.perf_counter(), time.process_time()
            if name == "plain":
                raw = plain()
            else:
                encoded = ours()
            rates[name].append(n / (time.perf_counter() - start))
            worked[name].append(time.process_time() - used)
    cosine = (raw * encoded.vectors).sum(axis=1) / np.linalg.norm(raw, axis=1)
    return {
        "items": n,
        "rounds": rounds,
        "plain_per_s": round(statistics.median(rates["plain"]), 1),
        "ours_per_s": round(statistics.median(rates["ours"]), 1),
        "ratio": round(statistics.median(b / a for a, b in zip(rates["plain"], rates["ours"], strict=True)), 2),
        "ratios": [round(b / a, 2) for a, b in zip(rates["plain"], rates["ours"], strict=True)],
        "cpu_ratio": round(statistics.median(a / b for a, b in zip(worked["plain"], worked["ours"], strict=True)), 2),
        "least_cosine": round(float(cosine.min()), 6),
    }


def once(encoder: Encoder, sample: Arrays, config: EncoderConfig, n: int, cache: Path) -> dict[str, Any]:
    """Choose the engine as for so many items: its name, and the seconds it took (an export included)."""
    start = time.perf_counter()
    chosen = engine.engine_for(encoder, sample, config, n=n, cache_dir=cache)
    return {"engine": chosen.name, "threads": chosen.parallel, "once_s": round(time.perf_counter() - start, 1)}


def share_of_peak(
    encoder: Encoder, sample: Arrays, per_s: float, *, half: torch.dtype, copies: int
) -> dict[str, float]:
    """What part of the GPU's arithmetic an encoder uses, end to end and with its inputs already there.

    The peak is what a large product of matrices reaches here.

    Args:
        encoder: whose network is run.
        sample: inputs of a few contents.
        per_s: contents a second, end to end.
        half: type in which matrices are multiplied.
        copies: how often the sample stands in a batch.
    """
    device = torch.device("cuda")
    small = [torch.from_numpy(array).to(device) for array in sample.values()]
    with FlopCounterMode(display=False) as counted, torch.inference_mode():
        encoder.network(*small)
    flops = counted.get_total_flops() / len(small[0])
    batch = [torch.cat([x] * copies) for x in small]

    def alone() -> None:
        with torch.inference_mode(), torch.autocast("cuda", dtype=half):
            encoder.network(*batch)

    a = torch.randn(8192, 8192, device=device, dtype=torch.bfloat16)
    peak = 2 * 8192**3 / seconds(lambda: a @ a)
    network = len(batch[0]) / seconds(alone)
    return {
        "gflops_per_item": flops / 1e9,
        "peak_tflops": peak / 1e12,
        "share_of_peak": per_s * flops / peak,
        "network_per_s": network,
        "network_share_of_peak": network * flops / peak,
    }


def on_gpu(encoder: Encoder, sample: Arrays, about: dict[str, Any], device: torch.device) -> dict[str, float]:
    """The share of the peak, where there is a GPU."""
    if device.type != "cuda":
        return {}
    half = torch.float16 if about["engine"] == "float16" else torch.bfloat16
    return share_of_peak(encoder, sample, about["ours_per_s"], half=half, copies=64)


def seconds(work: Callable[[], object], times: int = 20) -> float:
    """Seconds on the GPU of one go, the mean over some after a few to warm up."""
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(times):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / times


def of_texts(shop: Shop, config: EncoderConfig, n: int, rounds: int, cache: Path) -> dict[str, Any]:
    """The text side."""
    texts = list(dict.fromkeys(text for text in shop.catalog.texts() if text.strip()))[:n]
    encoder = TextEncoder.of(config)
    sample = encoder.inputs(encoder.tokens((texts * SAMPLE)[:SAMPLE]))
    about = once(encoder, sample, config, engine.EXPORT_FROM, cache)

    def ours() -> Embeddings:
        empty(cache)
        return encode_texts(texts, encoder, config=config, cache_dir=cache)

    about |= compare(lambda: plain_texts(encoder, texts), ours, len(texts), rounds)
    tokens = [len(row) for row in encoder.tokens(texts)]
    about |= {"tokens": {"median": statistics.median(tokens), "most": max(tokens)}}
    return about | on_gpu(encoder, sample, about, encoder.device)


def of_pictures(shop: Shop, config: EncoderConfig, n: int, rounds: int, cache: Path) -> dict[str, Any]:
    """The image side."""
    contents: dict[bytes, str] = {}
    for name in dict.fromkeys(shop.catalog.image.tolist()):
        if name and len(contents) < n:
            contents.setdefault(shop.images.read(name), name)
    names = list(contents.values())
    sizes = [Image.open(io.BytesIO(content)).size for content in contents]
    encoder, device = image_encoder(config), models.device_of(config.device)
    examples = [Image.open(io.BytesIO(content)).convert("RGB") for content in list(contents)[:SAMPLE]]
    sample = encoder.inputs([encoder.prepare(example) for example in examples])
    about = once(encoder, sample, config, engine.EXPORT_FROM, cache)
    quarantine = Quarantine()

    def ours() -> Embeddings:
        empty(cache)
        return encode_images(
            [(name,) for name in names], shop.images, encoder, config=config, cache_dir=cache, quarantine=quarantine
        )

    other = image_encoder(config)  # networks are laid out in memory: each way has its own
    about |= compare(plain_pictures(shop, names, other, device), ours, len(names), rounds)
    assert quarantine.total == 0, quarantine.counts
    about |= {"pixels": {"median": [int(side) for side in np.median(sizes, axis=0)]}}
    return about | on_gpu(encoder, sample, about, device)


def empty(cache: Path) -> None:
    """Forget the vectors and keep the exported networks."""
    for folder in cache.iterdir():
        for name in ("vectors.f32", "keys.bin", "meta.json"):
            (folder / name).unlink(missing_ok=True)


def main() -> None:
    """Run both sides and print them."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--shop", type=Path, help="shop folder; a synthetic shop where none is given")
    options.add_argument("--items", type=int, default=384, help="pictures, and texts, of a round")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--only", choices=("text", "image"), help="measure one side")
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of EncoderConfig")
    takes_json(options)
    given = options.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    torch.set_num_threads(given.threads)
    config = EncoderConfig(**dict(pair.split("=", 1) for pair in given.set))
    work = Path(tempfile.mkdtemp(prefix="bench-encode-"))
    try:
        folder = given.shop
        if folder is None:
            folder = work / "shop"
            write_shop(folder, n_items=max(200, given.items), n_users=10, seed=0)
        shop = read_shop(folder, quarantine=Quarantine())
        device = models.device_of(config.device)
        report: dict[str, Any] = {"shop": shop.name, "device": device.type, "threads": given.threads}
        report["bfloat16"] = engine.has_bfloat16()
        for name, measure in (("text", of_texts), ("image", of_pictures)):
            if given.only in (None, name):
                (work / name).mkdir()
                report[name] = measure(shop, config, given.items, given.rounds, work / name)
                print(name, json.dumps(report[name]), flush=True)
        print(json.dumps(report))
        keep(given, report)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
