"""Every model of ratings by its name; a new one is a file beside this one and a line here."""

from __future__ import annotations

from features.errors import InputError
from recsys.ctr import embeddings, flagship, popularity
from recsys.ctr.model import RatingModel

MODELS: dict[str, RatingModel] = {
    model.name: model for model in (popularity.MODEL, *embeddings.MODELS, *flagship.MODELS)
}


def named(names: list[str]) -> list[RatingModel]:
    """The models of these names, in this order.

    Raises:
        InputError: there is no such model.
    """
    for name in names:
        if name not in MODELS:
            raise InputError(f"a model of ratings must be one of {', '.join(MODELS)}, got {name!r}")
    return [MODELS[name] for name in dict.fromkeys(names)]
