"""`recsys demo`: from a shop folder, or from nothing, to a storefront in the browser."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from serving.demo import DemoFolder

READY_WITHIN_S = 180.0
STOP_WITHIN_S = 20.0


def demo(
    shop_dir: Annotated[
        Path | None,
        typer.Argument(help="Shop folder to show. Without one, a synthetic shop is made.", show_default=False),
    ] = None,
    *,
    items: Annotated[int, typer.Option(min=200, max=1_000_000, help="Size of the synthetic shop.")] = 800,
    seed: Annotated[int, typer.Option(min=0, help="Of the synthetic shop and of the training.")] = 0,
    split: Annotated[
        Path | None, typer.Option(help="Split file to evaluate on, as for recsys fit.", show_default=False)
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A setting of recsys fit, such as train.epochs=20; may be repeated.", show_default=False
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The next free one is taken if this one is in use.")
    ] = 8000,
    work: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path(".recsys/demo"),
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the storefront in a browser.")] = False,
    check: Annotated[bool, typer.Option("--check", "--once", help="See that it all answers, then stop.")] = False,
) -> None:
    """Train on a shop and open its storefront.

    Makes a synthetic shop (or takes SHOP_DIR), trains and evaluates, starts the embedded Redis and the service, and
    prints the addresses. A second start finds everything made and only serves; change a file of the shop, and it
    trains again. Ctrl-C stops it.
    """
    from rich.console import Console

    from features.errors import InputError
    from serving.demo import DemoFolder, base_url, free_port, verify, wait_until_ready

    console = Console(highlight=False)
    started = time.monotonic()
    if shop_dir is not None and not shop_dir.is_dir():
        raise InputError(f"SHOP_DIR must be a folder with items.parquet, .csv or .jsonl, got {str(shop_dir)!r}")
    if split is not None and not split.is_file():
        raise InputError(f"--split must be a file, got {str(split)!r}")
    folder = (
        DemoFolder.synthetic(work, items=items, seed=seed) if shop_dir is None else DemoFolder.of_shop(work, shop_dir)
    )
    if shop_dir is None:
        _make_shop(folder, items=items, seed=seed, console=console)
    _fit(folder, seed=seed, split=split, settings=setting or [], cache=work / "cache", console=console)

    chosen = free_port(host, port)
    if port and chosen != port:
        console.print(f"port {port} is in use, taking {chosen}")
    with _serving(folder, host, chosen) as process:
        wait_until_ready(process, host, chosen, log=folder.service_log, timeout_s=READY_WITHIN_S)
        if check:
            verify(host, chosen)
        try:
            _announce(folder, base_url(host, chosen), console, seconds=time.monotonic() - started, stays=not check)
            if check:
                return
            if browser:
                typer.launch(base_url(host, chosen))
            process.wait()
        except KeyboardInterrupt:
            console.print("stopping")
            return
        raise InputError(f"the service ended with exit code {process.returncode}; see {folder.service_log}")


def _make_shop(folder: DemoFolder, *, items: int, seed: int, console: Console) -> None:
    """Draw the synthetic shop, unless it is there."""
    arguments = {"items": items, "seed": seed}
    if folder.is_made("synth", arguments):
        return
    folder.forget("synth")
    _step(console, "Making a synthetic shop", ["synth", str(folder.shop), "--items", str(items), "--seed", str(seed)])
    folder.record("synth", arguments)


def _fit(
    folder: DemoFolder, *, seed: int, split: Path | None, settings: list[str], cache: Path, console: Console
) -> None:
    """Train and evaluate, unless that was done with the same shop and arguments."""
    split_state = None if split is None else [str(split.resolve()), split.stat().st_size, split.stat().st_mtime_ns]
    arguments = {"seed": seed, "split": split_state, "settings": settings}
    if folder.is_made("fit", arguments):
        reason = folder.why_no_bundle()
        if reason is None:
            console.print(f"[dim]trained before, nothing has changed: {folder.run.bundle}[/]")
            return
        console.print(f"trained before, but to be done again: {reason}", markup=False)
    command = ["fit", str(folder.shop), "--out", str(folder.path), "--cache", str(cache), "--seed", str(seed)]
    if split is not None:
        command += ["--split", str(split)]
    for setting in settings:
        command += ["--set", setting]
    folder.forget("fit")
    _step(console, "Training and evaluating", command)
    folder.record("fit", arguments)


def _step(console: Console, title: str, arguments: Sequence[str]) -> None:
    """Run a sub-command in its own process, so that the service never holds the training stack."""
    console.rule(f"[bold]{title}", align="left")
    started = time.monotonic()
    with _terminated_as_interrupt():
        done = subprocess.run([sys.executable, "-m", "recsys", *arguments], check=False)  # noqa: S603 - our own command
    if done.returncode:
        raise typer.Exit(done.returncode)
    console.print(f"[dim]{title.lower()} took {time.monotonic() - started:.1f} s[/]")


@contextmanager
def _serving(folder: DemoFolder, host: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The service as a child; whichever way the block is left, it has stopped afterwards."""
    command = [
        "serve",
        "--bundle",
        str(folder.run.bundle),
        "--shop",
        str(folder.shop),
        "--host",
        host,
        "--port",
        str(port),
    ]
    environment = {"RECSYS_STATE_DIR": str(folder.path / "state"), **os.environ}
    with folder.service_log.open("wb") as log, _terminated_as_interrupt():
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "recsys", *command], stdout=log, stderr=subprocess.STDOUT, env=environment
        )
        try:
            yield process
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask, wait, insist. A terminal's Ctrl-C has reached the child already; asking again does no harm."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_WITHIN_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()


@contextmanager
def _terminated_as_interrupt() -> Iterator[None]:
    """Let SIGTERM unwind like Ctrl-C, so that a child is never left behind."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _announce(folder: DemoFolder, url: str, console: Console, *, seconds: float, stays: bool) -> None:
    from rich.panel import Panel
    from rich.table import Table

    table = Table.grid(padding=(0, 3))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, where in (
        ("Storefront", f"{url}/"),
        ("API docs", f"{url}/docs"),
        ("Metrics", f"{url}/metrics"),
        ("Report", str(folder.run.report.resolve())),
        ("Service log", str(folder.service_log.resolve())),
    ):
        table.add_row(name, where)
    note = "Ctrl-C stops the service and its Redis." if stays else "Checked: storefront and feed answer. Stopping."
    console.print(
        Panel(
            table,
            title=f"ready in {seconds:.1f} s",
            subtitle=note,
            title_align="left",
            subtitle_align="left",
            expand=False,
        )
    )
