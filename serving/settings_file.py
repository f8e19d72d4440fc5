"""Settings from a file, beside the environment's: `RECSYS_CONFIG=service.toml`."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, get_args

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from features.errors import InputError

VARIABLE = "RECSYS_CONFIG"


class FileSettings(PydanticBaseSettingsSource):
    """The settings of the TOML file that the environment names; none where it names none. Paths start where it lies.

    Raises:
        InputError: the file cannot be read, or names what is no setting.
    """

    def __init__(self, settings: type[BaseSettings]) -> None:
        super().__init__(settings)
        named = os.environ.get(VARIABLE)
        self._path, self._values = Path(named or "."), {} if named is None else _read(Path(named))
        for name, value in self._values.items():
            if name not in settings.model_fields:
                raise InputError(f"{named}: {name}: there is no such setting")
            if isinstance(value, str) and _is_path(settings.model_fields[name]):
                self._values[name] = str(self._path.parent / value)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - not asked
        """A setting's value, its name, and that it needs no further reading."""
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """All that the file says."""
        return dict(self._values)


def _is_path(field: FieldInfo) -> bool:
    return field.annotation is Path or Path in get_args(field.annotation)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: the file of settings ({VARIABLE}) cannot be read: {error}") from error
