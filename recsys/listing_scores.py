"""Do picture and words of each listing belong together? By their vectors and, if asked, by lettering in pictures."""

from __future__ import annotations

from pathlib import Path

from features.encoders.embeddings import ItemVectors
from features.lettering.catalog import read_lettering
from features.lettering.config import LetteringConfig
from features.lettering.evidence import LetteringEvidence, judge_lettering
from features.match.kept import kept_match
from features.match.model import MatchModel
from features.match.scores import MatchScores
from features.quarantine import Quarantine
from features.shop.shop import Shop
from recsys.config import FitConfig


def judge_listings(
    shop: Shop, vectors: ItemVectors, config: FitConfig, *, cache_dir: Path
) -> tuple[MatchModel, MatchScores, LetteringEvidence | None]:
    """The match model of a shop, one score a listing, and what lettering said of them; None where it is not asked for.

    Args:
        shop: the shop.
        vectors: its encoded words and pictures.
        config: of the match model and of the lettering.
        cache_dir: the match model and what was read in pictures are kept here.
    """
    match = kept_match(vectors, config.match, seed=config.seed, cache_dir=cache_dir)
    scores = match.score(vectors)
    evidence = lettering_evidence(shop, config.lettering, seed=config.seed, cache_dir=cache_dir)
    if evidence is not None:
        scores = scores.beside(evidence.log_odds, prior=config.match.prior)
    return match, scores, evidence


def lettering_evidence(shop: Shop, config: LetteringConfig, *, seed: int, cache_dir: Path) -> LetteringEvidence | None:
    """What the lettering in a shop's pictures says of its listings; None where it is not to be read.

    Pictures that cannot be read were told when they were encoded, and are not told again.
    """
    if not config.enabled:
        return None
    lettering = read_lettering(shop, config, cache_dir=cache_dir, quarantine=Quarantine())
    return judge_lettering(lettering.lines, shop.catalog, seed=seed)
