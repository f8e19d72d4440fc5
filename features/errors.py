"""What went wrong outside the program, in words for the person who can mend it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """A file, a folder, an option or a value given by the user cannot be used.

    The message names the rule, the place and the value; the command line prints it as one line, without a traceback.
    """


def nearest_name(given: str, there: Iterable[str]) -> str | None:
    """The name that is there and that a misspelled one is likely to mean; None where none is near."""
    known = {name.lower(): name for name in there}
    found = get_close_matches(given.lower(), known, n=1, cutoff=0.7)
    return known[found[0]] if found else None
