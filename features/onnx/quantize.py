"""Networks with 8-bit weights: a quarter of the memory, and faster where the CPU multiplies bytes."""

from __future__ import annotations

import logging
from pathlib import Path


def quantize(network: Path, target: Path) -> Path:
    """Write a network again with its matrices' weights as 8-bit numbers, a scale a column.

    What flows between layers is quantized as it comes (dynamic quantization), so it takes no examples. The numbers that
    come out are a little different ones: measure before use.

    Args:
        network: an exported network.
        target: where; written whole or not at all.

    Returns:
        `target`.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it recommends a preparation that changes nothing here
    aside = target.with_name(f".{target.name}.new")
    try:
        quantize_dynamic(
            network, aside, weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=["MatMul", "Gather"]
        )
    finally:
        root.setLevel(level)
    aside.replace(target)
    return target
