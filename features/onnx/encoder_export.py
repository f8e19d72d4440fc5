"""Export the encoders that read a catalog, so that queries land among its vectors; done once an encoder and kept."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from PIL import Image

from features.encoders.config import EncoderConfig
from features.encoders.engine import exported_path
from features.encoders.image import TimmEncoder, VisionEncoder, image_encoder
from features.encoders.protocol import Arrays, Encoder, ImageEncoder
from features.encoders.text import TextEncoder
from features.locks import alone_in
from features.onnx.encoders import IMAGE, SPEC, TEXT, TOKENIZER, EncodersSpec, ImageSpec, QueryEncoders, TextSpec
from features.onnx.export import export
from features.onnx.picture import PictureSpec

FORMAT = 2
"""Raised when the same encoder is exported otherwise."""
LEAST_COSINE = 0.9999
"""Between a vector of the exported encoder and one of the original, preparation of the input included."""
EXAMPLES = ("a red cotton shirt with long sleeves", "mug", "a small wooden chair for children, painted blue and white")

log = structlog.get_logger()


class NotExportable(ValueError):  # noqa: N818 - reads as what it is
    """This encoder cannot be run without torch; the message says why."""


def exported_encoders(config: EncoderConfig, *, text: bool, image: bool, cache_dir: Path) -> dict[str, bytes | Path]:
    """The files of a `QueryEncoders` folder; what was exported before is taken from the cache.

    An encoder that cannot be exported is left out, with a warning in the log: queries of its modality then have no
    answer in the service.

    Args:
        config: the encoders.
        text: whether the shop has words to compare with.
        image: whether the shop has pictures to compare with.
        cache_dir: folder of the caches.
    """
    specs: dict[str, TextSpec | ImageSpec | None] = {"text": None, "image": None}
    files: dict[str, bytes | Path] = {}
    for kind, wanted in (("text", text), ("image", image)):
        if not wanted:
            continue
        try:
            spec, written = _text(config, cache_dir) if kind == "text" else _image(config, cache_dir)
        except NotExportable as error:
            log.warning("encoder not exported: the service cannot encode such queries", modality=kind, why=str(error))
            continue
        specs[kind] = spec
        files |= written
    about = EncodersSpec.model_validate(specs)
    return {SPEC: about.model_dump_json(indent=1).encode(), **files}


def _text(config: EncoderConfig, cache_dir: Path) -> tuple[TextSpec, dict[str, bytes | Path]]:
    encoder = TextEncoder.of(config)
    folder = _folder(cache_dir, encoder.fingerprint)
    with alone_in(folder, doing="exports the same encoder"):
        if not (folder / SPEC).is_file():
            _export_text(encoder, folder, cache_dir)
    written = EncodersSpec.model_validate_json((folder / SPEC).read_bytes()).text
    assert written is not None  # noqa: S101 - the folder is this encoder's alone
    written = written.model_copy(update={"document_prompt": encoder.prompt("document")})  # older exports do not say
    return written, {TEXT: folder / TEXT, TOKENIZER: folder / TOKENIZER}


def _export_text(encoder: TextEncoder, folder: Path, cache_dir: Path) -> None:
    if not encoder.tokenizer.is_fast:
        raise NotExportable(f"text_model's tokenizer must have a tokenizer.json, {encoder.folder} has none")
    (folder / TOKENIZER).write_text(encoder.tokenizer.backend_tokenizer.to_str(), encoding="utf-8")
    example = encoder.inputs(encoder.tokens(list(EXAMPLES), "query"))
    _export(encoder, example, folder / TEXT, cache_dir)
    spec = TextSpec(
        encoder=encoder.fingerprint,
        dim=encoder.dim,
        prompt=encoder.prompt("query"),
        max_tokens=encoder.limit,
        truncation=encoder.truncation,
        pad_id=encoder.tokenizer.pad_token_id or 0,
        fixed_length=encoder.fixed,
    )
    _keep(folder, EncodersSpec(text=spec, image=None), encoder.encode(list(EXAMPLES), "query"))


def _image(config: EncoderConfig, cache_dir: Path) -> tuple[ImageSpec, dict[str, bytes | Path]]:
    encoder = image_encoder(config)
    folder = _folder(cache_dir, encoder.fingerprint)
    with alone_in(folder, doing="exports the same encoder"):
        if not (folder / SPEC).is_file():
            spec = ImageSpec(encoder=encoder.fingerprint, dim=encoder.dim, picture=picture_spec(encoder))
            prepared = [encoder.prepare(example) for example in _pictures()]
            _export(encoder, encoder.inputs(prepared), folder / IMAGE, cache_dir)
            _keep(folder, EncodersSpec(text=None, image=spec), encoder.encode(prepared))
    written = EncodersSpec.model_validate_json((folder / SPEC).read_bytes()).image
    assert written is not None  # noqa: S101 - the folder is this encoder's alone
    return written, {IMAGE: folder / IMAGE}


def _export(encoder: Encoder, example: Arrays, path: Path, cache_dir: Path) -> None:
    """The network, from where the catalog's engine keeps it, or exported now."""
    kept = exported_path(encoder, cache_dir)
    if kept.is_file():
        shutil.copyfile(kept, path)
        return
    log.info("exporting an encoder, once", encoder=encoder.about)
    try:
        inputs = {name: torch.from_numpy(array) for name, array in example.items()}
        export(encoder.network, inputs, path, dynamic=encoder.dynamic)
    except Exception as error:  # the exporter raises whatever it stumbles on
        raise NotExportable(
            f"{encoder.about} cannot be exported ({type(error).__name__}: {str(error)[:200]})"
        ) from error


def picture_spec(encoder: ImageEncoder) -> PictureSpec:
    """How an encoder prepares its pictures, in numbers that need neither torch nor its own code.

    Raises:
        NotExportable: it does something to pictures that `PictureSpec` cannot say.
    """
    if isinstance(encoder, TimmEncoder):
        return _timm_spec(encoder.data_config)
    if isinstance(encoder, VisionEncoder) and list(encoder.dynamic) == ["pixel_values"]:
        return _processor_spec(encoder.processor)
    raise NotExportable(f"pictures of {encoder.about} are prepared in an unknown way")


def _timm_spec(config: dict[str, Any]) -> PictureSpec:
    height, width = config["input_size"][1:]
    share, mode = config["crop_pct"], config.get("crop_mode") or "center"
    if mode not in ("center", "squash") or height != width:
        raise NotExportable(
            f"image_model must crop a square from the middle, it has crop_mode {mode!r}, {height}x{width}"
        )
    side = math.floor(height / share)
    return PictureSpec(
        resize=side if mode == "center" else (side, side),
        resample=config["interpolation"],
        crop=(height, width),
        mean=None,  # its network takes pixels as they are stored, and normalizes them itself
        std=None,
    )


def _processor_spec(processor: Any) -> PictureSpec:
    size, crop = processor.size, processor.crop_size if getattr(processor, "do_center_crop", False) else None
    edge = size.get("shortest_edge")
    if not processor.do_resize or not processor.do_rescale or not math.isclose(processor.rescale_factor, 1 / 255):
        raise NotExportable("image_model's processor must resize pictures and scale them by 1/255")
    plain = processor.do_normalize
    return PictureSpec(
        resize=int(edge) if edge else (int(size["height"]), int(size["width"])),
        resample=Image.Resampling(processor.resample).name.lower(),
        crop=(int(crop["height"]), int(crop["width"])) if crop else None,
        mean=processor.image_mean if plain else (0.0, 0.0, 0.0),
        std=processor.image_std if plain else (1.0, 1.0, 1.0),
    )


def _pictures() -> list[Image.Image]:
    """Three pictures of different proportions, with edges and shades in them."""
    drawn = []
    for width, height in ((300, 200), (97, 140), (64, 64)):
        x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
        shades = np.stack([x, y, (np.sin(20 * x) * np.cos(15 * y) > 0).astype(float)], axis=-1)
        drawn.append(Image.fromarray((shades * 255).astype(np.uint8)))
    return drawn


def _folder(cache_dir: Path, fingerprint: str) -> Path:
    return cache_dir / "onnx" / f"{fingerprint}-{FORMAT}"


def _keep(folder: Path, spec: EncodersSpec, expected: NDArray[np.float32]) -> None:
    """Write the spec, last, if the folder's encoder gives the vectors of the original, input to output."""
    draft = folder / f"{SPEC}.new"
    draft.write_text(spec.model_dump_json(indent=1))
    found = QueryEncoders.of(folder, spec)
    if found.text is not None:
        vectors = found.text.encode(list(EXAMPLES))
    else:
        assert found.image is not None  # noqa: S101 - one of the two is given
        vectors = found.image.encode(_pictures())
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    least = float((vectors * unit).sum(axis=1).min())
    if not least >= LEAST_COSINE:
        raise NotExportable(f"without torch its vectors differ: cosine must be >= {LEAST_COSINE}, it is {least:.4f}")
    draft.replace(folder / SPEC)
    log.info("encoder exported", files=str(folder), cosine=round(least, 6))
