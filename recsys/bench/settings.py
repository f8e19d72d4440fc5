"""Defaults of single models, as given on the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from features.errors import InputError
from recsys.config import first_fault
from recsys.models.model import changed
from recsys.models.registry import MODELS


def model_settings(settings: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Model → field → value, from "model.field=value" (or "model.section.field=value").

    Raises:
        InputError: a setting cannot be read, or names a model or field that does not exist.
    """
    found: dict[str, dict[str, Any]] = {}
    for setting in settings:
        place, equals, spelled = setting.partition("=")
        name, _, field = place.strip().partition(".")
        if not equals or not field:
            raise InputError(f"a setting must look like model.field=value, got {setting!r}")
        if name not in MODELS:
            raise InputError(f"a setting must be of one of {', '.join(MODELS)}, got {setting!r}")
        found.setdefault(name, {})[field] = _value(spelled.strip())
        try:
            changed(MODELS[name].config, found[name])
        except ValidationError as error:
            why = first_fault(type(MODELS[name].config), error)
            raise InputError(f"{setting!r} is no setting of {name}: {why}") from error
        except (KeyError, TypeError) as error:
            raise InputError(f"{setting!r} is no setting of {name}: {error}") from error
    return found


def _value(spelled: str) -> Any:
    try:
        return tomllib.loads(f"value = {spelled}")["value"]
    except tomllib.TOMLDecodeError:
        return spelled
