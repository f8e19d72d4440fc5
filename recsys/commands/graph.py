"""`recsys graph`: build, look at, and hand on a shop's knowledge graph."""

from __future__ import annotations

import typer

from recsys.commands.graph_looking import neighbors, path, picture, stats
from recsys.commands.graph_making import add, build, export

app = typer.Typer(
    help="The knowledge graph: what is connected to what, by which relation, how strongly.\n\n"
    "SOURCE is a shop folder, whose graph is then built of all its events, or a graph saved by `recsys graph build`.",
    no_args_is_help=True,
)
for command in (build, add, stats, neighbors, path, export, picture):
    app.command()(command)
