"""How far a picture alone can tell an attribute: do listings whose pictures hardly differ carry the same value?

    .venv/bin/python benchmarks/bench_look_alikes.py ../shared/data/fashion --attribute color --parts 6 --residue 0

Each listing is put beside the one whose picture is nearest, pixel by pixel in CIE Lab, of another file; listings held
back for the test are left out. If q holds the chances of each value given a picture, two listings with (nearly) that
picture agree with probability sum q^2, and whoever sees the picture alone is right with probability max q at best; as
max q <= sqrt(sum q^2), and by Jensen's inequality, the best accuracy over such pictures is at most the square root of
their agreement. Pairs that are not quite alike agree less often than that, so far apart pairs bound nothing: the bands
tell which is which.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from figures import keep, takes_json

from features.encoders.described import short_hash
from features.encoders.local import LocalConfig, read_pixels
from features.encoders.scenes import to_lab
from features.match.fine.labels import labels_of
from features.pictures.sources import UnreadableImage
from features.quarantine import Quarantine
from features.shop.shop import read_shop

BANDS = (0.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0)
"""Root mean square differences of two pictures, CIE Lab units; an eye begins to see 2 between two plain areas."""


def main() -> None:
    """Print agreement a band."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("shop", type=Path)
    options.add_argument("--attribute", default="color")
    options.add_argument("--parts", type=int, default=6)
    options.add_argument("--residue", type=int, default=0, help="listings of this part of the hash are not looked at")
    takes_json(options)
    given = options.parse_args()
    shop = read_shop(given.shop, quarantine=Quarantine())
    if shop.images is None:
        options.error(f"{given.shop} must hold pictures, it has none")
    digest = []
    for name in shop.catalog.image.tolist():
        try:
            digest.append(short_hash(shop.images.read(str(name))) if name else "")
        except (KeyError, UnreadableImage):
            digest.append("")
    label = {label.name: label for label in labels_of(shop.catalog.attributes, len(shop.catalog))}[given.attribute]
    used = [bool(d) and int(d[:8], 16) % given.parts != given.residue for d in digest]
    rows = np.flatnonzero(np.array(used) & (label.of >= 0))
    size = LocalConfig(height=96, width=64)
    pixels = read_pixels([str(shop.catalog.image[row]) for row in rows], shop.images, size)
    lab = torch.cat([to_lab(part.float() / 255) for part in torch.from_numpy(pixels).split(256)]).flatten(1)
    squares = (lab**2).sum(1)
    of = torch.from_numpy(label.of[rows])
    names = np.unique(np.array(digest, dtype=object)[rows].astype(str), return_inverse=True)[1]
    same_file = torch.from_numpy(names)
    apart, agrees = [], []
    for part in torch.arange(len(lab)).split(512):
        square = (squares[part, None] + squares - 2 * lab[part] @ lab.T).clamp(min=0) / (lab.shape[1] / 3)
        square[same_file[part, None] == same_file] = torch.inf
        nearest = square.argmin(1)
        apart.append(square.gather(1, nearest[:, None])[:, 0].sqrt())
        agrees.append(of[part] == of[nearest])
    distance, right = torch.cat(apart).numpy(), torch.cat(agrees).numpy()
    print(f"{given.attribute}: {len(rows)} listings, {len(label.values)} values, nearest of another file")
    print("Lab distance   pairs   agree   at most right")
    low, bands = 0.0, []
    for high in BANDS:
        band = (distance >= low) & (distance < high)
        agreed = right[band].mean() if band.any() else np.nan
        print(f"{low:5.1f} - {high:4.1f}  {band.sum():6d}   {agreed:.3f}   {np.sqrt(agreed):.3f}")
        bands.append({"from": low, "to": high, "pairs": int(band.sum()), "agree": agreed, "at_most": np.sqrt(agreed)})
        low = high
    print(f"  from {low:4.1f}  {(distance >= low).sum():6d}   {right[distance >= low].mean():.3f}")
    keep(given, {"listings": len(rows), "values": len(label.values), "bands": bands})


if __name__ == "__main__":
    main()
