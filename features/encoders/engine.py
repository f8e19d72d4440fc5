"""What runs a network over a whole catalog: the fastest way on this machine whose vectors stay the same.

On a CPU a batch is small and runs on one thread, and as many batches run side by side as there are threads: nothing
waits for anything, and a busy neighbor slows one batch instead of all threads that meet at every layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from features.encoders import models
from features.encoders.config import EncoderConfig
from features.encoders.protocol import Arrays, Encoder
from features.errors import InputError
from features.onnx.export import export
from features.onnx.session import open_network, run_network

LEAST_COSINE = 0.9999
"""Between a vector of a faster engine and the plain network's, on a sample of the catalog. What is nearer counts as the
same and has the same fingerprint: beyond the sample too, 1 - cosine is then far below 1e-3."""
EXPORT_FROM = 400
"""Contents to encode from which "auto" exports a network first; an export costs some five seconds, and is kept."""

Name = Literal["torch", "float16", "bfloat16", "onnx"]

_HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}

log = structlog.get_logger()


@dataclass(frozen=True)
class Engine:
    """A way to run a network.

    Args:
        name: of the way.
        run: inputs of a batch to vectors, float32 [n, dim]; called by `parallel` threads at once.
        parallel: how many batches run side by side, each in a thread of its own; 0: one after the other, in the thread
            that asks for them.
    """

    name: Name
    run: Callable[[Arrays], NDArray[np.float32]]
    parallel: int


class Unfit(ValueError):  # noqa: N818 - reads as what it is
    """This engine cannot run this network as it is; the message says why."""


def engine_for(encoder: Encoder, sample: Arrays, config: EncoderConfig, *, n: int, cache_dir: Path) -> Engine:
    """The engine that a configuration names, or the fastest that keeps the vectors.

    Args:
        encoder: whose network is run.
        sample: inputs of a few contents of the catalog, on which engines are compared.
        config: names the engine, and how many threads there are.
        n: contents to encode.
        cache_dir: where exported networks are kept.

    Raises:
        InputError: the engine that the configuration names cannot run the network, or does not keep its vectors.
    """
    device = models.device_of(config.device)
    # on a GPU in the thread that asks: torch keeps cuDNN's plans for convolutions a thread, and making them again in
    # fresh threads takes longer than thousands of pictures; those of the next batch are decoded meanwhile all the same
    parallel = 0 if device.type == "cuda" else config.threads or torch.get_num_threads()
    plain = _torch(encoder.network, device, parallel)
    if config.engine == "torch":
        return plain
    named = config.engine != "auto"
    names: tuple[Name, ...] = _candidates(device) if config.engine == "auto" else (config.engine,)
    expected = plain.run(sample)
    for name in names:
        try:
            if name in _HALVES:
                engine = _half(encoder.network, name, device, parallel)
            else:
                path = exported_path(encoder, cache_dir)
                if not named and n < EXPORT_FROM and not path.is_file():
                    continue
                engine = _onnx(encoder, sample, path, device, parallel)
            _check(engine, sample, expected)
        except Unfit as error:
            if named:
                raise InputError(f"engine {name!r} cannot be used for {encoder.about}: {error}") from error
            log.info("engine not used", engine=name, model=encoder.about, why=str(error))
            continue
        return engine
    return plain


def exported_path(encoder: Encoder, cache_dir: Path) -> Path:
    """Where an encoder's exported network is kept: in the folder of its vectors."""
    return cache_dir / encoder.fingerprint / "network.onnx"


@contextmanager
def one_thread_each(engine: Engine) -> Iterator[None]:
    """Inside, every thread that is started works alone; afterwards torch has as many threads as before."""
    before = torch.get_num_threads()
    if engine.parallel > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _candidates(device: torch.device) -> tuple[Name, ...]:
    if device.type == "cuda":
        return ("float16", "bfloat16")  # as fast as each other; the first is more exact, the second never overflows
    return ("bfloat16", "onnx") if has_bfloat16() else ("onnx",)


def has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU multiplies bfloat16 numbers by itself; elsewhere they are slower than float32."""
    try:
        flags = set(cpuinfo.read_text().split())
    except OSError:
        return False
    return bool(flags & {"avx512_bf16", "amx_bf16"})


def _torch(network: nn.Module, device: torch.device, parallel: int) -> Engine:
    return Engine("torch", lambda inputs: models.run(network, inputs, device), parallel)


def _half(network: nn.Module, name: Name, device: torch.device, parallel: int) -> Engine:
    @torch.inference_mode()
    def run(inputs: Arrays) -> NDArray[np.float32]:
        with torch.autocast(device.type, dtype=_HALVES[name]):
            given: Tensor = network(*(_moved(array, device) for array in inputs.values()))
        vectors: NDArray[np.float32] = given.float().cpu().numpy()
        return vectors

    return Engine(name, run, parallel)


def _moved(array: NDArray[np.generic], device: torch.device) -> Tensor:
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _onnx(encoder: Encoder, sample: Arrays, path: Path, device: torch.device, parallel: int) -> Engine:
    if device.type != "cpu":
        raise Unfit("it runs on the CPU alone")
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        example = {name: torch.from_numpy(array) for name, array in sample.items()}
        try:
            export(encoder.network, example, path, dynamic=encoder.dynamic)
        except Exception as error:  # the exporter raises whatever it stumbles on
            first_line = (str(error).splitlines() or [""])[0]
            raise Unfit(f"it cannot be exported ({type(error).__name__}: {first_line})") from error
    session = open_network(path, threads=1)
    return Engine("onnx", lambda inputs: run_network(session, **inputs), parallel)


def _check(engine: Engine, sample: Arrays, expected: NDArray[np.float32]) -> None:
    found = engine.run(sample)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    cosine = (found * expected).sum(axis=1)[lengths > 0] / lengths[lengths > 0]
    least = float(cosine.min(initial=1.0))
    if not least >= LEAST_COSINE:
        raise Unfit(f"its vectors differ: cosine must be >= {LEAST_COSINE}, it is {least:.6f}")
