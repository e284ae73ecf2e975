"""What a comparison refuses before anything is trained, and how long it will take."""

from collections.abc import Mapping, Sequence
from typing import Any

from search.beginning import Beginning
from search.devices import cpu_epoch_seconds
from search.errors import InputError
from search.records import Value, Values
from search.variants import differing
from search.wording import duration

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


def foretold(begun: Beginning, epochs: int, workers: int, have_gpus: bool) -> str:
    """Return about how long so many epochs take, from the default network's FLOPs.

    Nothing where there are GPUs, of which FLOPs do not tell it.
    """
    if have_gpus:
        return ""
    each = cpu_epoch_seconds(begun.default_flops(), begun.train_images())
    return f", about {duration(epochs * each / max(1, workers))} on this CPU"
