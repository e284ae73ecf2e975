"""What a trial that an oracle asks for says in its values, as keras-tuner has them."""

from typing import Any

from search.records import Values


def knobs_of(asked: Any) -> Values:
    """Return the knobs without keras-tuner's own entries."""
    values = asked.hyperparameters.values
    return {k: v for k, v in values.items() if not k.startswith("tuner/")}


def parent_of(asked: Any) -> str | None:
    """Return keras-tuner's id of the trial it continues, None where it is new."""
    parent: str | None = asked.hyperparameters.values.get("tuner/trial_id")
    return parent


def epochs_of(asked: Any, most: int) -> int:
    """Return the epoch to which it is to be trained, `most` where it does not say."""
    return int(asked.hyperparameters.values.get("tuner/epochs", most))
