"""Values that are paths, such as "Kitchen > Mugs": an item in "Mugs" is in "Kitchen" too."""

from __future__ import annotations

PATH_SEPARATOR = " > "


def beginnings(path: str) -> list[str]:
    """A path and all it begins with, shortest first: "a > b" gives "a", "a > b"."""
    steps = [step.strip() for step in path.split(PATH_SEPARATOR)]
    return [PATH_SEPARATOR.join(steps[:length]) for length in range(1, len(steps) + 1)]
