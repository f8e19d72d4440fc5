"""Every model by its name; a new one is a file beside this one and a line here."""

from __future__ import annotations

from typing import Any

from features.errors import InputError
from recsys.models import (
    baselines,
    denoiser,
    ease,
    flagship,
    freedom,
    gnn,
    lightgcn,
    mf,
    relational,
    spectral,
    vbpr,
    walk,
)
from recsys.models.model import Model

_ALL: tuple[Model[Any], ...] = (
    *baselines.MODELS,
    mf.MODEL,
    lightgcn.MODEL,
    vbpr.MODEL,
    freedom.MODEL,
    *ease.MODELS,
    *walk.MODELS,
    *spectral.MODELS,
    *denoiser.MODELS,
    gnn.MODEL,
    relational.MODEL,
    flagship.MODEL,
)
MODELS: dict[str, Model[Any]] = {model.name: model for model in _ALL}


def named(names: list[str]) -> list[Model[Any]]:
    """The models of these names, in this order.

    Raises:
        InputError: there is no such model.
    """
    for name in names:
        if name not in MODELS:
            raise InputError(f"a model must be one of {', '.join(MODELS)}, got {name!r}")
    return [MODELS[name] for name in dict.fromkeys(names)]
