"""The base of every configuration section: frozen, and a misspelled key is an error, not a default."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One algorithm's configuration; every field is documented by the string under it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
