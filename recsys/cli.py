"""The `recsys` command: its sub-commands are found through the entry-point group `recsys.commands`."""

from __future__ import annotations

import errno
import re
from importlib.metadata import entry_points
from typing import NoReturn

import typer
from rich.console import Console

from features.errors import InputError
from features.progress import log_to_stderr
from recsys.fit_tools import INSTALL, lacks_fit_tool

FLOW = ("synth", "check", "fit", "evaluate", "bench", "search", "publish", "serve", "demo", "doctor")
"""The order in which a newcomer meets the commands; others follow by name."""

OF_THE_MACHINE = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "ENOTDIR", "EISDIR", "EMFILE", "EIO")
)
"""What a disk or its owner refuses: no fault of the program, so nobody needs to see where in it that came up."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it; typer makes it of a KeyboardInterrupt."""

GOES_ON = "what was done before is kept, the same command goes on from there"

HELP = """
Similar items, personal feeds and search from a shop's pictures, words, attributes and behavior.

The flow, each step resumable and each ending in a summary:

  synth  ->  check  ->  fit  ->  evaluate  ->  publish  ->  serve

\b
Try it all at once on a made-up shop:  recsys demo
On your own:                           recsys demo SHOP
What a step does and takes:            recsys COMMAND --help
"""


def build_app() -> typer.Typer:
    """The command-line application with every installed sub-command."""
    app = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
    found = {point.name: point for point in entry_points(group="recsys.commands")}
    for name in sorted(found, key=lambda name: (FLOW.index(name) if name in FLOW else len(FLOW), name)):
        command = found[name].load()
        if isinstance(command, typer.Typer):
            for one in command.registered_commands:
                one.short_help = _summary(one.callback.__doc__)
            app.add_typer(command, name=name, short_help=_summary(command.info.help))
        else:
            app.command(name, short_help=_summary(command.__doc__))(command)
    return app


def _summary(told: str | None) -> str:
    """The first paragraph of a help text, which lists of commands show whole."""
    return " ".join((told or "").strip().split("\n\n")[0].split())


def main() -> None:
    """Run the command line; a mistake in what the user gave ends in one clear line and exit code 2, Ctrl-C in 130."""
    log_to_stderr()
    try:
        build_app()()
    except (KeyboardInterrupt, SystemExit) as ended:
        if isinstance(ended, SystemExit) and ended.code != INTERRUPTED:
            raise
        Console(stderr=True).print(f"interrupted; {GOES_ON}", highlight=False)
        raise SystemExit(INTERRUPTED) from None
    except InputError as error:
        _refuse(error, str(error))
    except ModuleNotFoundError as error:
        if not lacks_fit_tool(error):
            raise
        _refuse(error, f"this needs the fit tools, and {error.name} is not installed: {INSTALL}")
    except Exception as error:
        said = _refused_by_the_machine(error)
        if said is None:
            raise
        _refuse(error, f"{said}; {GOES_ON}")


def _refused_by_the_machine(error: Exception) -> str | None:
    """What a disk or its owner said, with the place where it is known; None where it was something else."""
    if isinstance(error, OSError):
        place = error.filename2 or error.filename
        code, said = error.errno, f"{place}: {error.strerror}" if place else error.strerror
    else:  # safetensors writes by itself, and tells in words
        told = re.search(r"I/O error: (.+) \(os error (\d+)\)", str(error))
        code, said = (int(told[2]), told[1]) if told else (None, None)
    return said if code in OF_THE_MACHINE else None


def _refuse(error: Exception, said: str) -> NoReturn:
    Console(stderr=True).print("error:", said, style="red", highlight=False, markup=False)
    raise SystemExit(2) from error
