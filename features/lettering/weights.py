"""The networks that find and read lettering: they come with the installation, in the package `rapidocr`.

PP-OCRv6 small (PaddleOCR's authors; Apache-2.0): one network finds lines of text in any script, the other reads them
in some 18,000 characters, Latin and Chinese among them. Of the package only these files are used; its code is not
imported.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from features.errors import InputError

FINDER = "PP-OCRv6_det_small.onnx"
READER = "PP-OCRv6_rec_small.onnx"


def network_files() -> tuple[Path, Path]:
    """Files of the network that finds lines, and of the one that reads them.

    Raises:
        InputError: the package is not installed, or a version without these files.
    """
    spec = find_spec("rapidocr")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("lettering needs the package rapidocr, it is not installed: pip install rapidocr==3.10.0")
    folder = Path(spec.submodule_search_locations[0]) / "models"
    for name in (FINDER, READER):
        if not (folder / name).is_file():
            raise InputError(f"lettering needs {name}, {folder} does not hold it: pip install rapidocr==3.10.0")
    return folder / FINDER, folder / READER
