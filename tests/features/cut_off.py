"""Training that is cut off, and goes on."""

from __future__ import annotations

from typing import Any

import pytest

from features.match.fine import training

CUT_AT = 3
"""The validation at which the first run ends."""


class CutOff:
    """Ends the run that comes to its third validation, as Ctrl-C would; later ones go on.

    Attributes:
        calls: validations so far; may be set.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self._validate = training.validate
        monkeypatch.setattr(training, "validate", self._cut)

    def _cut(self, *args: Any, **named: Any) -> float:
        self.calls += 1
        if self.calls == CUT_AT:
            raise KeyboardInterrupt
        return self._validate(*args, **named)
