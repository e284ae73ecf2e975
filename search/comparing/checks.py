"""What a comparison refuses before anything is trained."""

from collections.abc import Mapping, Sequence
from typing import Any

from search.comparing.variants import differing
from search.errors import InputError
from search.records import Value, Values

MOST_SEEDS = 100


def check_question(
    vary: str | None,
    values: Sequence[Value] | None,
    path: bool,
    start: Mapping[str, Value] | None,
    seeds: int,
) -> None:
    """Raise InputError where it is not clear what to compare."""
    if (vary is None) == (not path):
        raise InputError(
            "either --vary KNOB or --path",
            "both" if path else "neither",
            "`vision-tuner space STUDY` lists the knobs",
        )
    if not 1 <= seeds <= MOST_SEEDS:
        raise InputError(
            f"--seeds of 1 to {MOST_SEEDS}", seeds, "Choose another number"
        )
    if start and not path:
        raise InputError("--path with --start", "no --path", "Add it")
    if values is not None and path:
        raise InputError("--vary KNOB with --values", "--path", "Leave --values out")


def refuse_equal_ends(
    space: Any, start: tuple[str, Values], end: tuple[str, Values]
) -> None:
    """Raise InputError where there is no way to go."""
    if not differing(space, start[1], end[1]):
        raise InputError(
            f"an end of the path unlike its start, the {start[0]}",
            f"{end[0]}, which equals it",
            "Pass --start KNOB=VALUE to begin with a plainer one, or --from TRIAL",
        )
