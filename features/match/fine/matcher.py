"""One member of the fine match model: two towers and, where configured, a fusion of both."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from features.encoders.config import AS_INSTALLED, EncoderConfig
from features.encoders.tuning import learned
from features.match.fine.config import FineConfig
from features.match.fine.fusion import CoAttention, Concatenation
from features.match.fine.towers import Towers
from features.match.fine.tuning import TunedScenes, TunedSentences
from features.match.fine.views import Views

CHUNK = 1024
"""Listings or pairs handled at once."""
NETWORKS = ("scenes.", "sentences.")
"""Names of the parameters of tuned networks begin so."""


@dataclass(frozen=True)
class Sizes:
    """What the networks are built for.

    Args:
        n_words: known words.
        d_sentence: length of a sentence vector.
        d_scene: length of a scene.
        d_token: length of a token's state; 0 where tokens are not read.
        n_patches: patches of a picture; 0 where they are not read.
        d_patch: length of a patch.
        n_values: values of each attribute that is told.
    """

    n_words: int
    d_sentence: int
    d_scene: int
    d_token: int
    n_patches: int
    d_patch: int
    n_values: tuple[int, ...]

    @classmethod
    def of(cls, views: Views, n_words: int, n_values: tuple[int, ...]) -> Sizes:
        """Those of the given listings."""
        _, n_patches, d_patch = views.patches.shape
        sentence, scene, token = views.sentence.shape[1], views.scene.shape[1], views.tokens.shape[2]
        return cls(n_words, sentence, scene, token, n_patches, d_patch, n_values)


class Matcher(nn.Module):
    """Towers, the networks before them that are tuned, and a fusion unless alignment with two towers is all that is
    asked for.

    Args:
        sizes: of the inputs.
        config: of the networks.
        encoders: name what is tuned.
    """

    fusion: Concatenation | CoAttention | None

    def __init__(self, sizes: Sizes, config: FineConfig, encoders: EncoderConfig = AS_INSTALLED) -> None:
        super().__init__()
        self.sizes, self.config = sizes, config
        self.towers = Towers(sizes.n_words, sizes.d_sentence, sizes.d_scene, list(sizes.n_values), config)
        self.scenes: TunedScenes | None = None
        self.sentences: TunedSentences | None = None
        if config.tuning != "frozen":
            self.scenes = TunedScenes(encoders, config.image_extent, config.local.grid)
        if config.text_tuning != "frozen":
            self.sentences = TunedSentences(encoders, config.text_extent, config.local.tokens)
        self.offset = nn.Parameter(torch.tensor(0.3))
        if config.architecture == "co_attention":
            self.fusion = CoAttention(sizes.d_token, sizes.d_patch, sizes.n_patches, config)
        elif config.learning != "alignment":
            self.fusion = Concatenation(config.dim, config)
        else:
            self.fusion = None

    def see(self, views: Views) -> Views:
        """The listings with pictures and words read by the tuned networks; as they are where nothing is tuned."""
        if self.scenes is not None:
            scene, patches = self.scenes(views.pixels)
            views = replace(views, scene=scene, patches=patches if views.patches.shape[1] else views.patches)
        if self.sentences is not None:
            sentence, states = self.sentences(views.ids)
            views = replace(views, sentence=sentence, tokens=states if views.tokens.shape[1] else views.tokens)
        return views

    def kept(self) -> dict[str, Tensor]:
        """The state without what tuned networks have left as it was, which their encoders hold."""
        moved = learned(self)
        return {
            name: value for name, value in self.state_dict().items() if name in moved or not name.startswith(NETWORKS)
        }

    def put_back(self, state: dict[str, Tensor]) -> None:
        """Take what `kept` gave.

        Raises:
            RuntimeError: names or shapes are others.
        """
        told = self.load_state_dict(state, strict=False)
        wrong = sorted(set(told.missing_keys) & set(self.kept())) + list(told.unexpected_keys)
        if wrong:
            raise RuntimeError(f"a member must have all of its parameters and no others, see {wrong[0]}")

    def embed(self, views: Views) -> tuple[Tensor, Tensor]:
        """Words and pictures in the shared space, [n, dim] each, rows of length 1; no gradient, a few at once."""
        texts, images = [], []
        with torch.inference_mode():
            for rows in torch.split(torch.arange(len(views), device=views.words.device), CHUNK):
                part = self.see(views.at(rows))
                texts.append(self.towers.text(part).unit)
                images.append(self.towers.image(part).unit)
        empty = [torch.zeros(0, self.config.dim)]
        return torch.cat(texts or empty), torch.cat(images or empty)

    def read(self, views: Views, text: Tensor, image: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """What the fusion needs of listings: of their words, and of their pictures."""
        assert self.fusion is not None  # noqa: S101 - asked for where there is one
        parts = self.fusion.read(views, text, image)
        return parts[: self.fusion.text_parts], parts[self.fusion.text_parts :]

    @torch.inference_mode()
    def fused(self, views: Views, text_rows: Tensor, image_rows: Tensor) -> Tensor:
        """The fusion's logits [n] of pairs: words of the listings `text_rows`, pictures of `image_rows`, int64 [n]."""
        assert self.fusion is not None  # noqa: S101 - asked for where there is one
        texts, images = self.embed(views)
        found = []
        for t, i in zip(torch.split(text_rows, CHUNK), torch.split(image_rows, CHUNK), strict=True):
            words = self.read(self.see(views.at(t)), texts[t], images[t])[0]
            pictures = self.read(self.see(views.at(i)), texts[i], images[i])[1]
            found.append(self.fusion.compare(words, pictures))
        return torch.cat(found) if found else torch.zeros(0)
