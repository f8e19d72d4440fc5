"""Why a listing scores as it does: where its words look in the picture, and which parts of it speak for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from features.encoders.local import SceneEncoder
from features.match.fine.fusion import CoAttention
from features.match.fine.model import FineModel
from features.match.fine.views import Listings

STEPS = 8
"""Stops on the way from the gray picture to the own one."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """One listing's score, place by place.

    Args:
        score: probability that words and picture belong together.
        grid: patches from top to bottom and from left to right.
        attribution: float64 [rows, columns]; how much each patch adds to the cosine of words and picture. Together
            about the cosine less that of the words with an even gray.
        attention: float64 [tokens, patches]; where each token looks, mean over heads and members; [0, patches] without
            co-attention.
    """

    score: float
    grid: tuple[int, int]
    attribution: NDArray[np.float64]
    attention: NDArray[np.float64]


def explain(model: FineModel, listings: Listings, row: int, picture: Image.Image) -> Explanation:
    """Explain one listing.

    Args:
        model: the fitted model.
        listings: of the shop.
        row: the listing.
        picture: its picture, RGB.
    """
    views = model.views(listings, np.array([row]))
    texts, images = model.embed(views)
    score = float(model.calibrator(model.evidence(views, texts, images), prior=model.config.prior)[0])
    grid = model.config.local.grid
    return Explanation(score, grid, attribution(model, texts[0], picture), _attention(model, listings, row))


def attribution(model: FineModel, text: NDArray[np.float32], picture: Image.Image) -> NDArray[np.float64]:
    """Integrated gradients (Sundararajan et al., 2017) of the cosine, summed over each patch, float64 [rows, columns].

    The path leads from an even picture of the own mean color to the own one. Color histograms count pixels in steps and
    so have no slope: what they say is not attributed to places.
    """
    encoder = SceneEncoder(model.config.local, model.device, model.encoders)
    pixels = torch.from_numpy(encoder.prepare(picture)).to(model.device)[None].float() / 255
    start = pixels.mean((2, 3), keepdim=True).expand_as(pixels)
    wanted = torch.from_numpy(text).to(model.device)
    share = 1 / np.sqrt(len(model.members))
    total = torch.zeros_like(pixels)
    for step in range(STEPS):
        at = (start + (step + 0.5) / STEPS * (pixels - start)).requires_grad_()
        units = []
        for member in model.members:
            scene, _ = (encoder.network if member.scenes is None else member.scenes.network)(at)
            tower = member.towers.image
            units.append(tower.of(tower.standardize(scene)).unit)
        (slope,) = torch.autograd.grad((torch.cat(units, dim=1)[0] * share) @ wanted, at)
        total += slope / STEPS
    per_pixel = (total * (pixels - start)).sum(1, keepdim=True)
    rows, columns = model.config.local.grid
    cells = functional.adaptive_avg_pool2d(per_pixel, (rows, columns))[0, 0]
    n_pixels = per_pixel.shape[2] * per_pixel.shape[3] / (rows * columns)
    return np.asarray((cells * n_pixels).double().cpu().numpy())


@torch.inference_mode()
def _attention(model: FineModel, listings: Listings, row: int) -> NDArray[np.float64]:
    views = model.views(listings, np.array([row]))
    found = []
    for member in model.members:
        if isinstance(member.fusion, CoAttention):
            words, pictures = member.read(views, *member.embed(views))
            _, looks, _ = member.fusion.look(words, pictures)
            found.append(looks[0].mean(0)[views.token_mask[0]])
    n_patches = model.config.local.grid[0] * model.config.local.grid[1]
    if not found:
        return np.zeros((0, n_patches))
    return np.asarray(torch.stack(found).mean(0).double().cpu().numpy())
