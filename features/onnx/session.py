"""How an exported network is opened and run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from features.errors import InputError


def open_network(path: Path, *, threads: int = 1) -> onnxruntime.InferenceSession:
    """Open an exported network on the CPU.

    Args:
        path: the `.onnx` file.
        threads: that one run may use; a service that answers many requests at once does best with 1.

    Raises:
        InputError: the file is missing or no network.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common class of their own
        raise InputError(f"{path}: cannot be opened as a network: {error}") from error


def run_network(session: onnxruntime.InferenceSession, **inputs: NDArray[np.generic]) -> NDArray[np.float32]:
    """The first output of a network, float32; inputs that an exported network has no use for are not given to it."""
    known = {one.name for one in session.get_inputs()}
    output: NDArray[np.float32] = session.run(None, {name: one for name, one in inputs.items() if name in known})[0]
    return output
