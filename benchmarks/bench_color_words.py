"""Do the words beside a picture tell its color when they name no color and no category?

    .venv/bin/python benchmarks/bench_color_words.py ../shared/data/fashion --left 50   # what the words left still say

Kernel regression as in `features.match.fine.kernel`, by leave-one-out in closed form on the distinct pictures that are
no test: with the picture alone, and with the words left of the title as one more factor (tf-idf, by cosine). What makes
listings alike is learned on the same sample for both. Hidden is every word that is in a color's or category's name, is
otherwise said of colors, or holds or misspells such a word; too many rather than too few, so "trust" goes with "rust".
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import keep, takes_json
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from features.encoders.local import LocalConfig, read_pictures
from features.encoders.shades import WHOLE_DIM, read_shades
from features.kernel_regression import distances, learned, left_out, some
from features.match.fine.labels import labels_of
from features.match.fine.towers import Standardize
from features.match.fine.words import words_of
from features.quarantine import Quarantine
from features.shop.shop import read_shop
from recsys.run_folder import CACHE

_OF_COLORS = (
    "amber apricot aqua assorted auburn azure berry bright camel camo camouflage caramel champagne cherry "
    "chocolate color colors colour colours contrast coral crimson cyan dark deep denim dual duo ebony "
    "emerald fluorescent fuchsia golden gray honey indigo ivory jet lemon leopard light lilac mango metal "
    "mint mocha natural neon ochre pale pearl platinum plum rainbow raspberry reddish royal ruby salmon "
    "sand scarlet shade silvertone slate smoke snow stainless stone tangerine terracotta tobacco tone "
    "toned two vanilla violet wine"
)
OF_COLORS = frozenset(_OF_COLORS.split())
"""Words that say something of a color and are in no value's name."""
ANYONE = frozenset({"men", "mens", "women", "womens"})
"""In categories' names, too, but whom a thing is for is not what it is."""
SAMPLE, STEPS = 1600, 60
"""It is learned on so many listings, in so many steps, what makes listings alike."""


def main() -> None:
    """Print a line of JSON a figure."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("shop", type=Path)
    options.add_argument("--left", type=int, default=0, help="print so many of the words that still say most")
    options.add_argument("--cache", type=Path, default=CACHE)
    takes_json(options)
    given = options.parse_args()
    shop, told = read_shop(given.shop, quarantine=Quarantine()), Quarantine()
    names = [str(name) for name in shop.catalog.image]
    pictures = read_pictures(names, shop.images, LocalConfig(), patches=False, cache_dir=given.cache, quarantine=told)
    shades = read_shades(names, shop.images, cache_dir=given.cache, quarantine=Quarantine())
    labels = {label.name: label for label in labels_of(shop.catalog.attributes, len(names))}
    color = labels["color"]
    usable = np.array([bool(d) and int(d[:8], 16) % 6 > 0 for d in pictures.content]) & (color.of >= 0)
    _, first = np.unique(np.where(usable, pictures.content, ""), return_index=True)
    rows = np.sort(first[usable[first]])
    kinds = [value for name, label in labels.items() if name.startswith("category") for value in label.values]
    hides = hiding(color.values, kinds)
    left = [[word for word in words_of(str(shop.catalog.title[row])) if not hides(word)] for row in rows]
    of = color.of[rows]
    for word, gain, values in telling(left, of, color.values)[: given.left]:
        print(f"{word:16s} {gain:7.1f} {values}")
    standardize = Standardize(pictures.scene.shape[1])
    scene = torch.from_numpy(pictures.scene[rows])
    standardize.fit(scene)
    shown = torch.from_numpy(shades[rows]).float()
    groups = [standardize(scene) / math.sqrt(scene.shape[1]), shown[:, :WHOLE_DIM], shown[:, WHOLE_DIM:]]
    picture, words = [distances(group, group) for group in groups], torch.from_numpy(tf_idf(left))
    said = distances(words, words)
    marked = functional.one_hot(torch.from_numpy(of), len(color.values)).float()
    right = {
        "picture": told_right(picture, marked),
        "words left": told_right([said], marked),
        "picture and words left": told_right([*picture, said], marked),
    }
    figures: list[dict[str, Any]] = []
    for name, each in right.items():
        more = each.astype(np.float64) - right["picture"]
        line = {"by": name, "listings": len(rows), "accuracy": each.mean(), "error": each.std() / math.sqrt(len(each))}
        line |= {"more": more.mean(), "more_error": more.std() / math.sqrt(len(each))}
        figures.append(
            {key: value if isinstance(value, str | int) else round(float(value), 4) for key, value in line.items()}
        )
        figures[-1]["over_picture"] = round(float(each.mean() / right["picture"].mean()), 4)
        print(json.dumps(figures[-1]), flush=True)
    keep(given, {"rows": figures})


def hiding(colors: Sequence[str], kinds: Sequence[str]) -> Callable[[str], bool]:
    """Whether a word is to be hidden, by the names of all colors and all categories."""
    shades = {word for value in colors for word in words_of(value)} | OF_COLORS
    things = {word for value in kinds for word in words_of(value)} - ANYONE
    stems = {word.removesuffix("s").removesuffix("e") for word in things if len(word) > 2}

    @cache
    def hides(word: str) -> bool:
        if word in ANYONE:
            return False
        if word in shades | things or word.removesuffix("s").removesuffix("e") in stems:
            return True
        held = any(len(one) > 3 and (one in word or misspelled(word, one)) for one in shades)
        return held or any(len(one) > 4 and misspelled(word, one) for one in things)

    return hides


def misspelled(word: str, right: str) -> bool:
    """Whether one letter is wrong, missing or too many, or two neighbors are exchanged."""
    if len(word) == len(right):
        off = [i for i, (a, b) in enumerate(zip(word, right, strict=True)) if a != b]
        exchanged = len(off) == 2 and off[1] == off[0] + 1 and sorted(word) == sorted(right)
        return len(off) <= 1 or exchanged
    short, long = sorted((word, right), key=len)
    return any(long[:i] + long[i + 1 :] == short for i in range(len(long)))


def tf_idf(texts: list[list[str]]) -> NDArray[np.float32]:
    """Rows of length 1, or 0 where no word is left that two texts have."""
    count = Counter(word for text in texts for word in text)
    number = {word: i for i, word in enumerate(sorted(word for word, n in count.items() if n > 1))}
    out = np.zeros((len(texts), len(number)), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in text:
            if word in number:
                out[row, number[word]] = math.log(len(texts) / count[word])
    return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9))


def told_right(apart: list[Tensor], marked: Tensor) -> NDArray[np.bool_]:
    """Which listings are told right by all others."""
    sample = torch.from_numpy(some(np.arange(len(marked)), SAMPLE, np.random.default_rng(0)))
    alike = learned([x[sample][:, sample] for x in apart], marked[sample], STEPS)
    likeness = torch.exp(-sum(reach * x for reach, x in zip(alike.reach, apart, strict=True)))
    likeness.diagonal().add_(alike.noise)
    share = marked.mean(0)
    told = left_out(likeness, marked - share) + share
    return np.asarray((told.argmax(1) == marked.argmax(1)).numpy())


def telling(
    texts: list[list[str]], of: NDArray[np.int64], values: Sequence[str]
) -> list[tuple[str, float, list[tuple[str, int]]]]:
    """Words by how far the values of their texts are from the usual ones: likelihood ratio, and the first values."""
    usual = (np.bincount(of, minlength=len(values)) + 1) / (len(of) + len(values))
    with_word: dict[str, list[int]] = {}
    for text, value in zip(texts, of.tolist(), strict=True):
        for word in text:
            with_word.setdefault(word, []).append(value)
    found = []
    for word, seen in with_word.items():
        count = np.bincount(seen, minlength=len(values))
        gain = float((count * np.log((count + 3 * usual) / (len(seen) + 3) / usual)).sum())
        top = [(values[value], int(count[value])) for value in np.argsort(-count)[:3]]
        found.append((word, gain, top))
    return sorted(found, key=lambda one: -one[1])


if __name__ == "__main__":
    main()
