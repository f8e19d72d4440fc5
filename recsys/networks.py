"""Everything a bundle holds under `onnx/`: what the service needs to take in texts, pictures and items it never met."""

from __future__ import annotations

from pathlib import Path

from features.onnx.encoder_export import exported_encoders
from features.onnx.encoders import TEXT
from features.onnx.match_export import export_match_towers
from features.onnx.quantize import quantize
from graph.cold_export import export_cold_tower
from recsys.cold_items import COLD_ITEM
from recsys.config import FitConfig
from recsys.prepare import Prepared
from recsys.training import FittedGNN


def export_networks(
    prepared: Prepared, fitted: FittedGNN, config: FitConfig, *, folder: Path, cache_dir: Path
) -> dict[str, bytes | Path]:
    """Export the encoders, the match towers and the tower for new items.

    Args:
        prepared: the shop's vectors and match model.
        fitted: the GNN.
        config: of the fit.
        folder: where to write what belongs to this fit alone.
        cache_dir: exported encoders are kept here, shared by all fits.

    Returns:
        Files by their name within `onnx/`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vectors = prepared.vectors
    files = exported_encoders(
        config.encoders, text=bool(vectors.text.mask.any()), image=bool(vectors.image.mask.any()), cache_dir=cache_dir
    )
    encoder = files.get(TEXT)
    if config.search.int8 and isinstance(encoder, Path):
        files[TEXT] = quantize(encoder, folder / TEXT)
    files |= export_match_towers(prepared.match, folder)
    export_cold_tower(fitted.cold, vectors, image_share=config.model.image_share, path=folder / COLD_ITEM)
    return {**files, COLD_ITEM: folder / COLD_ITEM}
