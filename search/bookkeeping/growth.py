"""What is new in something that only grows: found at its end, not by going over it."""

from itertools import islice
from typing import Any, TypeVar

Key = TypeVar("Key")


def new_keys(grown: dict[Key, Any], known: int) -> list[Key]:
    """Return the keys of a dict beyond its first `known`, in their order."""
    latest_first = islice(reversed(grown), max(0, len(grown) - known))
    return list(latest_first)[::-1]
