"""What a machine lacks that was set up to serve alone: the packages of the extra `fit`."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec

INSTALL = "pip install 'recsys[fit]', or make install"


def fit_tools() -> frozenset[str]:
    """Modules of the packages that `pyproject.toml` lists under the extra `fit`, each named as its package is."""
    try:
        listed = requires("recsys") or []
    except PackageNotFoundError:
        return frozenset()
    named = (re.split(r"[^\w.-]", one)[0] for one in listed if re.search(r"extra == .fit\b", one))
    return frozenset(name.lower().replace("-", "_") for name in named)


def only_serves() -> bool:
    """Whether the fit tools were left out: torch, which all of them rest on, is not installed."""
    return find_spec("torch") is None


def lacks_fit_tool(error: ModuleNotFoundError) -> bool:
    """Whether it is a fit tool that could not be imported."""
    return (error.name or "").partition(".")[0] in fit_tools()
