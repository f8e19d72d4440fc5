"""Networks that look at words and picture together and say how well they go together."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from features.match.fine.config import FineConfig
from features.match.fine.views import Views


def crossed(text: Tensor, image: Tensor) -> Tensor:
    """Both vectors, what they have in common, and where they differ, [n, 4 d]."""
    return torch.cat([text, image, text * image, (text - image).abs()], dim=1)


def scorer(d_in: int, hidden: int, dropout: float) -> nn.Sequential:
    """[n, d_in] to [n, 1]; it says 0 of every pair before it has learned."""
    last = nn.Linear(hidden, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(d_in, hidden), nn.GELU(), nn.Dropout(dropout), last)


class Concatenation(nn.Module):
    """A perceptron over the two towers' vectors side by side.

    Args:
        dim: length of a tower's vector.
        config: sizes and dropout.
    """

    text_parts = 1

    def __init__(self, dim: int, config: FineConfig) -> None:
        super().__init__()
        self.score = scorer(4 * dim, config.hidden, config.text_dropout)
        self.gain = dim**0.5

    def read(self, views: Views, text: Tensor, image: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG002 - the towers have read
        """The towers' vectors, [n, dim] each."""
        return text * self.gain, image * self.gain

    def compare(self, text: tuple[Tensor, ...], image: tuple[Tensor, ...]) -> Tensor:
        """Logits [n]."""
        return self.score(crossed(text[0], image[0])).squeeze(1).float()  # type: ignore[no-any-return]


class CrossAttention(nn.Module):
    """Multi-head attention of one modality's parts over the other's, then a perceptron (Vaswani et al., 2017)."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.before, self.after = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.feed = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * dim, dim))

    def forward(self, asking: Tensor, asked: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Look at the other modality.

        Args:
            asking: [n, a, dim].
            asked: [n, b, dim].
            mask: bool [n, b], False where there is nothing to look at; None for everywhere.

        Returns:
            [n, a, dim], and attention [n, heads, a, b], whose rows add up to 1.
        """
        q, k, v = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, self.before(asking)), (self.key, asked), (self.value, asked))
        )
        logits = q @ k.transpose(2, 3) * q.shape[3] ** -0.5
        if mask is not None:
            logits = logits.masked_fill(~mask[:, None, None], -1e4)
        attention = logits.float().softmax(3)
        seen = functional.dropout(attention, self.dropout, self.training).to(v.dtype) @ v
        x = asking + self.out(seen.transpose(1, 2).flatten(2))
        return x + self.feed(self.after(x)), attention


class CoAttention(nn.Module):
    """Words look at patches and patches at words, at the same time (Lu et al., 2016; ViLBERT, Lu et al., 2019).

    The towers' vectors are not read: towers know the pairs that they have learned, and a fusion that sees them learns
    to trust what does not hold for new listings.

    Args:
        d_token: length of a token's state.
        d_patch: length of a patch.
        n_patches: patches of a picture.
        config: sizes and dropout.
    """

    text_parts = 2

    def __init__(self, d_token: int, d_patch: int, n_patches: int, config: FineConfig) -> None:
        super().__init__()
        d = config.attention_dim
        self.from_token = nn.Sequential(nn.LayerNorm(d_token), nn.Linear(d_token, d))
        self.patch_norm = nn.BatchNorm1d(d_patch, affine=False, momentum=None)
        self.from_patch = nn.Linear(d_patch, d)
        self.place = nn.Parameter(0.02 * torch.randn(1, n_patches, d))
        self.words_look = CrossAttention(d, config.heads, 0.1)
        self.patches_look = CrossAttention(d, config.heads, 0.1)
        self.token_weight, self.patch_weight = nn.Linear(d, 1), nn.Linear(d, 1)
        self.score = scorer(4 * d, 2 * d, config.text_dropout)

    def read(self, views: Views, text: Tensor, image: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG002 - see above
        """Tokens [n, t, d] and their mask; patches [n, p, d]."""
        patches = self.patch_norm(views.patches.float().transpose(1, 2)).transpose(1, 2).clamp(-8, 8)
        return (
            self.from_token(views.tokens.float()),
            views.token_mask,
            self.from_patch(patches) + self.place,
        )

    def compare(self, text: tuple[Tensor, ...], image: tuple[Tensor, ...]) -> Tensor:
        """Logits [n]."""
        return self.look(text, image)[0]

    def look(self, text: tuple[Tensor, ...], image: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [n], where words look [n, heads, t, p], and where patches look [n, heads, p, t]."""
        (tokens, mask), (patches,) = text, image
        words, words_at = self.words_look(tokens, patches, None)
        parts, parts_at = self.patches_look(patches, tokens, mask)
        weight = self.token_weight(words).squeeze(2).masked_fill(~mask, -1e4).softmax(1)
        of_words = (weight[..., None] * words).sum(1)
        of_parts = (self.patch_weight(parts).softmax(1) * parts).sum(1)
        return self.score(crossed(of_words, of_parts)).squeeze(1).float(), words_at, parts_at
