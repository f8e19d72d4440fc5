"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Cache = Annotated[
    Path | None,
    typer.Option(
        help="Where vectors, match models and fetched pictures are kept. Default: .recsys/cache.", show_default=False
    ),
]
"""Of a command that encodes a shop's words and pictures, or fetches these."""
