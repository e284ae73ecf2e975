"""Words for the terminal and the report: numbers, and names that were mistyped."""

import difflib
from collections.abc import Iterable


def counted(number: int, noun: str) -> str:
    """Return `1 trial`, `3 trials` or `3 classes`."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    if noun.endswith("y"):
        plural = f"{noun[:-1]}ies"
    return f"{number:,} {noun if number == 1 else plural}"


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return 'Did you mean X? ', or nothing where no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"Did you mean {near[0]}? " if near else ""
