"""What one batch of listings teaches a member of the fine match model: the weighted sum of the configured losses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from features.match.fine import losses
from features.match.fine.config import FineConfig
from features.match.fine.matcher import Matcher
from features.match.fine.towers import Seen, Towers
from features.match.fine.views import Views


@dataclass(frozen=True, eq=False)
class Material:
    """What is learned from.

    Args:
        train: listings with words and a picture.
        valid: others, by which it is decided when to stop.
        labels: int64 [n_train] an attribute; -1 where a listing has no value.
        label_weights: float32 [values] an attribute.
        draw: chance of each training listing to be drawn, [n_train]; None where each is taken once.
        judged: labeled pairs, words of one row with the picture of the same row, and their relevance in [0, 1], [n].
        words_only: listings without a picture; None where there are none.
        pictures_only: listings without words.
    """

    train: Views
    valid: Views
    labels: tuple[Tensor, ...] = ()
    label_weights: tuple[Tensor, ...] = ()
    draw: Tensor | None = None
    judged: tuple[Views, Tensor] | None = None
    words_only: Views | None = None
    pictures_only: Views | None = None


def tower_losses(
    matcher: Matcher, slow: Matcher | None, views: Views, rows: Tensor, material: Material
) -> tuple[dict[str, Tensor], Seen, Seen]:
    """Each loss of the towers by its name, unweighted, and what the towers saw.

    Args:
        matcher: in training.
        slow: its moving average, for the losses that need a teacher.
        views: the batch, seen by the matcher's own networks.
        rows: its rows in `material.train`.
        material: labels and further listings.
    """
    config, towers = matcher.config, matcher.towers
    weights = config.losses
    text, image = towers.text(views), towers.image(views)
    scale, found = towers.logit_scale, {}
    twins = views.twins
    aligned = config.learning != "joint"
    if weights.contrastive and aligned:
        found["contrastive"] = losses.info_nce(text.unit, image.unit, scale, twins, smoothing=config.smoothing)
    if weights.triplet and aligned:
        found["triplet"] = losses.hardest_triplet(text.unit, image.unit, twins, margin=config.margin)
    if weights.consistency and aligned:
        found["consistency"] = losses.consistency(text.unit, image.unit)
    for name, weight, seen, heads in (
        ("text", weights.text, text, towers.text_heads),
        ("image", weights.image, image, towers.image_heads),
    ):
        if weight and len(heads):
            each = [
                losses.told(head(seen.hidden), label[rows], value_weight)
                for head, label, value_weight in zip(heads, material.labels, material.label_weights, strict=True)
            ]
            found[name] = torch.stack(each).mean()
    if weights.adversarial and aligned:
        found["adversarial"] = _adversarial(towers, views, twins, config)
    if weights.relevance and material.judged is not None:
        pairs, wanted = material.judged
        some = torch.randint(len(pairs), (min(len(pairs), config.batch),), device=wanted.device)
        judged = matcher.see(pairs.at(some))
        cosine = (towers.text(judged).unit * towers.image(judged).unit).sum(1)
        found["relevance"] = losses.relevance(cosine, scale, matcher.offset, wanted[some])
    if weights.unlabeled and slow is not None and aligned:
        found["unlabeled"] = _unlabeled(matcher, slow, views, (text, image), material, size=config.batch)
    return found, text, image


def _adversarial(towers: Towers, views: Views, twins: Tensor, config: FineConfig) -> Tensor:
    """InfoNCE with the inputs of both towers pushed up the gradient of InfoNCE."""
    (words, sentence), scene = towers.text.inputs(views), towers.image.inputs(views)
    at = [x.detach().requires_grad_() for x in (words, sentence, scene)]
    clean = losses.info_nce(
        towers.text.of(at[0], at[1]).unit,
        towers.image.of(at[2]).unit,
        towers.logit_scale.detach(),
        twins,
    )
    slopes = torch.autograd.grad(clean, at)
    words, sentence, scene = (
        losses.pushed(x, slope, config.radius) for x, slope in zip((words, sentence, scene), slopes, strict=True)
    )
    text, image = towers.text.of(words, sentence).unit, towers.image.of(scene).unit
    return losses.info_nce(text, image, towers.logit_scale, twins)


def _unlabeled(
    matcher: Matcher, slow: Matcher, views: Views, seen: tuple[Seen, Seen], material: Material, *, size: int
) -> Tensor:
    """Listings of one modality, at most `size`, find their like in the batch as the slower towers surely do."""
    text, image = seen
    towers = matcher.towers
    with torch.no_grad():
        slow_text, slow_image = slow.towers.text(views).unit, slow.towers.image(views).unit
    found = [text.unit.sum() * 0]
    for others, own, fast, teachers, students in (
        (material.words_only, "text", image, slow_image, towers.text),
        (material.pictures_only, "image", text, slow_text, towers.image),
    ):
        if others is None or not len(others):
            continue
        some = matcher.see(others.at(torch.randint(len(others), (min(len(others), size),), device=text.unit.device)))
        with torch.no_grad():
            wanted = slow.towers.logit_scale * getattr(slow.towers, own)(some).unit @ teachers.T
        found.append(losses.agreed(towers.logit_scale * students(some).unit @ fast.unit.T, wanted))
    return torch.stack(found).sum()


def fusion_loss(matcher: Matcher, views: Views, text: Tensor, image: Tensor) -> Tensor:
    """Cross-entropy of the own listing among foreign ones, by the fusion: pictures for words and words for pictures.

    Foreign are the hardest of the batch by the towers; where these do not share a space, any.

    Args:
        matcher: with a fusion.
        views: the batch.
        text: the towers' vectors of it, [n, dim].
        image: likewise.
    """
    n, config = len(views), matcher.config
    with torch.no_grad():
        likeness = torch.rand(n, n, device=text.device) if config.learning == "joint" else text @ image.T
        barred = views.twins | torch.eye(n, dtype=torch.bool, device=text.device)
        k = min(config.candidates, n - 1)
        foreign_images = likeness.masked_fill(barred, -torch.inf).topk(k, dim=1)
        foreign_texts = likeness.T.masked_fill(barred, -torch.inf).topk(k, dim=1)
    words, pictures = matcher.read(views, text, image)
    own = torch.arange(n, device=text.device)[:, None]
    assert matcher.fusion is not None  # noqa: S101 - called where there is one
    total = text.sum() * 0
    for chosen, asks_words in ((foreign_images, True), (foreign_texts, False)):
        other = torch.cat([own, chosen.indices], dim=1).flatten()
        self_rows = own.expand(n, k + 1).flatten()
        t, i = (self_rows, other) if asks_words else (other, self_rows)
        logits = matcher.fusion.compare(tuple(x[t] for x in words), tuple(x[i] for x in pictures)).view(n, k + 1)
        allowed = torch.cat([torch.ones_like(own, dtype=torch.bool), chosen.values > -torch.inf], dim=1)
        total = total + losses.own_among(logits, allowed) / 2
    return total


def weighted(found: dict[str, Tensor], config: FineConfig) -> Tensor:
    """The sum that is minimized."""
    return torch.stack([getattr(config.losses, name) * loss for name, loss in found.items()]).sum()
