"""Make `import torchvision` work beside any build of torch; import this before timm or transformers.

The registry's torchvision is compiled against one CUDA build of torch. Beside a CPU build its operator library
does not load, and then `import torchvision` fails with "operator torchvision::nms does not exist", which breaks timm
and parts of transformers although neither needs those operators. Where the library does not load, this module
declares the operators that torchvision looks up on import. They have a schema and no kernel: the import works, and
calling one still says plainly that it is not available.
"""

from __future__ import annotations

from enum import Enum
from importlib.util import find_spec
from pathlib import Path

import torch

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width, "
    "int sampling_ratio, bool aligned) -> Tensor",
)
"""What torchvision looks up while it is imported."""


class TorchvisionState(Enum):
    """How torchvision's operators are available."""

    ABSENT = "not installed"
    NATIVE = "operators loaded"
    DECLARED = "operators declared without kernels (built for another torch); pictures are encoded all the same"


def _exists(name: str) -> bool:
    return hasattr(torch.ops.torchvision, name)


def _load_native(folder: Path) -> bool:
    for library in sorted(folder.glob("_C*.so")) + sorted(folder.glob("_C*.pyd")):
        try:
            torch.ops.load_library(library)  # type: ignore[no-untyped-call]
        except OSError:
            continue
        return _exists("nms")
    return False


def prepare() -> tuple[TorchvisionState, torch.library.Library | None]:
    """Load torchvision's operators, or declare the missing ones. Calling it again changes nothing.

    Returns:
        The state, and the library that owns the declarations: they last as long as it is referenced.
    """
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return TorchvisionState.ABSENT, None
    if _load_native(Path(spec.origin).parent):
        return TorchvisionState.NATIVE, None
    declared = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in SCHEMAS:
        if not _exists(schema.partition("(")[0]):
            declared.define(schema)  # type: ignore[no-untyped-call]
    return TorchvisionState.DECLARED, declared


STATE, _DECLARED = prepare()
