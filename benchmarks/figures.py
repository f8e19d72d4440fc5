"""What every benchmark leaves behind where `--json FILE` asks for it: figures and ratios, the machine, the settings."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson


def takes_json(parser: argparse.ArgumentParser, said: str = "also write figures, machine and settings here") -> None:
    """Add `--json FILE` to a benchmark's options; `said` is its help."""
    parser.add_argument("--json", type=Path, metavar="FILE", help=said)


def machine() -> dict[str, Any]:
    """What was measured on: `cores` that this process may use, and names."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": _processor(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def keep(given: argparse.Namespace, figures: Mapping[str, Any]) -> None:
    """Write what was measured, with "machine" and "settings" beside it, where the command line asks for it.

    Args:
        given: the command line's values, one of which is `json`.
        figures: what was measured, ratios included; numpy's numbers and arrays too. What is undefined (NaN) becomes
            null.
    """
    if given.json is None:
        return
    settings = {name: value for name, value in vars(given).items() if name not in ("json", "one")}
    given.json.write_bytes(
        orjson.dumps(
            {**figures, "machine": machine(), "settings": settings},
            default=str,
            option=orjson.OPT_INDENT_2
            | orjson.OPT_SERIALIZE_NUMPY
            | orjson.OPT_NON_STR_KEYS
            | orjson.OPT_APPEND_NEWLINE,
        )
    )


def _processor() -> str:
    """Its name, as Linux tells it; elsewhere its kind."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.is_file() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
