"""The outlines of what is worn or taken along, each a little different every time it is drawn."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from features.synthetic.outline import Figure, Part, band, box, corners, oval, part, smooth


def t_shirt(rng: np.random.Generator) -> Figure:
    """A t-shirt laid flat."""
    wide, hem, sleeve = rng.uniform(0.48, 0.56), rng.uniform(0.78, 0.88), rng.uniform(0.0, 0.12)
    neck = rng.uniform(0.18, 0.24)
    half = [
        (neck, -0.78), (0.44, -0.7), (0.62, -0.6), (0.97, -0.06 + sleeve), (0.74, 0.1 + sleeve),
        (wide, -0.16), (wide - 0.02, 0.3), (wide, hem),
    ]  # fmt: skip
    shirt = corners(half + [(-x, y) for x, y in reversed(half)])
    collar = oval(0, -0.78, neck, rng.uniform(0.14, 0.26), start=0, end=180)
    cuff = band([(0.955, -0.06 + sleeve), (0.735, 0.09 + sleeve)], 0.06, curved=False)
    back = oval(0, -0.78, neck, 0.07)
    return Figure(
        (
            Part((shirt,), "body", holes=(collar,), curve=0.25),
            part("shade", back, drop=False),
            part("tint", band([tuple(p) for p in collar[::9].tolist()], 0.05), drop=False),
            part("tint", cuff, cuff * (-1, 1), drop=False),
            part("shade", band([(0.44, -0.66), (0.5, -0.4), (wide, -0.16)], 0.016), drop=False, curve=0),
            part("shade", band([(-0.44, -0.66), (-0.5, -0.4), (-wide, -0.16)], 0.016), drop=False, curve=0),
        ),
        (0.0, -0.18, 0.17),
        None,
    )


def sneaker(rng: np.random.Generator) -> Figure:
    """A sneaker from the side, toe to the right."""
    ankle = rng.uniform(-0.5, -0.3)
    upper = smooth(
        [
            (-0.82, 0.34), (-0.86, 0.0), (-0.8, ankle), (-0.56, ankle + 0.06), (-0.3, ankle - 0.02),
            (-0.12, ankle + 0.12), (0.16, -0.02), (0.52, 0.1), (0.82, 0.22), (0.9, 0.38), (0.5, 0.42), (-0.4, 0.42),
        ]
    )  # fmt: skip
    sole = smooth(
        [(-0.9, 0.36), (-0.4, 0.4), (0.4, 0.4), (0.93, 0.34), (0.98, 0.46), (0.86, 0.58), (0, 0.6), (-0.86, 0.6)]
    )
    toe = smooth([(0.56, 0.38), (0.6, 0.16), (0.8, 0.2), (0.92, 0.36), (0.8, 0.42)])
    opening = smooth([(-0.76, ankle + 0.04), (-0.5, ankle + 0.08), (-0.28, ankle + 0.02), (-0.5, ankle - 0.01)])
    laces = tuple(
        band(
            [(-0.16 + 0.15 * k, ankle + 0.14 + 0.1 * k), (0.04 + 0.14 * k, ankle + 0.22 + 0.075 * k)],
            0.05,
            curved=False,
        )
        for k in range(4)
    )
    heel = smooth([(-0.85, 0.34), (-0.88, 0.0), (-0.82, -0.18), (-0.7, -0.1), (-0.66, 0.36)])
    return Figure(
        (
            part("body", upper, curve=0.4),
            part("shade", opening, drop=False),
            part("tint", heel, drop=False),
            part("light" if rng.random() < 0.7 else "tint", toe, drop=False, gloss=0.4),
            part("light", *laces),
            part("light" if rng.random() < 0.75 else "dark", sole, curve=0.2, gloss=0.2),
            part("shade", band([(-0.88, 0.51), (0, 0.52), (0.92, 0.48)], 0.03), drop=False, curve=0),
        ),
        (-0.34, 0.1, 0.15),
        0.6,
    )


def handbag(rng: np.random.Generator) -> Figure:
    """A handbag with a looped handle and a flap."""
    top, wide, foot = rng.uniform(-0.2, -0.06), rng.uniform(0.56, 0.66), rng.uniform(0.66, 0.8)
    body = smooth(
        [
            (-wide, top),
            (0, top - 0.03),
            (wide, top),
            (foot, 0.66),
            (foot - 0.1, 0.8),
            (0, 0.82),
            (-foot + 0.1, 0.8),
            (-foot, 0.66),
        ]
    )
    loop = band(
        [(-0.4, top + 0.08), (-0.36, -0.6), (0.0, -0.9), (0.36, -0.6), (0.4, top + 0.08)], rng.uniform(0.07, 0.11)
    )
    parts = [
        part("wood" if rng.random() < 0.35 else "shade", loop, curve=0.1),
        part("body", body, curve=0.4),
    ]
    if rng.random() < 0.6:
        depth = rng.uniform(0.24, 0.36)
        flap = smooth(
            [
                (-wide - 0.01, top),
                (0, top - 0.04),
                (wide + 0.01, top),
                (0.42, top + depth),
                (0, top + depth + 0.06),
                (-0.42, top + depth),
            ]
        )
        parts.append(part("tint", flap, curve=0.3))
        parts.append(part("metal", box(-0.07, top + depth - 0.04, 0.07, top + depth + 0.1, 0.03), gloss=0.7))
    rings = (oval(-0.4, top + 0.07, 0.06, 0.06), oval(0.4, top + 0.07, 0.06, 0.06))
    parts.append(part("metal", *rings, gloss=0.5))
    return Figure(tuple(parts), (0.0, 0.56, 0.15), 0.81)


def backpack(rng: np.random.Generator) -> Figure:
    """A backpack from the front, with a pocket."""
    top, wide, pocket = rng.uniform(-0.76, -0.64), rng.uniform(0.5, 0.58), rng.uniform(0.14, 0.26)
    body = smooth(
        [
            (-0.3, top),
            (0.3, top),
            (wide - 0.04, top + 0.26),
            (wide, 0.3),
            (wide - 0.02, 0.78),
            (0, 0.86),
            (-wide + 0.02, 0.78),
            (-wide, 0.3),
            (-wide + 0.04, top + 0.26),
        ]
    )
    straps = (
        band([(-0.42, top + 0.2), (-wide - 0.16, -0.1), (-wide - 0.06, 0.66)], 0.11),
        band([(0.42, top + 0.2), (wide + 0.16, -0.1), (wide + 0.06, 0.66)], 0.11),
    )
    grip = band([(-0.15, top + 0.05), (-0.12, top - 0.16), (0.12, top - 0.16), (0.15, top + 0.05)], 0.07)
    zipper = band([(-wide + 0.1, -0.1), (-0.34, top + 0.24), (0.34, top + 0.24), (wide - 0.1, -0.1)], 0.03)
    front = box(-wide + 0.1, pocket, wide - 0.1, 0.76, 0.14)
    return Figure(
        (
            part("shade", *straps, curve=0.1),
            part("dark", grip, curve=0.1),
            part("body", body, curve=0.6),
            part("dark", zipper, drop=False, curve=0),
            part("tint", front, curve=0.4),
            part("dark", box(-wide + 0.16, pocket + 0.1, wide - 0.16, pocket + 0.13), drop=False, curve=0),
            part("metal", oval(wide - 0.22, pocket + 0.17, 0.03, 0.06), gloss=0.6),
        ),
        (0.0, pocket + 0.36, 0.15),
        0.86,
    )


def suitcase(rng: np.random.Generator) -> Figure:
    """A hard-shell trolley with its handle pulled out."""
    wide, top, reach = rng.uniform(0.44, 0.54), rng.uniform(-0.5, -0.4), rng.uniform(-0.96, -0.84)
    bars = (box(-0.22, reach, -0.17, top), box(0.17, reach, 0.22, top))
    wheels = tuple(oval(x, 0.84, 0.075, 0.075) for x in (-wide + 0.12, wide - 0.12))
    n_ribs = int(rng.integers(3, 7))
    ribs = tuple(
        box(x - 0.012, top + 0.1, x + 0.012, 0.7, 0.01) for x in np.linspace(-wide + 0.12, wide - 0.12, n_ribs)
    )
    parts = [
        part("metal", *bars, curve=0.3),
        part("dark", box(-0.26, reach - 0.02, 0.26, reach + 0.07, 0.04)),
        part("dark", *wheels, gloss=0.3),
        part("body", box(-wide, top, wide, 0.8, rng.uniform(0.1, 0.2)), curve=0.6, gloss=0.5),
    ]
    if rng.random() < 0.6:
        parts.append(part("shade", *ribs, drop=False, curve=0))
    parts.append(part("dark", box(-0.16, top - 0.03, 0.16, top + 0.06, 0.03)))
    return Figure(tuple(parts), (0.0, rng.uniform(0.0, 0.3), 0.16), 0.91)


def umbrella(rng: np.random.Generator) -> Figure:
    """An open umbrella with a hooked handle."""
    edge, rise = rng.uniform(0.0, 0.08), rng.uniform(0.74, 0.86)
    n_panels = int(rng.integers(4, 7))
    dome = oval(0, edge, 0.92, rise, start=180, end=360)
    knots = 0.92 * np.cos(np.linspace(0, np.pi, n_panels + 1))
    scallops = tuple(
        oval((a + b) / 2, edge + 0.003, abs(b - a) / 2, 0.1, start=180, end=360) for a, b in pairwise(knots.tolist())
    )
    ribs = tuple(
        band([(0.0, edge - rise), (x * 0.72, edge - rise * 0.66), (x, edge - 0.02)], 0.014)
        for x in knots[1:-1].tolist()
    )
    hook = 0.14 if rng.random() < 0.5 else -0.14
    stick = band([(0.0, edge - rise), (0.0, 0.0), (0.0, 0.7)], 0.05)
    handle = band([(0.0, 0.52), (0.0, 0.76), (hook * 0.6, 0.92), (hook * 1.7, 0.84), (hook * 1.9, 0.72)], 0.09)
    return Figure(
        (
            part("metal", stick, curve=0.8),
            part("wood", handle, curve=0.2, gloss=0.4),
            part("metal", box(-0.025, edge - rise - 0.1, 0.025, edge - rise + 0.04, 0.02)),
            Part((dome,), "body", holes=scallops, curve=0.8),
            part("shade", *ribs, drop=False, curve=0),
        ),
        (0.26, edge - 0.32, 0.15),
        None,
    )
