"""A Dockerfile, read into its stages."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stage:
    """One stage: what it begins from, and its instructions with their arguments, in order."""

    name: str
    begins_from: str
    steps: tuple[tuple[str, str], ...]


def read(path: Path) -> dict[str, Stage]:
    """Stages by name, in order."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE))
    stages: dict[str, Stage] = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            begins_from, _, name = rest.partition(" AS ")
            stages[name] = Stage(name, begins_from, ())
        elif stages:
            last = stages[next(reversed(stages))]
            stages[last.name] = Stage(last.name, last.begins_from, (*last.steps, (word, rest.strip())))
    return stages


def lineage(stages: dict[str, Stage], name: str) -> list[Stage]:
    """A stage and those it begins from, the first one first."""
    found = [stages[name]]
    while found[0].begins_from in stages:
        found.insert(0, stages[found[0].begins_from])
    return found


def ignored(lines: list[str], path: str) -> bool:
    """Whether `.dockerignore` keeps a path out: the last pattern that fits it, or a folder above it, decides."""
    above = [path, *(str(one) for one in Path(path).parents if str(one) != ".")]
    out = False
    for line in filter(None, (line.split("#")[0].strip() for line in lines)):
        pattern = line.removeprefix("!")
        anywhere = pattern.startswith("**/")
        named = [Path(one).name for one in above] if anywhere else above
        if any(fnmatch.fnmatchcase(one, pattern.removeprefix("**/")) for one in named):
            out = not line.startswith("!")
    return out
