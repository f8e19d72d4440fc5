"""The outlines of what stands in a kitchen or a living room, each a little different every time it is drawn."""

from __future__ import annotations

import numpy as np

from features.synthetic.outline import Figure, Outline, Part, band, box, corners, moved, oval, part, smooth, turned


def mug(rng: np.random.Generator) -> Figure:
    """A mug with its handle on the right."""
    top, wide, foot = rng.uniform(-0.62, -0.45), rng.uniform(0.5, 0.6), rng.uniform(0.38, 0.56)
    belly = rng.uniform(-0.02, 0.08)
    body = turned([(wide, top), (wide + belly, 0.1), (foot + 0.06, 0.56), (foot, 0.68), (foot - 0.1, 0.72)])
    reach = rng.uniform(0.28, 0.38)
    grip = band(
        [
            (wide - 0.06, -0.3),
            (wide + reach * 0.7, -0.32),
            (wide + reach, 0.02),
            (wide + reach * 0.6, 0.36),
            (0.42, 0.42),
        ],
        rng.uniform(0.12, 0.16),
    )
    rim, inside = oval(0, top, wide, 0.11), oval(0, top + 0.01, wide - 0.05, 0.085)
    return Figure(
        (
            part("tint", grip, curve=0.2, gloss=0.4),
            part("body", body, curve=1.0, gloss=0.7),
            part("light", rim, curve=0.1, drop=False),
            part("dark" if rng.random() < 0.3 else "shade", inside, curve=0.3, drop=False),
        ),
        (-0.02, 0.14, 0.17),
        0.72,
    )


def teapot(rng: np.random.Generator) -> Figure:
    """A round teapot, spout to the left, handle to the right."""
    rx, ry = rng.uniform(0.5, 0.58), rng.uniform(0.44, 0.52)
    y = 0.68 - ry
    top = y - ry * 0.86
    spout = smooth(
        [(-0.36, 0.36), (-0.66, 0.16), (-0.74, -0.16), (-0.95, -0.36), (-0.8, -0.36), (-0.56, -0.12), (-0.4, 0)]
    )
    grip = band([(0.4, -0.12), (0.72, -0.26), (0.9, 0.02), (0.78, 0.3), (0.44, 0.44)], rng.uniform(0.1, 0.14))
    lid = turned([(0.04, top - 0.2), (0.2, top - 0.14), (0.31, top), (0.3, top + 0.06), (0.1, top + 0.1)])
    return Figure(
        (
            part("tint", grip, curve=0.2, gloss=0.4),
            part("tint", spout, curve=0.4, gloss=0.4),
            part("shade", box(-0.26, 0.6, 0.26, 0.72, 0.05)),
            part("body", oval(0, y, rx, ry), curve=1.0, gloss=0.7),
            part("tint", lid, curve=0.7, gloss=0.5),
            part("wood" if rng.random() < 0.5 else "light", oval(0, top - 0.24, 0.085, 0.08), curve=0.8, gloss=0.5),
        ),
        (0.0, y + 0.06, 0.17),
        0.72,
    )


def bottle(rng: np.random.Generator) -> Figure:
    """A tall drinking bottle with a screw cap."""
    wide, neck, shoulder = rng.uniform(0.27, 0.35), rng.uniform(0.13, 0.19), rng.uniform(-0.5, -0.34)
    body = turned(
        [
            (neck, -0.68),
            (neck, -0.6),
            (wide - 0.04, shoulder),
            (wide, shoulder + 0.16),
            (wide, 0.7),
            (wide - 0.05, 0.86),
        ]
    )
    cap = box(-neck - 0.05, -0.9, neck + 0.05, -0.65, 0.05)
    parts = [part("body", body, curve=1.0, gloss=0.9)]
    if rng.random() < 0.5:
        parts.insert(0, part("metal", band([(-neck, -0.8), (-0.1, -1.0), (0.1, -1.0), (neck, -0.8)], 0.06)))
    parts.append(part("metal" if rng.random() < 0.6 else "dark", cap, curve=0.9, gloss=0.6))
    parts.append(part("shade", box(-neck - 0.02, -0.67, neck + 0.02, -0.62, 0.02), curve=0.8, drop=False))
    return Figure(tuple(parts), (0.0, rng.uniform(0.0, 0.3), 0.17), 0.88)


def lamp(rng: np.random.Generator) -> Figure:
    """A table lamp: a cloth shade, a stem and a foot, and the light it throws."""
    narrow, wide, edge = rng.uniform(0.24, 0.42), rng.uniform(0.56, 0.68), rng.uniform(-0.06, 0.06)
    shade = corners([(-narrow, -0.86), (narrow, -0.86), (wide, edge), (-wide, edge)])
    metal = "wood" if rng.random() < 0.4 else "metal"
    stem: Part
    if rng.random() < 0.5:
        stem = part("metal" if metal == "metal" else "wood", box(-0.045, edge, 0.045, 0.8, 0.02), curve=0.8, gloss=0.5)
    else:
        stem = part(
            "tint",
            turned([(0.05, edge), (0.07, edge + 0.1), (0.22, 0.3), (0.26, 0.5), (0.14, 0.72), (0.2, 0.8)]),
            curve=1.0,
            gloss=0.7,
        )
    foot = smooth([(-0.34, 0.86), (-0.26, 0.76), (0.0, 0.74), (0.26, 0.76), (0.34, 0.86), (0.0, 0.89)])
    return Figure(
        (
            part("glow", oval(0, edge, wide * 0.9, 0.2), drop=False),
            stem,
            part("metal" if metal == "metal" else "wood", foot, curve=0.7, gloss=0.5),
            part("body", shade, curve=0.7),
            part(
                "light", corners([(-wide, edge - 0.04), (wide, edge - 0.04), (wide, edge), (-wide, edge)]), drop=False
            ),
        ),
        (0.0, -0.36, 0.16),
        0.86,
    )


def armchair(rng: np.random.Generator) -> Figure:
    """An armchair from the front, on wooden legs."""
    top, wide, corner = rng.uniform(-0.86, -0.66), rng.uniform(0.5, 0.58), rng.uniform(0.12, 0.36)
    arm_top, arm = rng.uniform(-0.16, 0.02), rng.uniform(0.2, 0.26)
    legs = tuple(
        corners([(x - 0.05, 0.56), (x + 0.05, 0.56), (x + 0.03 + lean, 0.88), (x - 0.03 + lean, 0.88)])
        for x, lean in ((-0.6, -0.05), (0.6, 0.05), (-0.4, 0.0), (0.4, 0.0))
    )
    arms = (box(-0.8, arm_top, -0.8 + arm, 0.64, 0.1), box(0.8 - arm, arm_top, 0.8, 0.64, 0.1))
    return Figure(
        (
            part("wood", *legs, curve=0.2),
            part("body", box(-wide - 0.1, top, wide + 0.1, 0.5, corner), curve=0.5),
            part("shade", box(-0.64, 0.36, 0.64, 0.62, 0.05), curve=0.2),
            part("body", box(-0.6, 0.1, 0.6, 0.42, 0.12), curve=0.2),
            part("tint", arms[0], curve=0.6),
            part("tint", arms[1], curve=0.6),
        ),
        (0.0, top + 0.42, 0.15),
        0.88,
    )


def cushion(rng: np.random.Generator) -> Figure:
    """A stuffed cushion with pointed corners and piping."""
    half, sink = rng.uniform(0.68, 0.76), rng.uniform(0.06, 0.11)
    high = half * rng.uniform(0.72, 1.0)

    def pillow(grow: float) -> Outline:
        w, h, s = half * grow, high * grow, sink
        sides = [
            [(-w, -h), (-w * 0.5, -h + s * 0.7), (0.0, -h + s), (w * 0.5, -h + s * 0.7), (w, -h)],
            [(w, -h), (w - s, 0.0), (w, h)],
            [(w, h), (w * 0.5, h - s * 0.7), (0.0, h - s), (-w * 0.5, h - s * 0.7), (-w, h)],
            [(-w, h), (-w + s, 0.0), (-w, -h)],
        ]
        return np.concatenate([smooth(side, closed=False) for side in sides])

    parts = [part("light" if rng.random() < 0.5 else "shade", pillow(1.035)), part("body", pillow(1.0), curve=0.6)]
    if rng.random() < 0.4:
        tip = [(-half, -high), (half, -high), (half, high), (-half, high)]
        parts.insert(0, part("shade", *(oval(x * 1.04, y * 1.04, 0.09, 0.09) for x, y in tip)))
    return Figure(tuple(parts), (half * 0.55, high * 0.5, 0.15), None)


def clock(rng: np.random.Generator) -> Figure:
    """A twin-bell alarm clock; its case and dial carry the color."""
    r, y = rng.uniform(0.56, 0.64), 0.16
    bells = tuple(
        moved(oval(0, 0, 0.26, 0.22, start=180, end=360), x, y - r - 0.02, turn=t)
        for x, t in ((-0.36, -30), (0.36, 30))
    )
    feet = tuple(band([(x * 0.6, 0.6), (x, 0.88)], 0.1, curved=False) for x in (-0.56, 0.56))
    face = r * rng.uniform(0.62, 0.68)
    ticks = tuple(
        moved(box(-0.02, -face + 0.04, 0.02, -face + (0.14 if hour % 3 == 0 else 0.09)), 0, y, turn=30.0 * hour)
        for hour in range(12)
    )
    hour, minute = rng.uniform(0, 360), rng.uniform(0, 360)
    hands = (
        moved(box(-0.032, -face * 0.55, 0.032, 0.05, 0.03), 0, y, turn=hour),
        moved(box(-0.022, -face * 0.8, 0.022, 0.06, 0.02), 0, y, turn=minute),
    )
    return Figure(
        (
            part("metal", *feet, curve=0.2),
            part("metal", band([(-0.14, y - r - 0.06), (-0.1, -0.76), (0.1, -0.76), (0.14, y - r - 0.06)], 0.07)),
            part("tint", bells[0], curve=0.8, gloss=0.7),
            part("tint", bells[1], curve=0.8, gloss=0.7),
            part("shade", oval(0, y, r, r), curve=0.8, gloss=0.6),
            part("body", oval(0, y, r - 0.04, r - 0.04), curve=0.5),
            part("light", oval(0, y, face, face), curve=0.1),
            part("dark", *ticks, drop=False, curve=0),
            part("dark", *hands, curve=0),
            part("dark", oval(0, y, 0.05, 0.05)),
        ),
        (0.0, y + r * 0.78, 0.14),
        0.88,
    )


def vase(rng: np.random.Generator) -> Figure:
    """A vase of one of several profiles, often with a few twigs."""
    mouth, neck, belly, foot = (
        rng.uniform(0.2, 0.34),
        rng.uniform(0.13, 0.24),
        rng.uniform(0.42, 0.56),
        rng.uniform(0.2, 0.3),
    )
    top, middle = rng.uniform(-0.4, -0.22), rng.uniform(0.2, 0.42)
    body = turned(
        [
            (mouth, top),
            (neck, top + 0.12),
            (belly * 0.84, 0.45 * top + 0.55 * middle),
            (belly, middle + 0.1),
            (foot + 0.06, 0.76),
            (foot, 0.86),
        ]
    )
    parts: list[Part] = []
    for lean in rng.uniform(-0.42, 0.42, size=rng.integers(2, 5)):
        height = rng.uniform(-0.95, -0.75)
        stalk = [(0.0, top + 0.1), (lean * 0.4, top - 0.2), (lean, height)]
        parts.append(part("leaf", band(stalk, 0.025), drop=False, curve=0))
        leaf = smooth([(0, -0.13), (0.05, -0.04), (0.035, 0.06), (0, 0.12), (-0.035, 0.06), (-0.05, -0.04)])
        leaves = [
            moved(leaf, lean * f + side * 0.07, top - 0.1 + (height - top + 0.1) * f, turn=side * 48 + lean * 40)
            for f in (0.45, 0.65, 0.85)
            for side in (-1, 1)
        ]
        parts.append(part("leaf", *leaves, moved(leaf, lean, height - 0.03, turn=lean * 50), drop=False))
    if rng.random() < 0.35:
        parts.clear()
    parts.append(part("body", body, curve=1.0, gloss=0.8))
    parts.append(part("shade", oval(0, top, mouth, 0.05), drop=False))
    return Figure(tuple(parts), (0.0, middle, 0.17), 0.86)
