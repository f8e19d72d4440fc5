"""Write networks so that they run without torch; every exported one is run beside the original before it is kept."""

from __future__ import annotations

import copy
import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from features.onnx.session import run_network

TOLERANCE = 1e-3
"""Most that an exported network may differ from the original, in units of the output's standard deviation."""

AXES = ("batch", "length")
"""Names of the axes that may have any length; equal names, equal lengths."""


def export(
    network: nn.Module, inputs: Mapping[str, Tensor], path: Path, *, dynamic: Mapping[str, Sequence[int]]
) -> float:
    """Write a network as ONNX and compare it with the original.

    Args:
        network: takes the inputs by position, gives one float32 tensor; put into evaluation mode.
        inputs: an example of each input, on the CPU; every dynamic axis longer than 1.
        path: where; written whole or not at all.
        dynamic: of each input, the axes whose length may be another; axis 0 of all is the batch.

    Returns:
        Most that any number of the output differs on the example.

    Raises:
        ValueError: the exported network gives other numbers than the original.
    """
    network = copy.deepcopy(network).cpu().eval()  # the original may go on elsewhere
    shapes = tuple({axis: AXES[axis] for axis in dynamic[name]} for name in inputs)
    kinds = {parameter.kind for parameter in inspect.signature(network.forward).parameters.values()}
    with _quiet():
        program = torch.onnx.export(
            network,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=["output"],
            dynamic_shapes=(shapes,) if inspect.Parameter.VAR_POSITIONAL in kinds else shapes,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # noqa: S101 - only the legacy exporter returns none
    aside = path.with_name(f".{path.name}.new")
    program.save(str(aside), external_data=False)
    difference = _difference(network, inputs, aside)
    aside.replace(path)
    return difference


def _difference(network: nn.Module, inputs: Mapping[str, Tensor], path: Path) -> float:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    most = 0.0
    for rows in (slice(None), slice(0, 1)):  # one alone too: the batch must not be fixed
        given = {name: value[rows] for name, value in inputs.items()}
        with torch.inference_mode():
            expected: NDArray[np.float32] = network(*given.values()).numpy()
        found = run_network(session, **{name: value.numpy() for name, value in given.items()})
        worst = float(np.abs(found - expected).max())
        if not worst <= TOLERANCE * max(float(expected.std()), 1e-6):
            raise ValueError(f"{path.name}: an exported network must give the original's numbers, it is off by {worst}")
        most = max(most, worst)
    return most


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter reports its own progress and its own future; neither concerns the user."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
