"""One picture's lettering: lines are found, cut out upright, and read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from features.encoders.models import fingerprint
from features.lettering.config import LetteringConfig
from features.lettering.detection import places
from features.lettering.weights import network_files
from features.onnx.session import open_network, run_network

MULTIPLE = 32
"""Sides of the picture that is searched for lines are multiples of this many pixels."""
LONGEST = 4
"""Most times the shorter side that the longer one counts; a longer picture is searched at a smaller scale."""
LINE_HEIGHT = 48
"""Pixels of a line that is read."""
LINE_WIDTHS = (160, 1280)
"""Pixels: shorter lines are filled up, longer ones pressed together."""
FINEST = 8
"""Most times that a line is cut out larger than it is read."""
MOST_DOUBTS = 2
"""Other characters kept a character."""
LEAST_DOUBT = 0.1
"""Probability of a character that is kept beside the likeliest."""
UPRIGHT = 0.5
"""Lines whose direction has a smaller horizontal part run upwards or downwards: both are tried."""


class Line(NamedTuple):
    """One line of lettering.

    Args:
        text: as read.
        confidence: mean probability of its characters, in [0, 1].
        height: of the line, as a share of the picture's height.
        doubts: for each character of the text, others that it may be, the likeliest first.
    """

    text: str
    confidence: float
    height: float
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class LetteringReader:
    """Reads pictures on the CPU, one thread a picture; safe to use in several threads at once.

    Args:
        config: at which sizes pictures are searched.
    """

    config: LetteringConfig

    @property
    def fingerprint(self) -> str:
        """Changes with the weights and with what changes the lines; the version is that of this folder's steps."""
        return fingerprint(network_files(), "lettering", 1, self.config.sides)

    def read(self, picture: Image.Image) -> tuple[Line, ...]:
        """The lines in a picture, from top to bottom, those found at one size after those found at another; () where
        nothing is lettered.

        Args:
            picture: RGB.
        """
        lines = [line for side in self.config.sides for line in self._read_at(picture, side)]
        best: dict[str, Line] = {}
        for line in lines:  # a line that was read alike at two sizes is one
            if line.text not in best or line.confidence > best[line.text].confidence:
                best[line.text] = line
        return tuple(best.values())

    def _read_at(self, picture: Image.Image, side: int) -> Iterator[Line]:
        size = searched_size(picture.size, side)
        searched = picture.resize(size, Image.Resampling.BICUBIC)
        # the network takes blue, green, red
        pixels = np.asarray(searched, dtype=np.float32)[:, :, ::-1] / 127.5 - 1
        found = places(run_network(self._finder, x=np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))[0, 0])
        for place in found:
            # small lettering is read from the picture itself, where that shows it larger
            source = picture if place.height < LINE_HEIGHT and picture.width > searched.width else searched
            scale = np.array(source.size) / np.array(size)
            ways = (place, place.turned()) if abs(place.along[0]) < UPRIGHT else (place,)
            read = [self._spell(cut_out(source, way.corners() * scale), place.height / size[1]) for way in ways]
            line = max(read, key=lambda line: line.confidence)
            if line.text:
                yield line

    def _spell(self, line: NDArray[np.float32], height: float) -> Line:
        """Read one line, float32 [LINE_HEIGHT, width, 3] in [-1, 1], by the best path of the network's alignment
        (connectionist temporal classification: Graves et al., 2006).
        """
        probability = run_network(self._speller, x=np.ascontiguousarray(line[:, :, ::-1].transpose(2, 0, 1)[None]))[0]
        best = probability.argmax(axis=1)
        new = (best != 0) & np.concatenate([[True], best[1:] != best[:-1]])
        spelled = [(self._characters[one], step) for step, one in zip(np.flatnonzero(new), best[new], strict=True)]
        while spelled and spelled[0][0] == " ":
            spelled.pop(0)
        while spelled and spelled[-1][0] == " ":
            spelled.pop()
        steps = probability[[step for _, step in spelled]]
        return Line(
            "".join(character for character, _ in spelled),
            float(steps.max(axis=1).mean()) if spelled else 0.0,
            height,
            tuple(self._doubts(step) for step in steps),
        )

    def _doubts(self, probability: NDArray[np.float32]) -> str:
        """Characters that are likely enough at one step, without the likeliest."""
        order = np.argsort(-probability, kind="stable")[1 : MOST_DOUBTS + 1]
        return "".join(self._characters[one] for one in order.tolist() if one and probability[one] >= LEAST_DOUBT)

    @cached_property
    def _finder(self) -> onnxruntime.InferenceSession:
        return open_network(network_files()[0])

    @cached_property
    def _speller(self) -> onnxruntime.InferenceSession:
        return open_network(network_files()[1])

    @cached_property
    def _characters(self) -> list[str]:
        """What each output of the network means; the first one means nothing."""
        known = self._speller.get_modelmeta().custom_metadata_map["character"].split("\n")
        return ["", *known, " "]


def searched_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Width and height at which a picture is searched: multiples of `MULTIPLE`, the shorter side about `side`."""
    scale = min(side / min(size), LONGEST * side / max(size))
    width, height = (max(MULTIPLE, round(length * scale / MULTIPLE) * MULTIPLE) for length in size)
    return width, height


def cut_out(picture: Image.Image, corners: NDArray[np.float64]) -> NDArray[np.float32]:
    """A slanted rectangle of a picture as an upright line.

    Args:
        picture: RGB.
        corners: (x, y) of top left, bottom left, bottom right, top right as the text is read, float64 [4, 2].

    Returns:
        float32 [LINE_HEIGHT, width, 3] in [-1, 1]; gray where it is filled up.
    """
    height = float(np.linalg.norm(corners[1] - corners[0]))
    width = float(np.linalg.norm(corners[3] - corners[0]))
    least, most = LINE_WIDTHS
    length = min(max(8, round(LINE_HEIGHT * width / max(height, 1e-6))), most)
    finer = min(max(1, math.floor(height / LINE_HEIGHT)), FINEST)  # scaled down in a second step, which averages
    cut = picture.transform(
        (length * finer, LINE_HEIGHT * finer),
        Image.Transform.QUAD,
        tuple(corners.ravel().tolist()),
        Image.Resampling.BICUBIC,
    )
    if finer > 1:
        cut = cut.resize((length, LINE_HEIGHT), Image.Resampling.BOX)
    line = np.zeros((LINE_HEIGHT, max(least, length), 3), dtype=np.float32)
    line[:, :length] = np.asarray(cut, dtype=np.float32) / 127.5 - 1
    return line
