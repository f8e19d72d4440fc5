"""The fitted fine match model: several members that act as one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from features.encoders.config import AS_INSTALLED, EncoderConfig
from features.match.calibrator import Calibrator
from features.match.fine.config import FineConfig
from features.match.fine.kernel import KernelHeads
from features.match.fine.matcher import CHUNK, Matcher
from features.match.fine.pixel_heads import PixelHeads
from features.match.fine.views import Listings, Views
from features.match.fine.words import WordList


@dataclass(frozen=True, eq=False)
class Bank:
    """Listings that a margin is measured against, in the shared space, rows of length 1.

    Args:
        texts: float32 [n_bank, dim].
        images: float32 [n_bank, dim].
    """

    texts: NDArray[np.float32]
    images: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FineModel:
    """Which words and pictures belong together, learned from one shop and usable on others.

    Args:
        config: how it was trained.
        words: the words it knows.
        members: trained from different seeds.
        labels: name and values of each attribute it can tell.
        bank: listings of the shop it was trained on.
        calibrator: margin to probability.
        blend: weight of the fusion's logit beside the towers' cosine times the inverse temperature.
        kernel_heads: remembered listings by which attributes are told; None where there are none.
        kernel_shares: weight of these beside the heads on scenes, one an attribute.
        pixel_heads: networks of their own that tell attributes from pixels; as many as configured.
        pixel_shares: weight of these beside all others, one an attribute.
        encoders: by which listings are read.
    """

    config: FineConfig
    words: WordList
    members: tuple[Matcher, ...]
    labels: tuple[tuple[str, tuple[str, ...]], ...]
    bank: Bank
    calibrator: Calibrator
    blend: float
    kernel_heads: KernelHeads | None = None
    kernel_shares: tuple[float, ...] = ()
    pixel_heads: tuple[PixelHeads, ...] = ()
    pixel_shares: tuple[float, ...] = ()
    encoders: EncoderConfig = AS_INSTALLED

    @property
    def device(self) -> torch.device:
        """Where the members are."""
        return self.members[0].offset.device

    @property
    def scale(self) -> float:
        """Inverse temperature: the members' mean."""
        return float(np.mean([float(member.towers.logit_scale.detach()) for member in self.members]))

    def views(self, listings: Listings, rows: NDArray[np.int64] | None = None) -> Views:
        """Some rows of a shop (by default all) as this model sees them."""
        rows = np.arange(len(listings)) if rows is None else rows
        return Views.of(listings, self.words.ids([listings.texts[row] for row in rows]), rows, self.device)

    def embed(self, views: Views) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Words and pictures in the shared space, float32 [n, members * dim] each, rows of length 1.

        The members' vectors stand side by side, so that a cosine is the mean of their cosines.
        """
        found = [member.embed(views) for member in self.members]
        share = 1 / math.sqrt(len(self.members))
        texts, images = (torch.cat([pair[side] for pair in found], dim=1) * share for side in (0, 1))
        return texts.float().cpu().numpy(), images.float().cpu().numpy()

    def margins(self, texts: NDArray[np.float32], images: NDArray[np.float32]) -> NDArray[np.float64]:
        """By how much each text and picture go together more than either goes with others of the bank.

        As `Judge.margin`: scale * cosine less the mean of log mean exp over the bank, both ways, float64 [n].
        """
        scale = self.scale
        out = np.empty(len(texts))
        for first in range(0, len(texts), CHUNK):
            t, i = texts[first : first + CHUNK].astype(np.float64), images[first : first + CHUNK].astype(np.float64)
            others = [_log_mean_exp(scale * a @ b.T) for a, b in ((t, self.bank.images), (i, self.bank.texts))]
            out[first : first + CHUNK] = scale * np.einsum("nd,nd->n", t, i) - (others[0] + others[1]) / 2
        return out

    def evidence(
        self, views: Views, texts: NDArray[np.float32], images: NDArray[np.float32], of: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """How strongly each listing's words speak for a picture: the margin, or the fusion's logit where the towers
        share no space.

        Args:
            views: the listings.
            texts: their words in the shared space.
            images: their pictures.
            of: whose picture is compared with each listing's words; by default its own.
        """
        of = np.arange(len(views)) if of is None else of
        if self.config.learning == "joint":
            return self.fused(views, np.arange(len(views)), of)
        return self.margins(texts, images[of])

    def fused(self, views: Views, text_rows: NDArray[np.int64], image_rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The members' mean fusion logit of pairs, words of `text_rows` with pictures of `image_rows`, float64 [n]."""
        t, i = (torch.from_numpy(rows).to(self.device) for rows in (text_rows, image_rows))
        logits = torch.stack([member.fused(views, t, i) for member in self.members]).mean(0)
        return np.asarray(logits.double().cpu().numpy())

    def likeness(self, views: Views, texts: NDArray[np.float32], images: NDArray[np.float32]) -> NDArray[np.float64]:
        """How well each listing's words go with each listing's picture, float64 [n, n]: cosines, or of a jointly
        learned model the fusion's logits of all n * n pairs.
        """
        if self.config.learning != "joint":
            return np.asarray(texts.astype(np.float64) @ images.T)
        n = len(views)
        rows = np.arange(n)
        return np.stack([self.fused(views, np.full(n, row), rows) for row in rows])

    @property
    def reranks(self) -> bool:
        """Whether a search by the towers is ordered again by the fusion."""
        return self.config.learning != "joint" and self.members[0].fusion is not None

    @torch.inference_mode()
    def told(self, views: Views, *, of: str = "image") -> list[NDArray[np.float32]]:
        """Probability of each value of each attribute, from the picture alone or from the words alone.

        Args:
            views: the listings.
            of: "image" or "text".

        Returns:
            float32 [n, values] an attribute.
        """
        by_members: list[list[Tensor]] = []
        for member in self.members:
            towers = member.towers
            heads = towers.image_heads if of == "image" else towers.text_heads
            tower = towers.image if of == "image" else towers.text
            parts = torch.split(torch.arange(len(views), device=self.device), CHUNK)
            hidden = torch.cat([tower(member.see(views.at(rows))).hidden for rows in parts])
            by_members.append([head(hidden).softmax(1) for head in heads])
        found = [torch.stack(each).mean(0).cpu().numpy() for each in zip(*by_members, strict=True)]
        if of == "image" and self.kernel_heads is not None:
            found = _mixed(found, self.told_by_kernels(views), self.kernel_shares)
        if of == "image" and self.pixel_heads:
            found = _mixed(found, self.told_by_pixels(views), self.pixel_shares)
        return found

    def told_by_kernels(self, views: Views) -> list[NDArray[np.float32]]:
        """As `told`, by the remembered listings alone."""
        if self.kernel_heads is None:
            raise ValueError("the model must have remembered listings to tell attributes by, it has none")
        return [told.cpu().numpy() for told in self.kernel_heads.told(views)]

    def told_by_pixels(self, views: Views) -> list[NDArray[np.float32]]:
        """As `told`, by the networks on pixels alone: the mean of their probabilities."""
        parts = torch.split(views.pixels, CHUNK)
        found = [[torch.cat(each) for each in zip(*map(heads.told, parts), strict=True)] for heads in self.pixel_heads]
        return [torch.stack(each).mean(0).cpu().numpy() for each in zip(*found, strict=True)]


def _mixed(
    some: list[NDArray[np.float32]], others: list[NDArray[np.float32]], shares: tuple[float, ...]
) -> list[NDArray[np.float32]]:
    """Of each attribute, the probabilities of both, the others' by the given weight."""
    return [(1 - share) * a + share * b for a, b, share in zip(some, others, shares, strict=True)]


def _log_mean_exp(x: NDArray[np.float64]) -> NDArray[np.float64]:
    highest = x.max(axis=1, keepdims=True)
    return np.asarray((highest + np.log(np.exp(x - highest).mean(axis=1, keepdims=True)))[:, 0])
